"""A board: the wheel and one runtime extra in an empty environment, no framework in reach."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FRAMEWORKS = ("tensorflow", "torch", "keras", "jax", "onnx", "tf2onnx", "litert_torch", "transformers")
MOST_PACKAGES = 20
MOST_MEGABYTES = 450
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Board:
    """A bare environment.

    Attributes:
        extra: The runtime extra that is installed.
        folder: Where it is.
        report: What `bare_imports.py` found there.
        run: Runs a program of its `bin` folder.
    """

    extra: str
    folder: Path
    report: dict[str, Any]
    run: Run


@pytest.fixture(scope="module", params=["litert", "onnxruntime"])
def board(request: pytest.FixtureRequest, wheel: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder, with_pip=False)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--python",
        str(folder / "bin/python"),
    ]
    target = ["install", "--no-compile", "--constraint", str(root / "constraints.txt"), f"{wheel}[{request.param}]"]
    installed = subprocess.run([*command, *target], check=False, capture_output=True, text=True, timeout=400)
    assert installed.returncode == 0, installed.stdout + installed.stderr

    def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(folder / "bin" / program), *map(str, arguments)],
            check=False, capture_output=True, text=True, timeout=120, cwd=folder, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    script = Path(__file__).with_name("bare_imports.py")
    done = run("python", "-W", "error", script, ",".join(FRAMEWORKS), "edgekit", "edgekit_runtimes")
    assert done.returncode == 0, done.stderr
    return Board(request.param, folder, json.loads(done.stdout.splitlines()[-1]), run)


def test_every_module_imports_without_a_framework(board: Board, root: Path) -> None:
    assert board.report["failed"] == {}
    assert board.report["blocked"] == "tensorflow is blocked here"
    folders = (root / "edgekit", root / "runtimes" / "edgekit_runtimes")
    sources = sum(1 for folder in folders for path in folder.rglob("*.py"))
    assert len(board.report["imported"]) == sources


def test_a_handful_of_packages_and_no_framework_is_installed(
    board: Board, record_property: Callable[[str, object], None]
) -> None:
    names = {name.lower().replace("_", "-") for name in board.report["installed"]}
    megabytes = sum(path.stat().st_size for path in board.folder.rglob("*") if path.is_file()) / 1e6
    record_property("packages", len(names))
    record_property("megabytes", round(megabytes))
    assert not names & {name.replace("_", "-") for name in FRAMEWORKS}
    assert len(names) <= MOST_PACKAGES, sorted(names)
    assert megabytes <= MOST_MEGABYTES


def test_the_other_engine_is_missing_only_when_it_is_used(board: Board, tmp_path: Path) -> None:
    other, suffix = {"litert": ("onnxruntime", "onnx"), "onnxruntime": ("litert", "tflite")}[board.extra]
    model = tmp_path / f"model.{suffix}"
    model.write_bytes(b"\x08\x0a" + b"\0" * 30 if suffix == "onnx" else b"\x1c\0\0\0TFL3" + b"\0" * 24)
    code = (
        "import sys; from pathlib import Path\n"
        "from edgekit.engine import engine_class\n"
        "from edgekit.errors import MissingExtra\n"
        f"found = engine_class({other!r})\n"
        "try: found(Path(sys.argv[1]))\n"
        "except MissingExtra as error: print(error)"
    )
    done = board.run("python", "-c", code, model)
    assert done.returncode == 0, done.stderr
    assert f"edgekit-ai[{other}]" in done.stdout


def test_help_works(board: Board) -> None:
    done = board.run("edgekit", "--help")
    assert done.returncode == 0, done.stderr
    for verb in ("convert", "inspect", "run", "verify"):
        assert f"  {verb} " in done.stdout


def test_converting_there_says_which_extra_to_install(board: Board, tmp_path: Path) -> None:
    script = tmp_path / "net.py"
    script.write_text("def build():\n    raise SystemExit('this must not run')\n")
    shape = ["--input-shape", "1,3,8,8", "--preset", "imagenet", "-o", str(tmp_path / "out")]
    done = board.run("edgekit", "convert", f"{script}:build", *shape)
    assert done.returncode == 5, done.stderr
    message = done.stderr[done.stderr.index("error: ") :].strip()
    assert "pip install 'edgekit-ai[convert]'" in message
    assert len(message.splitlines()) == 2
    assert not (tmp_path / "out").exists()
