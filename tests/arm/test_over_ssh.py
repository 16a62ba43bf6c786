"""A board behind a real sshd, whose Python is the emulated board's: only `make arm` runs these, they take minutes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.bundle import Bundle, file_sha256
from edgekit_runtimes.emulated.root import BoardRoot
from edgekit_runtimes.remote.devices import Device, Devices
from tests.runtimes.remote.conftest import device_at, sshd

__all__ = ["sshd"]
Command = Callable[..., CompletedProcess[str]]
pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("arm"),
    pytest.mark.usefixtures("far_board"),
]


@pytest.fixture
def far_board(board: BoardRoot, sshd: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """The emulated board as the device ``far``; its interpreter is known by a path, as that of a real one."""
    python = tmp_path / "python-far"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in board.environment().items())
    python.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(board.python))} "$@"\n')
    python.chmod(0o755)
    device = replace(device_at(*sshd, tmp_path / "board"), name="far", python=str(python))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Devices().add(device)
    return device


def contents(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in folder.iterdir()}


def test_a_bundle_goes_there_once_and_proves_itself(
    board: BoardRoot, far_board: Device, edgekit_command: Command, person_bundle: Bundle
) -> None:
    deployed = edgekit_command("deploy", str(person_bundle.path), "far")
    assert deployed.returncode == 0, deployed.stderr
    there = Path(far_board.home) / "bundles" / person_bundle.path.name
    assert contents(there) == contents(person_bundle.path)
    verified = edgekit_command("verify", str(person_bundle.path), "--on", "far", "--json")
    assert verified.returncode == 0, verified.stderr
    assert "0.00 MB sent" in verified.stderr
    assert [verdict["verdict"] for verdict in json.loads(verified.stdout)] == ["pass", "pass"]
    doctor = edgekit_command("device", "doctor", "far", "--json")
    features = json.dumps(json.loads(doctor.stdout)["cpu"]["features"])
    assert "asimd" in features
    assert ("asimddp" in features) == (board.board.name == "pi5")


def test_photos_from_here_are_answered_there(
    edgekit_command: Command, person_bundle: Bundle, photos: list[Path]
) -> None:
    words = ["run", str(person_bundle.path), *map(str, photos), "--recipe", "int8", "--format", "jsonl"]
    here, there = edgekit_command(*words), edgekit_command(*words, "--on", "far")
    assert there.returncode == here.returncode == 0, there.stderr
    assert "6 inputs" in there.stderr
    near, far = (
        [json.loads(line)["result"]["labels"][0] for line in done.stdout.splitlines()] for done in (here, there)
    )
    assert [label["name"] for label in near] == [label["name"] for label in far]
    assert [label["score"] for label in far] == pytest.approx([label["score"] for label in near], abs=0.02)
