"""The object detection sample: FastestDet from its weights to boxes drawn into a photo."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.engine import open_engine
from edgekit.errors import DataRefused
from edgekit.presets import preset
from edgekit.spec import Spec
from samples.object_detection import evaluate
from samples.object_detection.fastestdet import build
from tests.conftest import CommandRunner

SAMPLE = Path(__file__).parents[2] / "samples" / "object_detection"
WEIGHTS = "models/torch/weight_AP05_0.253207_280-epoch.pth"


@pytest.fixture(scope="module")
def photos(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth labelled photo is looked at, six others calibrate."""
    folder = tmp_path_factory.mktemp("photos")
    files = sorted((realpack / "coco").glob("*.jpg"))
    for part, chosen in {"test": files[::4], "calibration": files[1:25:4]}.items():
        (folder / part).mkdir()
        for file in chosen:
            shutil.copy(file, folder / part)
            shutil.copy(file.with_suffix(".txt"), folder / part)
    return folder


@pytest.fixture(scope="module")
def bundle(realpack: Path, photos: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", f"{SAMPLE / 'fastestdet.py'}:build", "--weights", realpack / WEIGHTS, "--input-shape", "1,3,352,352",
        "--spec", SAMPLE / "spec.toml", "--to", "tflite", "--recipe", "fp32", "--recipe", "int8", "--effort", "low",
        "--calibration", photos / "calibration", "--eval", photos / "test", "--max-drop", "5", "-o",
        photos / "fastestdet.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return photos / "fastestdet.bundle"


def test_the_network_is_the_published_one(realpack: Path) -> None:
    torch = pytest.importorskip("torch")
    model = build()
    weights = torch.load(realpack / WEIGHTS, weights_only=True, map_location="cpu")
    model.load_state_dict(weights)
    photo = np.random.default_rng(0).random((1, 3, 352, 352), np.float32)
    with torch.no_grad():
        got = model.eval()(torch.from_numpy(photo)).numpy()
    with open_engine(realpack / "models" / "ref" / "FastestDet.onnx") as engine:
        want = engine.run({engine.inputs[0].name: photo})[engine.outputs[0].name]
    assert np.abs(got - want).max() < 1e-4


def test_the_spec_is_the_preset_with_names(realpack: Path) -> None:
    spec, published = Spec.from_toml(SAMPLE / "spec.toml"), preset("fastestdet")
    assert spec.preprocess == published.preprocess
    assert spec.options["head"] == published.options["head"]
    assert list(spec.labels or ()) == (realpack / "coco" / "coco.names").read_text(encoding="utf-8").split("\n")[:80]


def test_artifacts_find_what_the_original_finds(bundle: Path) -> None:
    parities = {artifact.recipe: artifact.parity for artifact in Bundle(bundle).artifacts}
    for parity in parities.values():
        assert parity.agreement is not None
        assert parity.metric is not None
        assert parity.metric.name == "mAP50"
    assert parities["fp32"].agreement.value == 1.0  # type: ignore[union-attr]
    assert parities["fp32"].metric.value > 0.25  # type: ignore[union-attr]
    assert parities["int8"].agreement.value > 0.75  # type: ignore[union-attr]


def test_verify_and_run_on_a_photo(
    bundle: Path, photos: Path, tmp_path: Path, edgekit_command: CommandRunner, realpack: Path
) -> None:
    assert edgekit_command("verify", bundle).returncode == 0
    photo = photos / "test" / "000000000532.jpg"
    if not photo.is_file():
        photo = realpack / "coco" / photo.name
    outputs = [word for name in ("annotated.jpg", "found.jsonl", "found.csv") for word in ("-o", tmp_path / name)]
    run = edgekit_command("run", bundle, photo, "--recipe", "fp32", *outputs, "-o", "-")
    assert run.returncode == 0, run.stderr
    assert "bus 85 % [81 130 552 377]" in run.stdout
    result = json.loads((tmp_path / "found.jsonl").read_text(encoding="utf-8"))["result"]
    assert result["objects"][0]["name"] == "bus"
    assert (result["width"], result["height"]) == (640, 480)
    row = next(csv.DictReader((tmp_path / "found.csv").read_text(encoding="utf-8").splitlines()))
    assert json.loads(row["objects"]) == result["objects"]
    assert int(row["count"]) == len(result["objects"])
    drawn, plain = (np.asarray(cv2.imread(str(path))).astype(int) for path in (tmp_path / "annotated.jpg", photo))
    changed = np.abs(drawn - plain).max(axis=2) > 60
    assert changed[200:300, 78:85].any(axis=1).all(), "the left side of the frame around the bus"
    assert changed[200:300, 549:556].any(axis=1).all(), "its right side"
    assert not changed[390:470].any(), "the street in front"


def test_the_published_file_needs_no_framework(
    realpack: Path, tmp_path: Path, photos: Path, edgekit_command: CommandRunner
) -> None:
    file = realpack / "models" / "ref" / "FastestDet.onnx"
    done = edgekit_command("convert", file, "--spec", SAMPLE / "spec.toml", "--to", "onnx", "--eval", photos / "test",
                           "-o", tmp_path / "published.bundle")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mAP50" in done.stdout
    refused = edgekit_command("convert", file, "--spec", SAMPLE / "spec.toml", "--to", "tflite", "-o", tmp_path / "no")
    assert refused.returncode == 3
    assert "cannot be converted to TFLite" in refused.stderr


def test_evaluate_finds_the_precision_of_the_conversion(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(bundle, photos / "test")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("16 photos, ")
    for line, artifact in zip(lines[1:], Bundle(bundle).artifacts, strict=True):
        assert artifact.parity.metric is not None
        assert line.startswith(artifact.file)
        assert f"mAP50 {100 * artifact.parity.metric.value:5.2f} " in line


def test_evaluate_refuses_a_folder_without_labels(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="no labelled photos"):
        evaluate.labelled_photos(bundle, tmp_path)
