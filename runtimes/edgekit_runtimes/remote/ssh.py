"""Commands on a board, through the user's own ``ssh`` with its configuration and keys. It never asks anything."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.remote.devices import Device

_ALWAYS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
LOST = 255
"""Exit code of ``ssh`` when there is no connection, or not any more."""
_REMEDIES = (
    ("permission denied", "let your key in once: ssh-copy-id {host}"),
    ("host key verification failed", "look at the key once by hand: ssh {host}"),
    ("could not resolve", "is the name right? A Raspberry Pi is often raspberrypi.local"),
    ("connection refused", "switch SSH on there: sudo systemctl enable --now ssh"),
    ("timed out", "is it on, and in this network?"),
    ("no route to host", "is it on, and in this network?"),
)


def ssh_words(device: Device, command: str) -> list[str]:
    """Return the words that run a command of the board's shell.

    Raises:
        EnvironmentFault: No ``ssh`` here.
    """
    program = shutil.which("ssh")
    if program is None:
        raise EnvironmentFault("no ssh on this machine", remedy="install OpenSSH: sudo apt install openssh-client")
    options = [word for option in (*device.options, *_ALWAYS) for word in ("-o", option)]
    port = ["-p", str(device.port)] if device.port else []
    return [program, *options, *port, "--", device.host, command]


def shell_path(path: str) -> str:
    """Quote a path for the board's shell; ``~/`` stays the home folder."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def edgekit_command(device: Device, words: Sequence[str]) -> str:
    """Return the shell command that runs edgekit on a board; paths that begin with ``~/`` are its user's."""
    return " ".join([shell_path(device.interpreter), "-m", "edgekit.cli", *map(shell_path, words)])


def output_of(device: Device, command: str, *, stdin: bytes | None = None, timeout: float = 600) -> str:
    """Run a command and return what it prints.

    Raises:
        EnvironmentFault: No connection, or the command fails.
    """
    try:
        done = subprocess.run(
            ssh_words(device, command), check=False, capture_output=True, timeout=timeout,
            input=stdin if stdin is not None else b"",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(f"{device.name}: no end of `{command}` within {timeout:.0f} s") from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == LOST:
        raise unreachable(device, said)
    if done.returncode:
        last = (said.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EnvironmentFault(f"{device.name}: {last}", remedy=f"edgekit device doctor {device.name}")
    return done.stdout.decode(errors="replace")


def unreachable(device: Device, said: str) -> EnvironmentFault:
    """Say why there is no connection, and what helps."""
    lines = [line for line in said.strip().splitlines() if not line.startswith("Warning:")]
    reason = lines[-1].strip() if lines else "the connection ended"
    remedy = next((text for sign, text in _REMEDIES if sign in said.lower()), "try it by hand: ssh {host}")
    return EnvironmentFault(f"{device.name} ({device.host}): {reason}", remedy=remedy.format(host=device.host))
