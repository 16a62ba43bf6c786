"""Recordings as blocks and windows."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataRefused, MissingExtra
from edgekit.sound.reading import Sound, StreamedSound, blocks
from edgekit.sound.wav import write_wav
from edgekit.sound.windows import sliding

TONE = (8_000 * np.sin(np.arange(22_050) / 20)).astype(np.int16)


def test_a_file_comes_at_the_rate_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with path.open("wb") as stream:
        write_wav(stream, TONE, 22_050)
    found = np.concatenate(list(blocks(path, 16_000)))
    assert len(found) == 16_000
    want = 8_000 / 32768 * np.sin(np.arange(16_000) * 22_050 / 16_000 / 20)
    assert np.abs(found - want)[200:-200].max() < 2e-3


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_other_formats_through_soundfile(tmp_path: Path, suffix: str) -> None:
    import soundfile

    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, np.stack([TONE, TONE], axis=1), 22_050)
    found = np.concatenate(list(blocks(path, 22_050)))
    assert np.abs(found - TONE / 32768).max() < (1e-6 if suffix == ".flac" else 0.05)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_file_in_memory_is_the_file_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    import soundfile

    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, TONE, 22_050)
    held = StreamedSound(io.BytesIO(path.read_bytes()), name="table.parquet row 3")
    for _ in range(2):  # a batch that failed is read again
        np.testing.assert_array_equal(
            np.concatenate(list(blocks(held, 16_000))), np.concatenate(list(blocks(path, 16_000)))
        )
    with pytest.raises(DataRefused, match=r"table\.parquet row 4"):
        list(blocks(StreamedSound(io.BytesIO(b"words, not sound"), name="table.parquet row 4"), 16_000))


def test_other_formats_without_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(b"fLaC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match=r"edgekit-ai\[sound\]"):
        list(blocks(path, 16_000))


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.flac").write_text("words")
    with pytest.raises(DataRefused, match="is not a sound file"):
        list(blocks(tmp_path / "x.flac", 16_000))
    with pytest.raises(DataRefused, match="cannot be read: No such file"):
        list(blocks(tmp_path / "absent.wav", 16_000))


def test_arrays() -> None:
    pair = np.array([[0.5, -0.5], [1.0, 0.0]])
    assert np.concatenate(list(blocks(Sound(pair, 16_000), 16_000))).tolist() == [0.0, 0.5]
    assert np.concatenate(list(blocks(Sound(np.array([16384], np.int16), 16_000), 16_000))).tolist() == [0.5]
    for bad in (np.zeros((3, 9)), np.zeros(0), np.zeros((2, 2, 2)), np.array([1, 2]), np.array([np.nan])):
        with pytest.raises(DataRefused):
            list(blocks(Sound(bad, 16_000, "it"), 16_000))


def test_raw_samples_of_a_pipe_that_gives_little_at_a_time() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 777))

    stream = Trickle(TONE.tobytes() + b"\1")
    found = np.concatenate(list(blocks(StreamedSound(stream, 22_050), 22_050)))
    assert np.array_equal(found, TONE.astype(np.float32) / 32768)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    window=st.integers(1, 30),
    share=st.floats(0.01, 1.0),
)
def test_windows_cover_every_sample_and_overlap_as_said(sizes: list[int], window: int, share: float) -> None:
    step = max(1, int(window * share))
    whole = np.arange(sum(sizes), dtype=np.float32)
    parts, at = [], 0
    for size in sizes:
        parts.append(whole[at : at + size])
        at += size
    if not len(whole):
        with pytest.raises(DataRefused, match="without a sample"):
            list(sliding(parts, window, step))
        return
    found = list(sliding(parts, window, step))
    assert {value for one in found for value in one.tolist()} == set(whole.tolist())
    assert all(len(one) == window for one in found[:-1])
    assert [one[0] for one in found] == [number * step for number in range(len(found))]
