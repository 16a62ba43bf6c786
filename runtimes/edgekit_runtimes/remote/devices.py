"""The boards that a user knows by name, in ``~/.config/edgekit/devices.json``. Keys and passwords stay with OpenSSH."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.errors import InputRefused, UsageError

_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,40}")
HOME = "~/.local/share/edgekit"
"""Where a board keeps its runtime and bundles."""


@dataclass(frozen=True)
class Device:
    """A board.

    Attributes:
        name: What the user calls it.
        host: ``USER@HOST``, ``HOST``, or a name of the user's OpenSSH configuration.
        port: Port; ``None`` leaves it to OpenSSH.
        options: OpenSSH options, as for ``ssh -o``.
        home: Folder on the board.
        python: Interpreter there that has edgekit; ``None``: that of the folder's own environment.
    """

    name: str
    host: str
    port: int | None = None
    options: tuple[str, ...] = ()
    home: str = HOME
    python: str | None = None

    @property
    def interpreter(self) -> str:
        """Interpreter on the board that runs edgekit."""
        return self.python or f"{self.home}/venv/bin/python"


class Devices:
    """The list of boards.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path | None = None) -> None:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.path = path or config / "edgekit" / "devices.json"

    def all(self) -> dict[str, Device]:
        """Boards by name. Raises InputRefused when the file is damaged."""
        if not self.path.is_file():
            return {}
        try:
            raw = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: _device(name, entry) for name, entry in raw.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise InputRefused(
                f"{self.path} is damaged: {error}", remedy="remove it, and add the boards again"
            ) from error

    def get(self, name: str) -> Device:
        """Return a board. Raises UsageError for an unknown one."""
        known = self.all()
        if name not in known:
            raise UsageError(
                f"no device named {name}",
                expected=f"one of: {', '.join(sorted(known)) or 'none'}",
                remedy="edgekit device add NAME USER@HOST",
            )
        return known[name]

    def add(self, device: Device) -> None:
        """Add a board, or change it. Raises UsageError for a name or host that cannot be one."""
        if not _NAME.fullmatch(device.name):
            raise UsageError(f"a device named {device.name!r}", expected="letters, digits, . _ -")
        if device.host.startswith("-") or not device.host or any(sign.isspace() for sign in device.host):
            raise UsageError(f"the host {device.host!r}", expected="USER@HOST, or a name of your OpenSSH configuration")
        self._write({**self.all(), device.name: device})

    def remove(self, name: str) -> None:
        """Forget a board. Raises UsageError for an unknown one."""
        self.get(name)
        self._write({key: device for key, device in self.all().items() if key != name})

    def _write(self, devices: Mapping[str, Device]) -> None:
        entries = {name: {k: v for k, v in asdict(device).items() if k != "name"} for name, device in devices.items()}
        with atomic_file(self.path) as temporary:
            temporary.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _device(name: str, entry: Mapping[str, object]) -> Device:
    options = entry.get("options") or ()
    return Device(name, **{**entry, "options": tuple(options)})  # type: ignore[arg-type]
