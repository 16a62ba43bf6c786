"""What is asked of systemd, through its own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import EnvironmentFault

UNITS = Path("etc/systemd/system")
_SHOWN = ("ActiveState", "SubState", "StatusText", "NRestarts", "MemoryCurrent", "ActiveEnterTimestamp", "Result")


class Systemd:
    """The service manager of this machine, or of a tree of files that becomes one.

    Args:
        root: ``/``, or a folder that holds a system's files: units are written, nothing is started.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.live = root == Path("/")

    def unit(self, name: str) -> Path:
        """Place of a unit file."""
        return self.root / UNITS / f"{name}.service"

    def enable(self, unit: str) -> None:
        """Have a unit started at boot; what it was told before is read anew."""
        if self.live:
            self._systemctl("daemon-reload")
            self._systemctl("enable", f"{unit}.service")
        else:
            self._systemctl("--root", str(self.root), "enable", f"{unit}.service")

    def restart(self, unit: str) -> None:
        """Start a unit anew, and wait until it is ready. Raises EnvironmentFault when it does not get there."""
        self._systemctl("reset-failed", f"{unit}.service", fine=(0, 1))
        self._systemctl("restart", f"{unit}.service")

    def remove(self, unit: str) -> None:
        """Stop a unit and forget it."""
        where = [] if self.live else ["--root", str(self.root)]
        if self.live:
            self._systemctl("stop", f"{unit}.service", fine=(0, 5))
        self._systemctl(*where, "disable", f"{unit}.service", fine=(0, 1))
        self.unit(unit).unlink(missing_ok=True)
        if self.live:
            self._systemctl("daemon-reload")

    def show(self, unit: str) -> dict[str, str]:
        """What the service manager knows of a unit: property -> value."""
        text = self._systemctl("show", f"{unit}.service", *(f"--property={name}" for name in _SHOWN))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def follow(self, unit: str, lines: int, follow: bool) -> int:
        """Print the journal of a unit; returns journalctl's exit code."""
        words = [self._program("journalctl"), "--unit", f"{unit}.service", "--lines", str(lines), "--no-pager"]
        return subprocess.run([*words, *(["--follow"] if follow else [])], check=False).returncode

    def _systemctl(self, *words: str, fine: Sequence[int] = (0,)) -> str:
        done = subprocess.run(
            [self._program("systemctl"), *words], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode in fine:
            return done.stdout
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        remedy = "run it with sudo" if os.geteuid() else "see `journalctl -xe`"
        raise EnvironmentFault(f"systemctl {' '.join(words)}: {said}", remedy=remedy)

    @staticmethod
    def _program(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            raise EnvironmentFault(f"no {name} on this machine", expected="a Linux system that systemd runs")
        return found
