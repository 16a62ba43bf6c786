"""Opens whatever gives frames, from the word that names it."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path

from edgekit.errors import UsageError
from edgekit_runtimes.inputs.frames import FrameSource
from edgekit_runtimes.inputs.live import BACKOFF, STALE_SECONDS, Backoff, Capture, LiveSource
from edgekit_runtimes.inputs.uri import Address, parse, redacted
from edgekit_runtimes.inputs.video import VIDEO_SUFFIXES, VideoFile

__all__ = ["open_frames", "redacted"]


def open_frames(
    uri: str,
    *,
    wait: bool = False,
    timeout: float = 5.0,
    stale_after: float = STALE_SECONDS,
    backoff: Backoff = BACKOFF,
) -> FrameSource | None:
    """Open a source of frames.

    ======================================  ====================================================================
    word                                    what it is
    ======================================  ====================================================================
    ``clip.mp4`` (.avi, .mkv, .mov, …)      every frame of a video file
    ``camera:0``, ``camera:/dev/video2``    a USB or built-in camera; options ``size=1280x720``, ``fps=30``,
                                            ``format=mjpg`` or ``yuyv``
    ``csi:0``                               the ribbon-cable camera of a Raspberry Pi (picamera2) or a Jetson
                                            (nvarguscamerasrc); options ``size``, ``fps``
    ``rtsp://user:password@host/path``      a network camera; option ``transport=tcp`` or ``udp``
    ``http://user:password@host/path``      Motion JPEG (multipart/x-mixed-replace), also ``https://``
    ``-``                                   standard input: JPEGs one after the other, or raw RGB with
                                            ``raw=640x480``; ``every=yes`` gives each picture instead of the newest
                                            (as it is anyway where standard input is a file)
    ======================================  ====================================================================

    Options follow ``?`` and are joined by ``&``: ``camera:0?size=1280x720&fps=30``. In URLs, where what follows ``?``
    is the server's, they follow ``#``: ``rtsp://host/live?channel=1#transport=udp``. ``frozen=ok`` goes with every
    live source: its picture may stand still, as of a screen or a test pattern; otherwise a picture that repeats
    bit for bit for ``stale_after`` seconds counts as lost.

    Args:
        uri: The word.
        wait: Whether to keep trying where a live source is absent at the start.
        timeout: Seconds without a picture after which a live source is opened again.
        stale_after: Seconds of one repeated picture after which it is opened again.
        backoff: How long to wait before that.

    Returns:
        A source, to be closed; ``None`` where the word names no frames but, say, a photo, a folder or a sentence.

    Raises:
        UsageError: An unknown option, or a word that nearly names a source.
        DataRefused: A video file that is missing or no video.
    """
    address = parse(uri)
    if address is None:
        return VideoFile(uri) if Path(uri).suffix.lower() in VIDEO_SUFFIXES and not Path(uri).is_dir() else None
    if address.kind == "mic" or address.options.pcm is not None:
        raise UsageError(f"{address.name} for a bundle that takes pictures", expected="a bundle that takes sound")
    if address.kind == "stdin" and (address.options.every or stat.S_ISREG(os.fstat(0).st_mode)):
        from edgekit_runtimes.inputs.pipe import PipeCapture, PipeFrames

        return PipeFrames(address.name, PipeCapture(address.name, address.options.raw))
    return LiveSource(
        address.name,
        lambda: _capture(address, timeout),
        wait=wait,
        stale_after=None if address.options.frozen or address.kind == "stdin" else stale_after,
        backoff=backoff,
    )


def _capture(address: Address, timeout: float) -> Capture:
    options = address.options
    if address.kind == "stdin":
        from edgekit_runtimes.inputs.pipe import PipeCapture

        return PipeCapture(address.name, options.raw)
    if address.kind == "http":
        from edgekit_runtimes.inputs.mjpeg import MjpegHttp

        return MjpegHttp(address.name, address.device, timeout)
    from edgekit_runtimes.inputs.child import ChildCapture
    from edgekit_runtimes.inputs.opencv_capture import Request

    request = Request(
        kind=address.kind,
        name=address.name,
        device=address.device,
        size=options.size,
        fps=options.fps,
        format=options.format,
        transport=options.transport,
        timeout=timeout,
    )
    return ChildCapture(address.name, asdict(request), timeout)
