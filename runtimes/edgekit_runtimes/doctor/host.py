"""Where the doctor reads from, and what it says about what it read.

Everything about a machine comes through a `Host`: files below a root folder, the output of a few system commands,
and what the kernel tells this process. Another root shows another machine, as it was recorded.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.cores import usable_cores

COMMAND_SECONDS = 5.0

Severity = Literal["blocking", "warning", "hint"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a machine.

    Attributes:
        severity: ``blocking`` when bundles cannot run; ``warning`` when they run, but badly or in part; ``hint`` when
            something could be better.
        what: What was found.
        means: What follows from it.
        mend: The command, or where no command helps the action, that mends it.
    """

    severity: Severity
    what: str
    means: str
    mend: str


def output_of(words: Sequence[str]) -> str | None:
    """Run a system command; return what it printed, or ``None`` when it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def may_use(path: Path) -> bool:
    """Tell whether this user may read and write a device."""
    return os.access(path, os.R_OK | os.W_OK)


def has_module(name: str) -> bool:
    """Tell whether a top-level module is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


@dataclass(frozen=True)
class Host:
    """A machine.

    Attributes:
        root: Folder that holds its ``/proc``, ``/sys``, ``/etc`` and ``/dev``.
        architecture: As ``uname -m`` gives it.
        pointer_bits: Of the Python process: 32 on a 32-bit system, also under a 64-bit kernel.
        cores: Cores that this process may use.
        command: Runs a system command; its output, or ``None``.
        permitted: Whether a device may be opened by this user.
        installed: Whether a Python module is installed.
    """

    root: Path = Path("/")
    architecture: str = field(default_factory=platform.machine)
    pointer_bits: int = struct.calcsize("P") * 8
    cores: int = field(default_factory=usable_cores)
    command: Callable[[Sequence[str]], str | None] = output_of
    permitted: Callable[[Path], bool] = may_use
    installed: Callable[[str], bool] = has_module

    def path(self, name: str) -> Path:
        """Return where an absolute path of the machine lies."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Read a small text file; ``None`` when it is not there or cannot be read.

        Sensors fail in the reading, too: some thermal zones of a Jetson answer "try again" while their part sleeps.
        """
        try:
            return self.path(name).read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """Read a file that holds a whole number; ``None`` when it does not."""
        try:
            return int(self.text(name) or "")
        except ValueError:
            return None

    def names(self, folder: str, pattern: str) -> list[str]:
        """List the absolute paths below a folder that match a pattern, ``name2`` before ``name10``."""
        found = [f"/{path.relative_to(self.root).as_posix()}" for path in self.path(folder).glob(pattern)]
        return sorted(found, key=lambda name: (len(name), name))
