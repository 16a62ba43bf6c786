"""The files of an emulated board, without an emulator: what is kept, and what is made anew."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit_runtimes.emulated import root
from edgekit_runtimes.emulated.boards import BOARDS, Board
from edgekit_runtimes.emulated.root import BoardRoot

PI5 = BOARDS["pi5"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where Debian and the wheels have been fetched already."""
    monkeypatch.setattr(root, "require_programs", lambda: None)
    monkeypatch.setattr(BoardRoot, "_wheels", lambda *_: tmp_path / "wheels")
    for name in ("bin", "etc", "lib", "sbin", "usr/bin"):
        (tmp_path / "bookworm-arm64" / name).mkdir(parents=True)
    return tmp_path


def made(cache: Path, board: Board = PI5) -> BoardRoot:
    return BoardRoot(board, print, cache)


def test_it_runs_the_code_that_runs_here(cache: Path) -> None:
    own = made(cache).site[0]
    here = Path(str(root.__file__))
    assert (own / "edgekit_runtimes" / "emulated" / here.name).read_bytes() == here.read_bytes()
    assert not list(own.rglob("*.pyc"))


def test_a_board_that_runs_keeps_its_code(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(cache).site[0]
    assert made(cache).site[0] == first
    monkeypatch.setattr(root, "_OURS", ("edgekit",))
    second = made(cache).site[0]
    assert second != first
    assert first.is_dir()


def test_code_that_nobody_ran_for_a_day_is_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(cache).site[0]
    os.utime(first, (0, time.time() - 2 * 86_400))
    monkeypatch.setattr(root, "_OURS", ("edgekit",))
    made(cache)
    assert not first.exists()


def test_files_of_a_board_are_made_once(cache: Path) -> None:
    board = made(cache)
    before = board.path.stat().st_ino
    assert made(cache).path.stat().st_ino == before
    assert PI5.cpu in board.python.read_text()
    assert os.access(board.python, os.X_OK)


def test_a_board_that_changed_is_made_anew(cache: Path) -> None:
    made(cache)
    changed = made(cache, replace(PI5, cpu="max", features="fp asimd"))
    assert "-cpu max" in changed.python.read_text()
    assert "fp asimd\n" in (changed.path / "proc" / "cpuinfo").read_text()


def test_nothing_of_the_current_folder_is_imported(cache: Path) -> None:
    environment = made(cache).environment()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["PYTHONPATH"].split(os.pathsep)[0].startswith(str(cache / "edgekit-"))
