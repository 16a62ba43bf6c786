"""The segmentation sample: published ESPNet weights to a bundle, checked on street scenes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgekit.bundle import Bundle
from edgekit.images import read_image
from samples.segmentation.espnet import ESPNet, camvid
from tests.conftest import CommandRunner

SAMPLE = Path(__file__).parents[2] / "samples" / "segmentation"


@pytest.fixture(scope="module")
def weights(realpack: Path) -> Path:
    return realpack / "models" / "torch" / "espnet_p_2_q_8_camvid.pth"


@pytest.fixture(scope="module")
def street(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few photos with their label maps."""
    folder = tmp_path_factory.mktemp("street")
    for part, count in (("calib", 3), ("eval", 3)):
        (folder / part).mkdir()
        for photo in sorted((realpack / "camvid" / part).glob("*.jpg"))[::9][:count]:
            for file in (photo, photo.with_name(f"{photo.stem}_mask.png")):
                shutil.copyfile(file, folder / part / file.name)
    return folder


@pytest.fixture(scope="module")
def bundle(street: Path, weights: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", f"{SAMPLE / 'espnet.py'}:camvid", "--weights", weights, "--input-shape", "1,3,360,480",
        "--spec", SAMPLE / "camvid.toml", "--to", "onnx", "--recipe", "fp32", "--recipe", "int8", "--effort", "low",
        "--max-drop", "10", "--calibration", street / "calib", "--eval", street / "eval", "-o", street / "bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return street / "bundle"


def test_the_network_has_the_published_parameters_and_keeps_the_size(weights: Path) -> None:
    model = camvid()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    small = ESPNet(classes=5, p=1, q=1).eval()
    with torch.inference_mode():
        assert small(torch.zeros(1, 3, 16, 24)).shape == (1, 5, 16, 24)


def test_the_bundle_keeps_the_miou_of_the_original(bundle: Path) -> None:
    for artifact in Bundle(bundle).artifacts:
        parity = artifact.parity
        assert parity.metric is not None
        assert parity.reference_metric is not None
        assert parity.agreement is not None
        assert parity.metric.name == "mIoU"
        assert parity.samples == 3
        assert parity.reference_metric.value > 0.4
        if artifact.recipe == "fp32":
            assert parity.metric.value == pytest.approx(parity.reference_metric.value, abs=1e-3)
            assert parity.agreement.value > 0.999


def test_verify_run_and_the_drawn_picture(
    bundle: Path, street: Path, tmp_path: Path, edgekit_command: CommandRunner
) -> None:
    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    photos = sorted((street / "eval").glob("*.jpg"))
    run = edgekit_command(
        "run", bundle, street / "eval", "--recipe", "fp32", "--format", "jsonl", "-o", "-", "-o", f"{tmp_path}/drawn/"
    )
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["input"] for line in lines] == list(map(str, photos)), "label maps are no photos"
    result = lines[0]["result"]
    assert (result["height"], result["width"]) == (360, 480)
    names = [one["name"] for one in result["classes"]]
    assert {"sky", "building", "road"} <= set(names[:5])
    assert sum(one["share"] for one in result["classes"]) == pytest.approx(1)
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == len(photos)
    picture = read_image(drawn[0])
    assert picture.shape == (360, 480, 3)
    assert np.abs(picture.astype(int) - read_image(photos[0])).mean() > 20


def test_a_label_map_of_another_size_is_refused(
    street: Path, weights: Path, tmp_path: Path, edgekit_command: CommandRunner
) -> None:
    photo = sorted((street / "eval").glob("*.jpg"))[0]
    shutil.copyfile(photo, tmp_path / "a.jpg")
    cv2.imwrite(str(tmp_path / "a_mask.png"), np.full((9, 9), 12, np.uint8))
    done = edgekit_command(
        "convert", f"{SAMPLE / 'espnet.py'}:camvid", "--weights", weights, "--input-shape", "1,3,360,480",
        "--spec", SAMPLE / "camvid.toml", "--to", "onnx", "--eval", tmp_path, "-o", tmp_path / "bundle",
    )  # fmt: skip
    assert done.returncode == 3
    assert "the label map holds 12" in done.stderr
    assert not (tmp_path / "bundle").exists()
