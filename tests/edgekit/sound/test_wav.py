"""WAV files: every encoding that is read, and headers that lie."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit.sound.wav import WavReader, write_wav

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
TONE = np.sin(np.arange(400) / 9) * 0.7


def chunk(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", kind, len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def header(code: int, channels: int, rate: int, bits: int, block: int | None = None) -> bytes:
    each = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", code, channels, rate, rate * each, each, bits)


def riff(*chunks: bytes, mark: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", mark, len(body)) + body


def read(data: bytes) -> NDArray[np.float32]:
    reader = WavReader(io.BytesIO(data), "x.wav")
    return np.concatenate([reader.read(150) for _ in range(-(-reader.frames // 150))])


def packed(bits: int) -> bytes:
    if bits == 8:
        return np.round(TONE * 127 + 128).astype(np.uint8).tobytes()
    values = np.round(TONE * (2 ** (bits - 1) - 1)).astype(np.int64)
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in values)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_width(bits: int) -> None:
    found = read(riff(chunk(b"fmt ", header(PCM, 1, 16_000, bits)), chunk(b"data", packed(bits))))
    assert found.dtype == np.float32
    assert np.abs(found - TONE).max() < 1.5 / 2 ** (bits - 1) + 1e-7


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("extensible", [False, True])
def test_floats_plain_and_extensible(bits: int, extensible: bool) -> None:
    form = header(EXTENSIBLE if extensible else FLOAT, 1, 8_000, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 4, FLOAT) + bytes.fromhex("000000001000800000aa00389b71")
    found = read(
        riff(chunk(b"fmt ", form), chunk(b"fact", b"1234"), chunk(b"data", TONE.astype(f"<f{bits // 8}").tobytes()))
    )
    assert np.abs(found - TONE).max() < 1e-6


def test_eight_channels_are_mixed_down() -> None:
    voices = np.arange(8)[None] * 1000 + np.arange(50)[:, None]
    form = header(PCM, 8, 16_000, 16)
    found = read(riff(chunk(b"fmt ", form), chunk(b"data", voices.astype("<i2").tobytes())))
    assert np.allclose(found, voices.mean(axis=1) / 32768)


def test_what_the_standard_library_writes_and_reads() -> None:
    stream = io.BytesIO()
    samples = np.random.default_rng(0).integers(-32768, 32768, 333).astype(np.int16)
    write_wav(stream, samples, 22_050)
    with wave.open(io.BytesIO(stream.getvalue())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        assert file.readframes(333) == samples.tobytes()
    assert np.array_equal(read(stream.getvalue()), samples.astype(np.float32) / 32768)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_program_that_streamed_means_to_the_end(size: int) -> None:
    data = riff(chunk(b"fmt ", header(PCM, 1, 16_000, 16)), chunk(b"data", packed(16), size))
    assert len(read(data)) == 400


def test_rf64_has_its_size_elsewhere() -> None:
    long = chunk(b"ds64", struct.pack("<QQQI", 0, 800, 400, 0))
    data = riff(long, chunk(b"fmt ", header(PCM, 1, 16_000, 16)), chunk(b"data", packed(16), 0xFFFFFFFF), mark=b"RF64")
    assert len(read(data)) == 400


def test_chunks_after_the_sound_are_fine() -> None:
    data = riff(chunk(b"fmt ", header(PCM, 1, 16_000, 16)), chunk(b"data", packed(16)), chunk(b"LIST", b"INFOsoft"))
    assert len(read(data)) == 400


FORM = chunk(b"fmt ", header(PCM, 1, 16_000, 16))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x.wav \(0 bytes\) is not a WAV file"),
        (b"These are only words, not sound.", "is not a WAV file"),
        (riff(FORM), "no chunk of samples"),
        (riff(chunk(b"data", packed(16)), FORM), "before it says what they are"),
        (riff(FORM, chunk(b"data", b"")), "holds no sound"),
        (riff(FORM, chunk(b"data", packed(16), 8_000)), "says it holds 8000 bytes of sound, but 800 are left"),
        (riff(FORM, chunk(b"data", packed(16), 200)), "600 bytes follow the sound that are no chunk"),
        (riff(chunk(b"fmt ", b"12"), chunk(b"data", packed(16))), "2 bytes long"),
        (riff(chunk(b"LIST", b"abcd", 9_999)), "9999 bytes long, but 4 are left"),
        (riff(chunk(b"fmt ", header(PCM, 0, 16_000, 16, 2)), chunk(b"data", packed(16))), "0 channels; expected 1"),
        (riff(chunk(b"fmt ", header(PCM, 9, 16_000, 16)), chunk(b"data", packed(16))), "9 channels"),
        (riff(chunk(b"fmt ", header(PCM, 1, 0, 16)), chunk(b"data", packed(16))), "0 samples a second"),
        (riff(chunk(b"fmt ", header(PCM, 1, 1_000_000_000, 16)), chunk(b"data", packed(16))), "1000000000 samples"),
        (riff(chunk(b"fmt ", header(PCM, 1, 16_000, 16, 7)), chunk(b"data", packed(16))), "says 7 bytes for 1 samples"),
        (riff(chunk(b"fmt ", header(2, 1, 16_000, 4, 1)), chunk(b"data", packed(16))), "encoding 2 with 4 bits"),
        (riff(chunk(b"fmt ", header(EXTENSIBLE, 1, 16_000, 16)), chunk(b"data", packed(16))), "extensible format"),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        read(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_refused_with_their_time(bad: float) -> None:
    samples = TONE.astype("<f4")
    samples[200] = bad
    with pytest.raises(DataRefused, match=r"NaN or infinity, first 0.025 s"):
        read(riff(chunk(b"fmt ", header(FLOAT, 1, 8_000, 32)), chunk(b"data", samples.tobytes())))


@given(st.binary(max_size=120), st.integers(0, 60))
def test_any_bytes_are_read_or_refused(noise: bytes, keep: int) -> None:
    good = riff(FORM, chunk(b"data", packed(16)[:40]))
    try:
        found = read(good[:keep] + noise)
    except DataRefused:
        return
    assert np.isfinite(found).all()
