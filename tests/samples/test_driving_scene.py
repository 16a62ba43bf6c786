"""The driving scene: two real bundles on one film of street scenes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.tasks.object_detection import Detection
from samples.driving_scene.drive import on_road
from tests.conftest import CommandRunner

SAMPLES = Path(__file__).parents[2] / "samples"
FRAMES = 9


@pytest.fixture(scope="module")
def bundles(realpack: Path, tmp_path_factory: pytest.TempPathFactory, edgekit_command: CommandRunner) -> list[Path]:
    """FastestDet and ESPNet, as the samples convert them."""
    folder = tmp_path_factory.mktemp("bundles")
    made = []
    for name, factory, weights, shape, spec in (
        ("detector", "object_detection/fastestdet.py:build", "weight_AP05_0.253207_280-epoch.pth", "1,3,352,352",
         "object_detection/spec.toml"),
        ("segmenter", "segmentation/espnet.py:camvid", "espnet_p_2_q_8_camvid.pth", "1,3,360,480",
         "segmentation/camvid.toml"),
    ):  # fmt: skip
        made.append(folder / f"{name}.bundle")
        done = edgekit_command(
            "convert", str(SAMPLES / factory), "--weights", str(realpack / "models/torch" / weights), "--input-shape",
            shape, "--spec", str(SAMPLES / spec), "--to", "onnx", "--name", name, "-o", str(made[-1]),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def film(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Street scenes as a video."""
    path = tmp_path_factory.mktemp("film") / "street.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (480, 360))
    for photo in sorted((realpack / "camvid" / "eval").glob("*.jpg"))[:FRAMES]:
        writer.write(cv2.resize(cv2.imread(str(photo)), (480, 360)))
    writer.release()
    return path


def test_both_answer_every_frame(bundles: list[Path], film: Path, tmp_path: Path) -> None:
    output = tmp_path / "annotated.mp4"
    words = [sys.executable, str(SAMPLES / "driving_scene" / "drive.py"), *map(str, bundles), str(film)]
    done = subprocess.run([*words, "-o", str(output)], check=True, capture_output=True, text=True)
    *frames, summary = done.stdout.splitlines()
    assert len(frames) == FRAMES
    shares = [int(re.search(r"road (\d+) %", line)[1]) for line in frames]  # type: ignore[index]
    assert all(5 < share < 70 for share in shares)
    assert re.search(r"\d+ x car", summary)
    capture = cv2.VideoCapture(str(output))
    fine, drawn = capture.read()
    assert fine
    original = cv2.VideoCapture(str(film)).read()[1]
    assert np.abs(drawn.astype(int) - cv2.resize(original, drawn.shape[1::-1])).mean() > 10


def test_the_command_draws_both(
    bundles: list[Path], film: Path, tmp_path: Path, edgekit_command: CommandRunner
) -> None:
    output = tmp_path / "both.mp4"
    words = ["run", str(bundles[0]), "--with", str(bundles[1]), str(film), "-o", str(output), "-o", "-"]
    done = edgekit_command(*words, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == FRAMES
    assert '"detector": {' in done.stdout
    assert '"segmenter": {' in done.stdout
    assert output.stat().st_size > 10_000


def test_on_the_road_is_where_it_stands() -> None:
    road = np.zeros((100, 100), bool)
    road[60:] = True
    assert on_road(Detection((20, 40, 40, 90), 2, "car", 0.9), road)
    assert not on_road(Detection((20, 10, 40, 50), 2, "car", 0.9), road)
    assert not on_road(Detection((200, 10, 240, 50), 2, "car", 0.9), road)
