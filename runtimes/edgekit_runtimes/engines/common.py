"""What the built-in engines share: the file check, the thread count, the wording of refusals."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.cores import usable_cores
from edgekit.errors import DataRefused, EnvironmentFault, MissingExtra, ModelRefused, UsageError, reason

MAX_DEFAULT_THREADS = 4


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use.

    Args:
        threads: What was asked for; ``None`` means every core this process may use, at most four: beyond that
            small networks get slower, and both engines compare fairly.

    Raises:
        UsageError: Less than one.
    """
    if threads is None:
        return min(MAX_DEFAULT_THREADS, usable_cores())
    if threads < 1:
        raise UsageError(f"{threads} threads", expected="1 or more")
    return threads


def artifact_size(path: Path) -> int:
    """Return the size of an artifact in bytes. Raises ModelRefused when it is no file or empty."""
    if not path.is_file():
        raise ModelRefused(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    size = path.stat().st_size
    if size == 0:
        raise ModelRefused(f"{path} is empty (0 bytes)", remedy="copy or convert it again")
    return size


def cannot_load(path: Path, library: str, error: BaseException) -> ModelRefused:
    """Return the refusal of a file that the engine's library does not accept."""
    return ModelRefused(
        f"{library} cannot load {path} ({path.stat().st_size} bytes): {reason(error)}",
        expected=f"a whole {path.suffix} file with operators that this version knows",
        remedy="copy or convert it again",
    )


def cannot_run(path: Path, library: str, error: BaseException, shapes: Iterable[tuple[int, ...]]) -> DataRefused:
    """Return the refusal of inputs on which the engine's library fails."""
    listed = ", ".join(str(list(shape)) for shape in shapes)
    return DataRefused(f"{library} cannot run {path.name} on inputs of shape {listed}: {reason(error)}")


def import_library(module: str, missing: str, extra: str) -> Any:
    """Import the library that an engine stands on.

    Args:
        module: Its name.
        missing: What to say where it is not installed.
        extra: The extra of edgekit that brings it.

    Raises:
        MissingExtra: It is not installed.
        EnvironmentFault: It is installed and broken.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(missing, remedy=f"pip install 'edgekit-ai[{extra}]'") from error
    except ImportError as error:
        raise EnvironmentFault(
            f"{module} is installed but cannot be imported: {reason(error)}", remedy=f"install {module} again"
        ) from error


def unique_names(names: Iterable[str]) -> list[str]:
    """Make names different by numbering repeats: ``x``, ``x#2``, ``x#3``. Artifacts may repeat tensor names."""
    taken: dict[str, int] = {}
    unique = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        unique.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return unique


def refuse_strings(path: Path, name: str, dtype: np.dtype[np.generic]) -> None:
    """Raise ModelRefused for a tensor that holds anything but numbers."""
    if dtype.kind not in "biufc":
        raise ModelRefused(f"tensor {name!r} of {path} holds {dtype.name}", expected="tensors of numbers")
