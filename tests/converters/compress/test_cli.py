"""The command `edgekit compress`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.cli import main

TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"


def test_the_command_writes_a_model_and_shows_every_step(
    edgekit_command: Callable[..., CompletedProcess[str]], colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments = ["compress", TINY, "--input-shape", "1,3,32,32", "--preset", "unit", "--data", colour_photos[0].parent]
    arguments += ["--target-size", "2.5kB", "--round-to", "2", "--steps", "4", "--rounds", "1", "--max-drop", "20"]
    done = edgekit_command(*arguments, "-o", tmp_path / "small.pt2")
    assert done.returncode == 0, done.stderr
    assert "recover" in done.stdout
    assert "0.0025 MB as fp32: 74 % of the parameters" in done.stdout
    assert "note: recover:" in done.stderr
    record = json.loads((tmp_path / "small.compression.json").read_text())
    assert record["parameters"][1] <= 2500 / 4


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "0 targets"),
        (["--target-macs", "0.7", "--target-size", "5MB"], "2 targets"),
        (["--target-macs", "1.5"], "a share between 0 and 1"),
        (
            ["--target-latency", "soon"],
            "soon holds no number; expected a number with a unit, e.g. 10ms",
        ),
        (["--target-size", "5000000"], "--target-size 5000000 has no unit; expected one of B, kB, MB"),
        (["--target-macs", "0.7", "--steps", "-1"], "--steps -1"),
        (["--target-macs", "0.7", "--rate", "nan"], "--rate nan; expected more than 0"),
        (["--target-macs", "0.7", "--seed", "-5"], "--seed -5; expected 0 or more"),
        (["--target-latency", "10ms", "--threads", "0"], "--threads 0; expected more than 0"),
        (["--target-latency", "10ms", "--on", "emulated:pi5"], "time and memory say nothing of the board's"),
    ],
    ids=["none", "two", "too many macs", "no number", "no unit", "negative", "rate", "seed", "threads", "emulated"],
)
def test_targets_that_make_no_sense_are_a_usage_error(
    targets: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compress", TINY, "--data", "photos", "-o", str(tmp_path / "small.pt2"), *targets])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_latency_is_measured_before_anything_is_removed(
    edgekit_command: Callable[..., CompletedProcess[str]], colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments = ["compress", TINY, "--input-shape", "1,3,32,32", "--preset", "unit", "--data", colour_photos[0].parent]
    arguments += ["--target-latency", "10s", "--to", "onnx", "--recipe", "int8", "--round-to", "2", "--steps", "0"]
    done = edgekit_command(*arguments, "-o", tmp_path / "small.pt2")
    assert done.returncode == 4, done.stderr
    assert re.search(r"error: the model takes \d+\.\d\d ms; expected more than 10000 ms", done.stderr)
    assert list(tmp_path.iterdir()) == []
