import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from edgekit import cli
from edgekit.cli import VERBS, group, main
from edgekit.errors import QualityError

HEAVY = ("numpy", "cv2", "rich", "tensorflow", "torch", "keras", "onnx", "onnxruntime", "ai_edge_litert")


def test_help_lists_every_verb_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom edgekit.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("HEAVY []")
    for verb, (_, summary) in VERBS.items():
        assert verb in result.stdout
        assert summary.partition(" ")[0] in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    context = click.Context(group)
    command = group.get_command(context, verb)
    assert command is not None
    assert command.name == verb
    assert len(command.get_help(context)) > 200


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--version"], 0, ""),
        (["fly"], 2, "No such command 'fly'"),
        (["convert"], 2, "Missing argument 'SOURCE'"),
        (["verify", "/nonexistent"], 3, "is not a bundle"),
    ],
)
def test_exit_codes(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == code
    assert message in capsys.readouterr().err


def run_with(monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None], words: list[str]) -> int:
    @click.command("fail")
    def command() -> None:
        fail()

    monkeypatch.setattr(cli, "VERBS", {"fail": ("unused:unused", "Fails.")})
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def refuse() -> None:
    raise QualityError("a.tflite is worse", remedy="calibrate with more photos")


def test_an_error_is_two_lines_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, refuse, ["fail"]) == 4
    assert capsys.readouterr().err == "error: a.tflite is worse\n  remedy: calibrate with more photos\n"


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    with pytest.raises(QualityError):
        run_with(monkeypatch, refuse, words)


def test_ctrl_c_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run_with(monkeypatch, interrupt, ["fail"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "extra"), [("tensorflow", "convert"), ("tokenizers", "text")])
def test_a_missing_module_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, extra: str
) -> None:
    def lack() -> None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=f"{module}.core")

    assert run_with(monkeypatch, lack, ["fail"]) == 5
    error = capsys.readouterr().err
    assert error == f"error: this needs {module}, which is not installed\n  remedy: pip install 'edgekit-ai[{extra}]'\n"


def test_module_runs_as_a_script(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "edgekit.cli", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("edgekit ")
