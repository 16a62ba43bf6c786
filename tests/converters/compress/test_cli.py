"""The command `edgekit compress`."""

import json
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
    record = json.loads((tmp_path / "compression.json").read_text())
    assert record["parameters"][1] <= 2500 / 4


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "0 targets"),
        (["--target-macs", "0.7", "--target-size", "5MB"], "2 targets"),
        (["--target-macs", "1.5"], "a share between 0 and 1"),
        (["--target-latency", "soon"], "a number with a unit"),
        (["--target-macs", "0.7", "--steps", "-1"], "--steps -1"),
    ],
    ids=["none", "two", "too many macs", "no number", "negative"],
)
def test_targets_that_make_no_sense_are_a_usage_error(
    targets: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compress", TINY, "--data", "photos", "-o", str(tmp_path / "small.pt2"), *targets])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
