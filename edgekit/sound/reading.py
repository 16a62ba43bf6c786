"""Recordings: files of any rate and number of channels as blocks of samples at the rate that a model hears."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused, MissingExtra
from edgekit.sound.resample import Resampler
from edgekit.sound.wav import WavReader

Samples = NDArray[np.float32]

SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif")
"""File name endings, in lower case, that are taken for sound; all but ``.wav`` need the extra ``sound``."""
_BLOCK_SECONDS = 4


class Reader(Protocol):
    """Gives a recording block by block."""

    rate: int

    def read(self, frames: int) -> Samples:
        """Return the next samples, mixed down; none at the end."""


@dataclass(frozen=True)
class Sound:
    """A recording in memory.

    Attributes:
        samples: ``(n,)``, or ``(n, channels)``; float of full scale 1, or int16.
        rate: Samples a second.
        name: What to call it in messages.
    """

    samples: NDArray[Any]
    rate: int
    name: str = "the sound"


@dataclass(frozen=True)
class StreamedSound:
    """A recording that is read and answered part by part, so that memory does not grow with its length.

    Attributes:
        source: Path of the file; or a binary stream of little-endian 16-bit samples, one channel; or, without a rate,
            a file in memory, of any format that a path may have.
        rate: Of a stream of samples, how many a second.
        name: What to call it in messages.
    """

    source: Path | BinaryIO
    rate: int = 0
    name: str = ""


class PcmReader:
    """Headerless little-endian 16-bit samples of one channel.

    Args:
        stream: Where they come from.
        rate: Samples a second.
    """

    def __init__(self, stream: BinaryIO, rate: int) -> None:
        self._stream, self.rate = stream, rate

    def read(self, frames: int) -> Samples:
        """Return the next samples; an odd byte at the end is left out."""
        data = bytearray()
        while len(data) < 2 * frames and (more := self._stream.read(2 * frames - len(data))):
            data += more
        return np.frombuffer(bytes(data[: len(data) // 2 * 2]), "<i2").astype(np.float32) / np.float32(32768)


class ArrayReader:
    """Samples in memory.

    Args:
        sound: The recording.

    Raises:
        DataRefused: Not samples, empty, more than 8 channels, or not finite.
    """

    def __init__(self, sound: Sound) -> None:
        self.rate = sound.rate
        self._samples = _mixed(np.asarray(sound.samples), sound.name)
        self._at = 0

    def read(self, frames: int) -> Samples:
        """Return the next samples."""
        self._at += frames
        return self._samples[self._at - frames : self._at]


class SoundFileReader:
    """FLAC, Ogg, MP3 and other files, through the library ``soundfile``.

    Args:
        file: An open file of that library.
        name: What to call it in messages.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self.rate = int(file.samplerate)

    def read(self, frames: int) -> Samples:
        """Return the next samples, mixed down."""
        try:
            found = self._file.read(frames, dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise DataRefused(f"{self._name} is damaged: {error}", expected="a whole file") from error
        return _mixed(found, self._name) if len(found) else np.zeros(0, np.float32)


def blocks(item: str | Path | bytes | Sound | StreamedSound, rate: int) -> Iterator[Samples]:
    """Yield a recording, mixed down, at the rate asked for, a few seconds at a time.

    Args:
        item: Path, the bytes of a WAV file, or a recording.
        rate: Samples a second that go out.

    Raises:
        DataRefused: It cannot be read.
        MissingExtra: Its format needs the extra ``sound``.
    """
    with ExitStack() as opened:
        reader = _opened(item, opened)
        resampler = Resampler(reader.rate, rate)
        while len(part := reader.read(_BLOCK_SECONDS * reader.rate)):
            if len(found := resampler.feed(part)):
                yield found
        if len(rest := resampler.finish()):
            yield rest


def _opened(item: str | Path | bytes | Sound | StreamedSound, opened: ExitStack) -> Reader:
    if isinstance(item, Sound):
        return ArrayReader(item)
    if isinstance(item, bytes):
        return WavReader(io.BytesIO(item), "the sound")
    source = item.source if isinstance(item, StreamedSound) else item
    if isinstance(item, StreamedSound) and not isinstance(source, (str, Path)):
        return PcmReader(source, item.rate) if item.rate else _memory_reader(source, item.name, opened)
    path = Path(str(source))
    try:
        stream = opened.enter_context(path.open("rb"))
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}", expected="a sound file") from error
    if path.suffix.lower() in SOUND_SUFFIXES[1:]:
        return _library_reader(stream, str(path), opened)
    return WavReader(stream, str(path))


def _memory_reader(stream: BinaryIO, name: str, opened: ExitStack) -> Reader:
    stream.seek(0)
    start = stream.read(4)
    stream.seek(0)
    compressed = start in (b"fLaC", b"OggS", b"FORM") or start[:3] == b"ID3" or _mp3_frame(start)
    return _library_reader(stream, name, opened) if compressed else WavReader(stream, name)


def _mp3_frame(start: bytes) -> bool:
    """Whether a file begins with the 11 set bits of an MPEG audio frame."""
    return len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0


def _library_reader(stream: BinaryIO, name: str, opened: ExitStack) -> Reader:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # the second where its C library is missing
        raise MissingExtra(
            f"{name} needs the soundfile library, which is not installed",
            remedy="pip install 'edgekit-ai[sound]', or convert it to WAV",
        ) from error
    try:
        file = opened.enter_context(soundfile.SoundFile(stream))
    except (RuntimeError, OSError) as error:
        raise DataRefused(f"{name} is not a sound file: {error}", expected=", ".join(SOUND_SUFFIXES)) from error
    return SoundFileReader(file, name)


def _mixed(samples: NDArray[Any], name: str) -> Samples:
    shape = list(samples.shape)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi" or not samples.size or shape[1:] > [8]:
        raise DataRefused(
            f"{name} is an array of shape {shape}, {samples.dtype}",
            expected="(samples,) or (samples, 1 to 8 channels), float of full scale 1 or int16",
        )
    if samples.dtype.kind == "i" and samples.dtype != np.int16:
        raise DataRefused(f"{name} holds {samples.dtype}", expected="int16, or float of full scale 1")
    scale = np.float32(1 if samples.dtype.kind == "f" else 1 / 32768)
    found = samples.astype(np.float32) * scale
    if not np.isfinite(found).all():
        raise DataRefused(f"{name} holds NaN or infinity", expected="finite samples")
    return found if found.ndim == 1 else found.mean(axis=1, dtype=np.float32)
