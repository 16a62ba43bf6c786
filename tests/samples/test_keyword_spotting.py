"""The keyword spotting sample: clips as files, convert, verify, spot words in a long recording; and training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle
from samples.keyword_spotting import clips, train
from tests.conftest import CommandRunner

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "samples" / "keyword_spotting"
SPOKEN = ("Yes", "No", "Left")


@pytest.fixture(scope="module")
def words(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "words"
    clips.write(realpack / "speech_commands" / "sc12.npz", folder)
    return folder


def test_the_published_model_from_sound_to_words(realpack: Path, words: Path, edgekit_command: CommandRunner) -> None:
    bundle = words / "words.bundle"
    done = edgekit_command(
        "convert", realpack / "models/savedmodel/kws_ref_model", "--preset", "mlperf-tiny-kws", "--to", "tflite",
        "--labels", words / "labels.txt", "--recipe", "fp32", "--recipe", "int8", "--effort", "low",
        "--calibration", words / "calibration", "--eval", words / "test", "-o", bundle,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fp32, int8 = Bundle(bundle).artifacts
    assert fp32.parity.metric is not None
    assert int8.parity.metric is not None
    assert fp32.parity.metric.value > 0.9
    assert int8.parity.metric.value > fp32.parity.metric.value - 0.012
    assert edgekit_command("verify", bundle).returncode == 0

    chosen = [next(iter(sorted((words / "test" / word).glob("*.wav")))) for word in SPOKEN]
    clips.join(words / "long.wav", chosen)
    run = edgekit_command("run", bundle, words / "long.wav", "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    events = json.loads(run.stdout)["result"]["events"]
    for number, word in enumerate(SPOKEN):
        spoken = 1 + 2 * number
        assert any(e["label"] == word and e["start"] < spoken + 1 and e["end"] > spoken for e in events), (word, events)


def test_training_on_a_folder_of_clips(words: Path, tmp_path: Path, edgekit_command: CommandRunner) -> None:
    few = tmp_path / "few"
    for word in ("Yes", "No"):
        for number, path in enumerate(sorted((words / "test" / word).glob("*.wav"))[:15]):
            target = few / word / f"{number}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    script = [sys.executable, str(SCRIPTS / "train.py"), str(tmp_path / "out"), "--from", str(few), "--epochs", "2"]
    done = subprocess.run(script, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "training on 24 clips of 2 words, 2 epochs" in done.stdout
    assert "test accuracy:" in done.stdout
    converted = edgekit_command(
        "convert", tmp_path / "out/keywords.keras", "--preset", "mlperf-tiny-kws", "--to", "tflite",
        "--labels", tmp_path / "out/labels.txt", "--recipe", "fp32", "--eval", tmp_path / "out/test.csv",
        "-o", tmp_path / "own.bundle",
    )  # fmt: skip
    assert converted.returncode == 0, converted.stderr
    ran = edgekit_command("run", tmp_path / "own.bundle", few / "Yes" / "0.wav", "--format", "jsonl")
    assert {label["name"] for label in json.loads(ran.stdout)["result"]["labels"]} == {"Yes", "No"}


def test_every_fifth_clip_is_kept_for_the_test(tmp_path: Path) -> None:
    for word in ("b", "a"):
        for number in range(10):
            (tmp_path / word).mkdir(exist_ok=True)
            (tmp_path / word / f"{number}.wav").touch()
    found = train.find_clips(tmp_path)
    assert found.words == ("a", "b")
    assert [(path.name, number) for path, number in found.test] == [
        ("4.wav", 0),
        ("9.wav", 0),
        ("4.wav", 1),
        ("9.wav", 1),
    ]
    assert not {path for path, _ in found.train} & {path for path, _ in found.test}
    with pytest.raises(SystemExit, match="1 subfolders"):
        train.find_clips(_one(tmp_path / "alone"))


def test_variants_are_shifted_and_no_louder_than_noise_makes_them() -> None:
    samples = np.sin(np.arange(16_000) / 7).astype(np.float32)
    found = train.varied(samples, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - samples).max() < 2.4


def _one(folder: Path) -> Path:
    (folder / "word").mkdir(parents=True)
    return folder
