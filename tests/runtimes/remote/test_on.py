"""The same command on a board: what it prints and how it ends come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.bundle import Bundle
from edgekit_runtimes.remote.devices import Device

Command = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("known")


def test_verify(edgekit_command: Command, person_bundle: Bundle) -> None:
    done = edgekit_command("verify", str(person_bundle.path), "--on", "board", "--json")
    assert done.returncode == 0, done.stderr
    assert [entry["verdict"] for entry in json.loads(done.stdout)] == ["pass", "pass"]
    assert "MB sent" in done.stderr


def test_run_on_photos_of_this_machine(edgekit_command: Command, person_bundle: Bundle, photos: list[Path]) -> None:
    words = ["run", str(person_bundle.path), str(photos[0].parent), "--recipe", "int8", "--format", "jsonl"]
    here = edgekit_command(*words)
    there = edgekit_command(*words, "--on", "board")
    assert there.returncode == here.returncode == 0, there.stderr
    one, other = ([json.loads(line) for line in done.stdout.splitlines()] for done in (here, there))
    assert [row["result"] for row in one] == [row["result"] for row in other]
    assert [Path(row["input"]).name for row in one] == [Path(row["input"]).name for row in other]


def test_the_exit_code_is_that_of_the_board(
    edgekit_command: Command, person_bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    done = edgekit_command("run", str(person_bundle.path), str(photos[0]), str(tmp_path / "bad.jpg"), "--on=board")
    assert done.returncode == 6
    assert "bad.jpg" in done.stderr


def test_paths_of_the_board(edgekit_command: Command, person_bundle: Bundle, photos: list[Path]) -> None:
    done = edgekit_command("run", str(person_bundle.path), f"there:{photos[0]}", "--on", "board")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(photos[0]))
    assert "inputs," not in done.stderr


def test_bench(edgekit_command: Command, person_bundle: Bundle) -> None:
    words = ["bench", str(person_bundle.path), "--recipe", "int8", "--threads", "1", "--seconds", "0.1"]
    done = edgekit_command(*words, "--on", "board")
    assert done.returncode == 0, done.stderr
    assert "model.int8.tflite" in done.stdout


def test_plan_measures_on_the_board(edgekit_command: Command, person_bundle: Bundle, tmp_path: Path) -> None:
    words = ["--budget", "latency=60s", "--to", "tflite", "--engine", "litert", "--threads", "1", "--rounds", "1"]
    model, folder = person_bundle.path / "model.fp32.tflite", tmp_path / "person.plan"
    done = edgekit_command(
        "plan", model, *words, "--seconds", "0.01", "--recipe", "fp32", "--on", "board", "-o", folder
    )
    assert done.returncode == 0, done.stderr
    raw = json.loads((folder / "plan.json").read_text())
    assert (raw["device"], raw["chosen"]) == ("board", "tflite-fp32/litert/1")
    assert raw["variants"][0]["latency_ms"] > 0
    assert (tmp_path / "board" / "bundles").is_dir()
    assert "--engine litert --threads 1 --on board" in done.stderr


def test_doctor(edgekit_command: Command) -> None:
    done = edgekit_command("device", "doctor", "board", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_files_that_would_be_written_there_are_refused(edgekit_command: Command, person_bundle: Bundle) -> None:
    done = edgekit_command("run", str(person_bundle.path), "x.jpg", "-o", "results.jsonl", "--on", "board")
    assert done.returncode == 2
    assert "--format jsonl > results.jsonl" in done.stderr


def test_an_unknown_board(edgekit_command: Command, person_bundle: Bundle) -> None:
    done = edgekit_command("verify", str(person_bundle.path), "--on", "attic")
    assert done.returncode == 2
    assert "no device named attic; expected one of: board" in done.stderr


def test_ctrl_c_ends_it_there_too(person_bundle: Bundle, board: Device, photos: list[Path]) -> None:
    fifo = Path(board.home).parent / "photos"
    fifo.mkdir()
    for number in range(3000):
        (fifo / f"{number}.jpg").symlink_to(photos[0])
    words = [sys.executable, "-m", "edgekit.cli", "run", str(person_bundle.path), f"there:{fifo}", "--on", "board"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 143
    end = time.monotonic() + 10
    while running(str(fifo)):
        assert time.monotonic() < end, "it still runs there"
        time.sleep(0.05)


def running(words: str) -> bool:
    """Whether a process has these words."""
    mine = str(os.getpid())
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.name != mine and words in (process / "cmdline").read_text():
                return True
    return False
