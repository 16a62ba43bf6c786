"""WAV files: PCM of 8 to 32 bits and float, up to 8 channels mixed down to one, read block by block.

Every length in a header is checked against the file before it is believed. Headers of programs that stream (a data
size of 0 or 4 GB less 1) mean "to the end"; any other size that the file does not hold is refused.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit.sound.encoding import MAX_RATE, MIN_RATE

Samples = NDArray[np.float32]

MAX_CHANNELS = 8
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
_MAX_FORMAT = 4096
_MAX_CHUNKS = 10_000
_CONVERT = "convert it, e.g. ffmpeg -i FILE -c:a pcm_s16le out.wav"


@dataclass(frozen=True)
class WavFormat:
    """What a header says of the samples.

    Attributes:
        rate: Samples a second.
        channels: Channels, interleaved.
        bits: Of one sample in the file.
        floating: Whether samples are floats.
    """

    rate: int
    channels: int
    bits: int
    floating: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


class WavReader:
    """Reads a WAV file block by block, mixed down to one channel.

    Args:
        stream: A binary file that can seek; it stays open.
        name: What to call it in messages.

    Attributes:
        rate: Samples a second.
        frames: Samples a channel.

    Raises:
        DataRefused: No WAV file, an encoding that is not read, or a header that does not fit the file.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        size = stream.seek(0, os.SEEK_END)
        self.format, start, length = _header(stream, name, size)
        self.rate = self.format.rate
        self.frames = length // self.format.frame_bytes
        self._left = self.frames
        if not self.frames:
            raise DataRefused(f"{name} holds no sound", expected="at least one sample")
        stream.seek(start)

    def read(self, frames: int) -> Samples:
        """Return the next samples ``(n,)`` float32, full scale 1; fewer than asked for, or none, at the end.

        Raises:
            DataRefused: The file became shorter meanwhile, or holds NaN or infinity.
        """
        wanted = min(frames, self._left)
        data = self._stream.read(wanted * self.format.frame_bytes)
        if len(data) < wanted * self.format.frame_bytes:
            raise DataRefused(f"{self._name} was cut short while it was read", expected="a file that stays as it is")
        position = self.frames - self._left
        self._left -= wanted
        values = decoded(data, self.format).reshape(wanted, self.format.channels)
        mixed: Samples = values[:, 0] if self.format.channels == 1 else values.mean(axis=1, dtype=np.float32)
        if self.format.floating and not np.isfinite(mixed).all():
            at = position + int(np.argmin(np.isfinite(mixed)))
            raise DataRefused(
                f"{self._name} holds NaN or infinity, first {at / self.rate:.3f} s from its start",
                expected="finite samples",
            )
        return mixed


def decoded(data: bytes, form: WavFormat) -> Samples:
    """Turn the bytes of samples into float32 of full scale 1."""
    if form.floating:
        with np.errstate(over="ignore"):  # beyond float32: infinite, and refused
            return np.frombuffer(data, f"<f{form.bits // 8}").astype(np.float32)
    if form.bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if form.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    whole: Samples = np.frombuffer(data, f"<i{form.bits // 8}").astype(np.float32)
    return whole / np.float32(2 ** (form.bits - 1))


def _header(stream: BinaryIO, name: str, size: int) -> tuple[WavFormat, int, int]:
    """Return the format, where the samples start, and how many bytes they are."""
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise DataRefused(f"{name} ({size} bytes) is not a WAV file", expected="RIFF … WAVE at its start")
    form: WavFormat | None = None
    long_size: int | None = None
    for _ in range(_MAX_CHUNKS):
        mark = stream.read(8)
        if len(mark) < 8:
            break
        kind, length = struct.unpack("<4sI", mark)
        start = stream.tell()
        if kind == b"data":
            if form is None:
                raise DataRefused(f"{name} has samples before it says what they are", expected="a chunk 'fmt ' first")
            if long_size is not None and length == 0xFFFFFFFF:
                return form, start, _believed(name, form, long_size, size - start)
            found = size - start if length in _UNKNOWN_SIZES else _believed(name, form, length, size - start)
            _check_rest(stream, name, start + found, size)
            return form, start, found - found % form.frame_bytes
        if length > size - start:
            raise DataRefused(
                f"{name}: chunk {kind!r} is {length} bytes long, but {size - start} are left", expected="a whole file"
            )
        if kind == b"fmt ":
            form = _format(stream.read(min(length, _MAX_FORMAT)), name)
        elif kind == b"ds64" and length >= 16:
            long_size = struct.unpack("<QQ", stream.read(16))[1]
        stream.seek(start + length + length % 2)
    raise DataRefused(f"{name} ({size} bytes) has no chunk of samples", expected="a chunk 'data'")


def _believed(name: str, form: WavFormat, said: int, left: int) -> int:
    if said > left:
        raise DataRefused(
            f"{name} says it holds {said} bytes of sound, but {left} are left in the file",
            expected=f"{said / form.frame_bytes / form.rate:.2f} s of sound",
            remedy="copy it again; what is left can be saved with: ffmpeg -i FILE -c copy whole.wav",
        )
    return said


def _check_rest(stream: BinaryIO, name: str, end: int, size: int) -> None:
    """What follows the samples must be chunks: sound beyond a length that is too small would be lost in silence."""
    at = end + end % 2
    while at + 8 <= size:
        stream.seek(at)
        kind, length = struct.unpack("<4sI", stream.read(8))
        if not kind.isascii() or not kind.decode("ascii").isprintable() or length > size - at - 8:
            raise DataRefused(
                f"{name}: {size - end} bytes follow the sound that are no chunk",
                expected="a header whose length of sound is right",
                remedy="its header lies; " + _CONVERT,
            )
        at += 8 + length + length % 2


def _format(raw: bytes, name: str) -> WavFormat:
    if len(raw) < 16:
        raise DataRefused(f"{name}: its format is {len(raw)} bytes long", expected="16 or more")
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", raw[:16])
    if code == _EXTENSIBLE:
        if len(raw) < 40 or raw[26:40] != _GUID_TAIL:
            raise DataRefused(f"{name}: an extensible format that is not PCM or float", remedy=_CONVERT)
        code = struct.unpack("<H", raw[24:26])[0]
    if not 1 <= channels <= MAX_CHANNELS:
        raise DataRefused(f"{name} says it has {channels} channels", expected=f"1 to {MAX_CHANNELS}")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise DataRefused(f"{name} says it has {rate} samples a second", expected=f"{MIN_RATE} to {MAX_RATE}")
    if (code, bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)):
        raise DataRefused(
            f"{name}: encoding {code} with {bits} bits",
            expected="PCM of 8, 16, 24 or 32 bits, or float",
            remedy=_CONVERT,
        )
    if block != channels * bits // 8:
        raise DataRefused(f"{name} says {block} bytes for {channels} samples of {bits} bits", expected="a true header")
    return WavFormat(rate, channels, bits, code == _FLOAT)


def write_wav(stream: BinaryIO, samples: NDArray[np.int16], rate: int) -> None:
    """Write one channel of 16-bit samples ``(n,)``."""
    data = np.ascontiguousarray(samples, "<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, 1, rate, 2 * rate, 2, 16)
    stream.write(struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(data), b"WAVE"))
    stream.write(form + struct.pack("<4sI", b"data", len(data)) + data)
