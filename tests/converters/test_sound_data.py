"""Recordings as calibration and evaluation data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit.sound.encoding import SoundEncoding
from edgekit.sound.wav import write_wav
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit_converters.data import Dataset, open_dataset

SOUND = SoundEncoding(sample_rate=1_000, window=100, hop=50)
SPEC = Spec(
    "keyword-spotting",
    (TensorSpec("sound", (None, 100)),),
    (TensorSpec("scores", (None, 3)),),
    sound=SOUND,
    labels=("go", "no", "yes"),
)
SAID = SPEC.replace(task="speech-to-text", outputs=(TensorSpec("logits", (None, 10, 3)),))


def clip(path: Path, samples: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        write_wav(stream, np.arange(samples).astype(np.int16), 1_000)
    return path


def listed(data: Dataset) -> list[tuple[str, object]]:
    return [(item.name, item.label) for item in data]


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name in ("yes/1.wav", "no/2.WAV", "yes/deep/3.wav"):
        clip(tmp_path / name)
    (tmp_path / "no" / "notes.txt").write_text("no sound")
    assert listed(open_dataset(tmp_path, SPEC)) == [("no/2.WAV", 1), ("yes/1.wav", 2), ("yes/deep/3.wav", 2)]
    assert [label for _, label in listed(open_dataset(tmp_path, SPEC.replace(labels=None)))] == [0, 1, 1]


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    assert listed(open_dataset(tmp_path, SPEC)) == [("a.wav", None)]


def test_a_word_that_is_no_label_is_refused(tmp_path: Path) -> None:
    clip(tmp_path / "maybe" / "1.wav")
    with pytest.raises(DataRefused, match="label 'maybe'"):
        open_dataset(tmp_path, SPEC)


def test_a_csv_of_files(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    table = tmp_path / "clips.csv"
    table.write_text("file,label\na.wav,yes\n")
    assert listed(open_dataset(table, SPEC)) == [("a.wav", 2)]
    table.write_text("file,label\nb.wav,yes\n")
    with pytest.raises(DataRefused, match=r"names b\.wav, which does not exist"):
        open_dataset(table, SPEC)
    table.write_text("path\na.wav\n")
    with pytest.raises(DataRefused, match="expected file, and label"):
        open_dataset(table, SPEC)


def test_what_is_said_lies_beside(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    clip(tmp_path / "b.wav")
    (tmp_path / "a.txt").write_text("yes no\n", encoding="utf-8")
    assert listed(open_dataset(tmp_path, SAID)) == [("a.wav", "yes no"), ("b.wav", None)]
    assert listed(open_dataset(tmp_path / "a.wav", SAID)) == [("a.wav", "yes no")]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataRefused, match="UTF-8"):
        open_dataset(tmp_path, SAID)


def test_waveforms_as_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "clips.npz", audio=np.ones((2, 100), np.int16), label=np.array([0, 2]))
    data = open_dataset(tmp_path / "clips.npz", SPEC)
    assert [label for _, label in listed(data)] == [0, 2]
    first, _ = data.encoded(task_for(SPEC))
    assert np.allclose(first.feeds["sound"], 1 / 32768)


def test_windows_of_a_long_recording_follow_each_other(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", 200)
    stored = list(open_dataset(tmp_path, SPEC).encoded(task_for(SPEC)))
    assert [one.windows for one in stored] == [3, 0, 0]
    assert stored[0].context.lengths == (100, 100, 100)


def test_a_bad_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_text("words")
    with pytest.raises(DataRefused, match=r"x\.wav \(5 bytes\) is not a WAV file"):
        list(open_dataset(tmp_path, SPEC).encoded(task_for(SPEC)))
