"""The demo's own logic: commands that exist, failures that stop it, a summary that tells the truth."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest

from edgekit.cli import VERBS
from samples.demo import run as demo
from samples.demo import sheet


@pytest.mark.parametrize("step", demo.STEPS, ids=lambda step: step.command.split(" -")[0])
def test_every_command_is_one_that_exists(step: demo.Step) -> None:
    words = shlex.split(step.command)
    if words[0] == "python":
        assert (demo.ROOT / words[1]).is_file()
        return
    assert words[0] == "edgekit"
    module, _, name = VERBS[words[1]][0].partition(":")
    command: click.Command = getattr(import_module(module), name)
    command.make_context(words[1], words[2:])  # a wrong option or value raises


def test_a_step_runs_in_the_project_with_this_python(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "where.py"
    script.write_text("import os, sys; print(os.getcwd(), sys.prefix)", encoding="utf-8")
    assert demo.run(demo.Step("", f"python {script}")) > 0
    assert capfd.readouterr().out.split() == [str(demo.ROOT), sys.prefix]


def test_edgekit_is_found_beside_this_python_even_when_path_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    demo.run(demo.Step("", "edgekit --version"))


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failing_step_ends_the_demo_with_its_code_and_its_message(
    quiet: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = demo.Step("fails", "edgekit verify no-such.bundle", quiet=quiet)
    monkeypatch.setattr(demo, "STEPS", (failing, demo.Step("never reached", "edgekit --version")))
    assert demo.main() == 3
    shown = capfd.readouterr()
    assert "$ edgekit verify no-such.bundle" in shown.out
    assert "exit code 3" in shown.err
    assert "no-such.bundle" in shown.err.split("the demo stopped")[0]
    assert "never reached" not in shown.out


def test_a_quiet_step_hides_standard_error_while_all_is_well(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "noisy.py"
    script.write_text("import sys; print('noise', file=sys.stderr)", encoding="utf-8")
    demo.run(demo.Step("", f"python {script}", quiet=True))
    assert capfd.readouterr().err == ""


def test_the_factory_gives_a_network_that_knows_an_espresso() -> None:
    torch = pytest.importorskip("torch")
    from edgekit.images import read_image
    from edgekit.preprocess import encode_image
    from edgekit.presets import preset
    from edgekit.spec import Preprocess, TensorSpec
    from samples.demo.efficientnet_lite0 import build
    from samples.demo.photos import class_names, locate

    tensor = TensorSpec("image", (1, 3, 224, 224), layout="NCHW")
    photo = read_image(locate("skimage/coffee.png"))
    pixels = encode_image(photo, tensor, preset("efficientnet-lite").preprocess or Preprocess())
    with torch.no_grad():
        scores = build()(torch.from_numpy(pixels))
    assert class_names()[int(scores.argmax())] == "espresso"


def test_the_sheet_has_rows_of_equal_width() -> None:
    wide, narrow = np.zeros((100, 300, 3), np.uint8), np.zeros((200, 100, 3), np.uint8)
    made = sheet.sheet([wide, wide, narrow, wide, narrow], columns=2, height=50)
    first = 50
    second = round(50 * (2 * 150) / (150 + 25))
    assert made.shape == (first + sheet.GAP + second + sheet.GAP + 50, 2 * 150 + sheet.GAP, 3)
    assert made[first : first + sheet.GAP].min() == 255  # the gap is white
    assert made[-50:, 30:].min() == 255  # a short last row is left as it is


def test_the_sheet_is_written_as_a_picture(tmp_path: Path) -> None:
    from edgekit.images import read_image
    from samples.demo.photos import locate

    sheet.main(tmp_path / "a" / "s.jpg", [locate("skimage/coffee.png")] * 2, columns=2, height=64)
    assert read_image(tmp_path / "a" / "s.jpg").shape == (64, 2 * 96 + sheet.GAP, 3)


def test_the_commands_of_the_sample_s_readme_exist() -> None:
    text = (demo.ROOT / "samples/image_classification/README.md").read_text(encoding="utf-8").replace("\\\n", "")
    commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert len(commands) == 4
    for command in commands:
        test_every_command_is_one_that_exists(demo.Step("", command))
