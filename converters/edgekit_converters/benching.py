"""Measuring with ``edgekit bench``, in a child process, here or on a board."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit_converters.runtime import complaint, edgekit

_EMULATED = "emulated:"


class NotMeasured(Exception):
    """Why ``edgekit bench`` has no times for an artifact: the text is for people."""


def check_device(name: str) -> None:
    """Refuse a board that cannot be measured on, before anything is converted.

    Raises:
        UsageError: An emulated board, or an unknown one.
    """
    if name.startswith(_EMULATED):
        raise UsageError(
            f"--on {name}: an emulated processor's time and memory say nothing of the board's",
            expected="a board that edgekit device knows, or no --on",
            remedy=f"measure here, then see with `edgekit verify BUNDLE --on {name}` whether the answers are the same "
            "there",
        )
    known = edgekit(["device", "list"])
    names = [line.split("  ")[0] for line in known.stdout.splitlines()]
    if known.returncode == 0 and name not in names:
        raise UsageError(
            f"no device named {name}",
            expected=f"one of: {', '.join(names) or 'none'}",
            remedy="edgekit device add NAME USER@HOST",
        )


def bench(
    bundle: Path,
    recipe: str,
    *,
    engine: str | None = None,
    threads: Sequence[int] = (),
    seconds: float = 1.0,
    device: str | None = None,
) -> list[dict[str, Any]]:
    """Measure a bundle's artifact once.

    Args:
        bundle: With one artifact.
        recipe: The artifact's: one that missed its gate is measured only by name.
        engine: Name of the engine; ``None`` takes the format's own.
        threads: A row each; none is one row with the engine's own number.
        seconds: Timed for each row.
        device: Name of a board; ``None`` is this machine.

    Returns:
        The measurements as ``edgekit bench --json`` writes them, in the order of ``threads``.

    Raises:
        NotMeasured: The engine is missing there or refuses the file, or the machine was throttled.
    """
    try:
        found = asked(bundle, "--recipe", recipe, engine=engine, threads=threads, seconds=seconds, device=device)
    except NotMeasured as reason:
        raise NotMeasured(f"not measured: {reason}") from None
    rows: list[dict[str, Any]] = found["measurements"]
    throttled = [row["invalid"] for row in rows if not row["valid"]]
    if throttled:
        raise NotMeasured(f"the machine was throttled: {'; '.join(throttled[0])}")
    return rows


def asked(
    bundle: Path,
    *more: str,
    engine: str | None = None,
    threads: Sequence[int] = (),
    seconds: float = 1.0,
    device: str | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Ask ``edgekit bench`` for its whole answer; rows of a throttled machine are in it, marked.

    Args:
        bundle: What to measure.
        more: Other options of the command, such as ``--all``.
        engine: Name of the engine; ``None`` takes each format's own.
        threads: A row each; none is one row with the engine's own number.
        seconds: Timed for each row.
        device: Name of a board; ``None`` is this machine.
        timeout: Seconds until it is given up; ``None`` waits.

    Raises:
        NotMeasured: It has no times, or takes too long.
    """
    words = ["bench", str(bundle), *more, "--seconds", f"{seconds:g}", "--json", "-"]
    words += ["--engine", engine] if engine else []
    words += ["--threads", ",".join(map(str, threads))] if threads else []
    words += ["--on", device] if device else []
    try:
        done = edgekit(words, timeout)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"edgekit bench did not end within {timeout:g} s") from None
    try:
        found: dict[str, Any] = json.loads(done.stdout)
        found["measurements"]
    except (ValueError, KeyError, TypeError):
        said = complaint(done.stderr).replace(f"{bundle}{os.sep}", "")
        raise NotMeasured(f"{said} (edgekit bench ended with {done.returncode})") from None
    return found
