"""Measuring with ``edgekit bench``, in child processes, here or on a board."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.engine import BUILT_IN, engine_class, engine_names
from edgekit.errors import EnvironmentFault, UsageError
from edgekit_converters.runtime import complaint, edgekit, processor

EMULATED = "emulated:"
_BOARD_THREADS = (1, 2, 4)


@dataclass(frozen=True)
class Target:
    """Where to measure.

    Attributes:
        device: Name of a board; ``None`` is this machine.
        engines: Names of engines to try.
        threads: Numbers of threads to try.
        seconds: Timed in each round.
    """

    device: str | None
    engines: tuple[str, ...]
    threads: tuple[int, ...]
    seconds: float

    @property
    def identity(self) -> str:
        """What a time belongs to, beside the artifact: machine and seconds."""
        machine = f"on {self.device}" if self.device else f"{platform.machine()} {processor()} {os.cpu_count()}"
        return f"{machine}, {self.seconds:g} s"


class NotMeasured(Exception):
    """Why ``edgekit bench`` has no times for a variant: the text is for people."""


def check_device(name: str) -> None:
    """Refuse a board that cannot be measured on, before anything is converted.

    Raises:
        UsageError: An emulated board, or an unknown one.
    """
    if name.startswith(EMULATED):
        raise UsageError(
            f"--on {name}: an emulated processor's time and memory say nothing of the board's",
            expected="a board that edgekit device knows, or no --on",
            remedy="plan here, then see with `edgekit verify FOLDER/chosen.bundle "
            f"--on {name}` whether the answers are the same there",
        )
    known = edgekit(["device", "list"])
    names = [line.split("  ")[0] for line in known.stdout.splitlines()]
    if known.returncode == 0 and name not in names:
        raise UsageError(
            f"no device named {name}",
            expected=f"one of: {', '.join(names) or 'none'}",
            remedy="edgekit device add NAME USER@HOST",
        )


def usable_engines(asked: Sequence[str], device: str | None) -> tuple[str, ...]:
    """Return the engines to try: those asked for, on a board the built-in ones, here all that are installed.

    Raises:
        EnvironmentFault: There is no engine of a name that was asked for, or none is installed.
    """
    if asked:
        for name in asked:
            engine_class(name)
        return tuple(dict.fromkeys(asked))
    if device is not None:
        return tuple(BUILT_IN)
    found = tuple(name for name in dict.fromkeys((*BUILT_IN, *engine_names())) if _is_installed(name))
    if not found:
        raise EnvironmentFault("no engine is installed", remedy="pip install 'edgekit-ai[litert,onnxruntime]'")
    return found


def engines_for(format_: str, engines: Sequence[str]) -> tuple[str, ...]:
    """Return those of the engines that run a format."""
    return tuple(name for name in engines if format_ in engine_class(name).formats)


def default_threads(device: str | None, cores: int) -> tuple[int, ...]:
    """Return the numbers of threads to try: here up to the cores, on a board 1, 2 and 4."""
    from edgekit_converters.plan.variants import thread_counts

    return _BOARD_THREADS if device is not None else thread_counts(cores)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bench(
    bundle: Path, recipe: str, engine: str | None, threads: Sequence[int] | None, target: Target
) -> list[dict[str, Any]]:
    """Measure a bundle's artifact once.

    Args:
        bundle: With one artifact.
        recipe: The artifact's: one that missed its gate is measured only by name.
        engine: Name of the engine; ``None`` takes the format's own.
        threads: A row each; ``None`` is one row with the engine's own number.
        target: Where.

    Returns:
        The measurements as ``edgekit bench --json`` writes them.

    Raises:
        NotMeasured: The engine is missing there or refuses the file, or the machine was throttled.
    """
    words = ["bench", str(bundle), "--recipe", recipe, "--seconds", f"{target.seconds:g}", "--json", "-"]
    words += ["--engine", engine] if engine else []
    words += ["--threads", ",".join(map(str, threads))] if threads else []
    words += ["--on", target.device] if target.device else []
    done = edgekit(words)
    try:
        rows: list[dict[str, Any]] = json.loads(done.stdout)["measurements"]
    except (ValueError, KeyError, TypeError):
        said = complaint(done.stderr).replace(f"{bundle}{os.sep}", "")
        raise NotMeasured(f"not measured: {said} (edgekit bench ended with {done.returncode})") from None
    throttled = [row["invalid"] for row in rows if not row["valid"]]
    if throttled:
        raise NotMeasured(f"the machine was throttled: {'; '.join(throttled[0])}")
    return rows


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    library = {"litert": ("ai_edge_litert", "tflite_runtime")}.get(name, (name,))
    if name in (*BUILT_IN, "openvino"):
        return any(find_spec(module) is not None for module in library)
    try:
        engine_class(name)
    except EnvironmentFault:
        return False
    return True
