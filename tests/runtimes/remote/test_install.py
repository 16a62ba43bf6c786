"""The thin runtime on a board that has nothing but Python: its real environment, from the real package index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.bundle import Bundle
from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.remote.devices import Device, Devices
from edgekit_runtimes.remote.install import install

Command = Callable[..., CompletedProcess[str]]
HEAVY = ("tensorflow", "torch", "keras", "jax", "onnx", "transformers", "pandas", "scipy", "matplotlib")


@pytest.mark.usefixtures("known")
def test_a_bare_board_proves_a_bundle(board: Device, person_bundle: Bundle, edgekit_command: Command) -> None:
    Devices().add(replace(board, python=None))
    done = edgekit_command("device", "install", "board")
    assert done.returncode == 0, done.stderr
    packages = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert {"edgekit-ai", "ai-edge-litert", "numpy", "opencv-python-headless"} <= set(packages)
    assert not set(packages) & set(HEAVY)
    verified = edgekit_command("verify", str(person_bundle.path), "--on", "board")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("pass") == 2


def test_a_board_with_an_interpreter_of_its_own_is_left_alone(board: Device) -> None:
    with pytest.raises(UsageError, match="which was there before"):
        install(board, ("litert",), print)


def test_an_unknown_extra(board: Device) -> None:
    with pytest.raises(UsageError, match="--with tensorflow; expected litert or"):
        install(replace(board, python=None), ("tensorflow",), print)


def test_a_python_that_is_too_old(board: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit_runtimes.remote import install as module

    monkeypatch.setattr(module, "output_of", lambda *_, **__: '[[3, 8], "armv7l", true]')
    with pytest.raises(EnvironmentFault, match=r"board has Python 3\.8; expected 3\.10 or newer"):
        install(replace(board, python=None), ("litert",), print)
    monkeypatch.setattr(module, "output_of", lambda *_, **__: '[[3, 11], "aarch64", false]')
    with pytest.raises(EnvironmentFault, match="cannot make environments") as caught:
        install(replace(board, python=None), ("litert",), print)
    assert "apt install python3-venv" in (caught.value.remedy or "")
