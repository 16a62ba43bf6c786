"""The image classification sample: train a little, convert, verify, run, measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit.images import read_image
from samples.image_classification import evaluate
from samples.image_classification.train import CLASSES, Digits, enlarge, load_digits
from tests.conftest import CommandRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training script writes after two epochs."""
    folder = tmp_path_factory.mktemp("sample") / "digits"
    script = ROOT / "samples" / "image_classification" / "train.py"
    done = subprocess.run(
        [sys.executable, script, folder, "--epochs", "2"], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "test accuracy:" in done.stdout
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", trained / "digits.keras", "--preset", "unit", "--labels", trained / "labels.txt",
        "--to", "tflite", "--recipe", "fp32", "--recipe", "int8", "--max-drop", "2",
        "--calibration", trained / "calibration", "--eval", trained / "test", "-o", trained / "digits.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return trained / "digits.bundle"


def test_the_split_is_disjoint_stratified_and_repeatable(digits: Digits) -> None:
    assert digits.train.shape == (1437, 32, 32, 3)
    assert digits.test.shape == (360, 32, 32, 3)
    assert digits.train.dtype == np.uint8
    assert set(np.bincount(digits.test_labels)) <= {35, 36, 37}
    again = load_digits()
    assert np.array_equal(again.test, digits.test)
    trained_on = {picture.tobytes() for picture in digits.train}
    assert not any(picture.tobytes() in trained_on for picture in digits.test)


def test_enlarge_keeps_black_and_white() -> None:
    half = np.zeros((8, 8))
    half[:, 4:] = 16
    picture = enlarge(half)
    assert picture.shape == (32, 32, 3)
    assert (picture[:, 0].max(), picture[:, -1].min()) == (0, 255)


def test_training_writes_pictures_that_read_back_exactly(trained: Path, digits: Digits) -> None:
    assert (trained / "labels.txt").read_text(encoding="utf-8").split() == list(CLASSES)
    files = sorted((trained / "test").rglob("*.png"), key=lambda path: path.name)
    assert len(files) == 360
    assert len(list((trained / "calibration").rglob("*.png"))) == 100
    for number in (0, 200):
        assert np.array_equal(read_image(files[number]), digits.test[number])
        assert files[number].parent.name == CLASSES[digits.test_labels[number]]


def test_the_bundle_verifies_and_names_the_classes(bundle: Path, trained: Path, edgekit_command: CommandRunner) -> None:
    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    run = edgekit_command("run", bundle, trained / "test", "--format", "jsonl", "--top-k", 1)
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    right = sum(answer["result"]["labels"][0]["name"] == Path(answer["input"]).parent.name for answer in answers)
    assert len(answers) == 360
    assert right > 270, "two epochs give about 90 %"


def test_evaluate_finds_the_accuracy_of_the_conversion(
    bundle: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgekit.bundle import Bundle

    evaluate.main(bundle, trained / "test")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "360 pictures"
    for line, artifact in zip(lines[1:], Bundle(bundle).artifacts, strict=True):
        assert artifact.parity.metric is not None
        assert line.startswith(artifact.file)
        assert f"accuracy {100 * artifact.parity.metric.value:.1f} %" in line


def test_evaluate_refuses_a_folder_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="no labelled pictures"):
        evaluate.labelled_pictures(tmp_path)
