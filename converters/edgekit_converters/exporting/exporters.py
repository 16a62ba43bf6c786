"""Forms that other distributions write: an entry-point group, and what holds for each of its exporters.

    [project.entry-points."edgekit.exporters"]
    executorch = "edgekit_executorch:export"

An exporter is a function of an open `edgekit_converters.sources.Source` and a path. It writes a file or a folder at
that path and returns a line for the user, in which it says how close its result is to ``source.run``. The path is a
temporary one: what it wrote takes its place when it returns, and is removed when it raises.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.atomic import atomic_file, atomic_folder
from edgekit.errors import EdgeKitError, EnvironmentFault, MissingExtra, ModelRefused, UsageError

if TYPE_CHECKING:
    from edgekit_converters.sources import Source

EXPORTER_GROUP = "edgekit.exporters"
Exporter = Callable[["Source", Path], str]


def exporter_names() -> list[str]:
    """Names of the exporters that are installed."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=EXPORTER_GROUP)})


def exporter(name: str) -> Exporter:
    """Return an exporter.

    Raises:
        UsageError: None of that name is installed.
        MissingExtra: It cannot be imported.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=EXPORTER_GROUP, name=name):
        try:
            found: Exporter = point.load()
        except ImportError as error:
            raise _missing(name, error) from error
        return found
    raise UsageError(
        f"--to {name!r}",
        expected=" or ".join(["c-array", *exporter_names()]),
        remedy=f"install the distribution that brings {name!r} as an entry point of {EXPORTER_GROUP}",
    )


def export_source(source: Source, name: str, output: Path) -> str:
    """Write a trained model in another form.

    Args:
        source: The open model.
        name: Of the exporter.
        output: File or folder; what is there is replaced in one step, or stays as it is.

    Returns:
        What the exporter says of it.

    Raises:
        ModelRefused: The exporter fails on this model, or writes nothing.
        EnvironmentFault: The disk is full or not writable; MissingExtra when the exporter lacks a library.
    """
    found = exporter(name)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {output}: {error.strerror}", remedy="choose another output") from error
    with work as folder:
        made = Path(folder, output.name)
        try:
            said = found(source, made)
        except (EdgeKitError, KeyboardInterrupt):
            raise
        except ImportError as error:
            raise _missing(name, error) from error
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise ModelRefused(f"exporter {name!r} failed on {source.name}: {what}") from error
        _put(made, output, name)
    return said


def _put(made: Path, output: Path, name: str) -> None:
    if made.is_file():
        with atomic_file(output) as temporary:
            os.replace(made, temporary)
    elif made.is_dir():
        with atomic_folder(output) as temporary:
            os.rmdir(temporary)
            os.rename(made, temporary)
    else:
        raise ModelRefused(f"exporter {name!r} wrote nothing", expected="a file or a folder")


def _missing(name: str, error: ImportError) -> MissingExtra:
    package = (error.name or "what it needs").partition(".")[0].replace("_", "-")
    return MissingExtra(f"exporter {name!r} cannot be imported: {error}", remedy=f"pip install {package}")
