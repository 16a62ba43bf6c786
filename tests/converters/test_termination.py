"""SIGTERM of commands that take minutes: nothing half written stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TINY = f"{Path(__file__).parents[1] / 'fixtures' / 'tiny.py'}:build"
SHAPE = ["--input-shape", "1,3,32,32", "--preset", "unit"]
PATIENCE_SECONDS = 90
COMMANDS = {
    "convert": ["--to", "onnx", "--recipe", "int8", "--calibration", "PHOTOS"],
    "plan": ["--to", "onnx", "--recipe", "fp32", "--budget", "latency=1s", "--own-resolution", "--eval", "PHOTOS"],
    "compress": ["--data", "PHOTOS", "--target-macs", "0.6", "--round-to", "2", "--steps", "1000000"],
}  # fmt: skip


MOMENTS = {"convert": "onnx: fp32 against", "plan": "onnx: fp32 against", "compress": "remove channels"}
"""What is said just before the int8 artifact is made, the variant is kept and measured, the network learns."""


@pytest.mark.parametrize("verb", COMMANDS)
def test_sigterm_leaves_nothing_behind(verb: str, colour_photos: list[Path], tmp_path: Path) -> None:
    scratch, made = tmp_path / "scratch", tmp_path / "made"
    scratch.mkdir()
    made.mkdir()
    words = [str(colour_photos[0].parent) if word == "PHOTOS" else word for word in COMMANDS[verb]]
    command = [sys.executable, "-m", "edgekit.cli", verb, TINY, *SHAPE, *words, "-o", str(made / "tiny.pt2")]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(MOMENTS[verb]):
            break
    assert list(scratch.glob("edgekit-*")), said
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, rest
    assert "Traceback" not in rest
    # PyTorch and OpenVINO leave folders of their own, which every run does.
    assert [path.name for path in scratch.iterdir() if path.name.startswith(("edgekit-", "tmp"))] == []
    left = {str(path.relative_to(made)) for path in made.glob("*/*")} or {path.name for path in made.iterdir()}
    assert left <= ({"tiny.pt2/plan.json", "tiny.pt2/variants"} if verb == "plan" else set())
