"""The medical sample: two models, each trained, converted, verified and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgekit.bundle import Bundle
from samples.medical_diagnosis.tissue import LEAST_STAINED, load, patches
from tests.conftest import CommandRunner

SAMPLE = Path(__file__).parents[2] / "samples" / "medical_diagnosis"


def trained(script: str, folder: Path, epochs: int) -> Path:
    done = subprocess.run(
        [sys.executable, SAMPLE / script, folder, "--epochs", str(epochs)],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_measurements_of_cells(tmp_path: Path, edgekit_command: CommandRunner) -> None:
    folder = trained("cells.py", tmp_path / "cells", 15)
    done = edgekit_command(
        "convert", folder / "cells.keras", "--spec", folder / "cells.toml", "--recipe", "fp32", "--recipe", "int8",
        "--effort", "low", "--calibration", folder / "train.csv", "--eval", folder / "test.csv",
        "-o", folder / "cells.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for artifact in Bundle(folder / "cells.bundle").artifacts:
        assert artifact.parity.metric is not None
        assert artifact.parity.metric.value > 0.97
    assert edgekit_command("verify", folder / "cells.bundle").returncode == 0
    run = edgekit_command("run", folder / "cells.bundle", folder / "test.csv", "--format", "jsonl")
    names = [json.loads(line)["result"]["labels"][0]["name"] for line in run.stdout.splitlines()]
    truths = [line.rpartition(",")[2] for line in (folder / "test.csv").read_text().splitlines()[1:]]
    assert np.mean([name == truth for name, truth in zip(names, truths, strict=True)]) > 0.9


def test_stained_tissue(tmp_path: Path, edgekit_command: CommandRunner) -> None:
    folder = trained("tissue.py", tmp_path / "tissue", 15)
    done = edgekit_command(
        "convert", folder / "tissue.keras", "--preset", "unit", "--labels", folder / "labels.txt", "--to", "tflite",
        "--recipe", "fp32", "--recipe", "int8", "--effort", "low", "--max-drop", "4",
        "--calibration", folder / "train", "--eval", folder / "test", "-o", folder / "tissue.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert edgekit_command("verify", folder / "tissue.bundle").returncode == 0
    run = edgekit_command("run", folder / "tissue.bundle", folder / "test", "--format", "jsonl", "--top-k", 1)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    right = [answer["result"]["labels"][0]["name"] == Path(answer["input"]).parent.name for answer in answers]
    assert len(right) == 64
    assert np.mean(right) > 0.8, "44 of 64 are unstained, 69 %"


def test_training_and_test_patches_share_no_pixel_and_labels_follow_the_rule() -> None:
    (train, train_labels), (test, test_labels) = load()
    assert (len(train), len(test)) == (713, 64)
    assert (int(train_labels.sum()), int(test_labels.sum())) == (535, 20)
    slide = np.arange(512 * 512 * 3, dtype=np.int64).reshape(512, 512, 3) % 251
    brown = np.zeros((512, 512), bool)
    brown[:, :7] = True  # 7 of 32 columns are more than a fifth
    cut, labels = patches(slide.astype(np.uint8), brown, range(0, 33), 32)
    assert LEAST_STAINED == 0.2
    assert labels.tolist() == [1, 0] * 16
    np.testing.assert_array_equal(cut[2], slide[32:64, :32])
