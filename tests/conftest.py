"""Fixtures that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def realpack() -> Path:
    """The folder of real models and data; the test is skipped by name where it is not at hand (never in CI)."""
    folder = os.environ.get("EDGEKIT_DATA")
    if folder and Path(folder, "README.md").is_file():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail("EDGEKIT_DATA is not set or empty in CI: the real-model tests cannot run")
    pytest.skip("EDGEKIT_DATA is not set: needs the real models and data")


@pytest.fixture(scope="session")
def edgekit_command() -> CommandRunner:
    """Run the installed `edgekit` command as a user would."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "edgekit"), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, **options)  # type: ignore[call-overload,no-any-return]

    return run
