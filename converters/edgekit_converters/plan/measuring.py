"""Where a plan measures: machine, engines, numbers of threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.engine import BUILT_IN, engine_class, engine_names
from edgekit.errors import EnvironmentFault
from edgekit_converters.runtime import processor

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
