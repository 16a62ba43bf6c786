"""The runtime's commands, asked in a child process: converters never import the runtime."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_GRACE_SECONDS = 3.0


def edgekit(words: Sequence[str], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run an ``edgekit`` command and keep what it says.

    Args:
        words: Its verb, arguments and options.
        timeout: Seconds; ``None`` waits.

    Raises:
        subprocess.TimeoutExpired: It takes longer.
    """
    command = [sys.executable, "-m", "edgekit.cli", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            _end(child)
            raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def _end(child: subprocess.Popen[str]) -> None:
    """Let a command remove what it has half written, if it does so soon."""
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def complaint(stderr: str) -> str:
    """What was received, of a command that failed: without what was expected and the remedy."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return [*(lines or ["it said nothing"]), *errors][-1].partition("; expected ")[0]


def processor(root: Path = Path("/")) -> str:
    """The board or the processor, as the kernel names it; never the machine's own name."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    return fields.get("Model") or fields.get("model name") or platform.processor() or "unknown processor"
