"""Names of Python objects on the command line: ``package.module:name`` and ``path/file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from edgekit.errors import InputRefused, UsageError


def load_reference(reference: str) -> Any:
    """Import the object that a reference names.

    Args:
        reference: ``package.module:name`` (the current folder is searched too) or ``path/file.py:name``; dots in
            the name go into attributes.

    Raises:
        UsageError: The reference has no name part.
        InputRefused: No such module or file, no such name, or the module failed while it was imported.
    """
    where, separator, name = reference.rpartition(":")
    if not separator or not where or not name:
        raise UsageError(f"{reference!r}", expected="package.module:name or path/file.py:name")
    try:
        found: Any = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
    except InputRefused:
        raise
    except Exception as error:
        raise InputRefused(
            f"{reference}: importing {where} failed with {type(error).__name__}: {error}",
            remedy="run `python -c 'import …'` on it to see the whole error",
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            names = (
                [item for item in vars(found) if not item.startswith("_")][:20] if hasattr(found, "__dict__") else []
            )
            raise InputRefused(f"{where} has no {part!r}", expected=", ".join(names) or "another name")
        found = getattr(found, part)
    return found


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise InputRefused(f"{path}: no such file", expected="path/file.py:name")
    spec = importlib.util.spec_from_file_location(f"edgekit_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputRefused(f"{path} cannot be imported", expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _from_module(name: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        if added:
            sys.path.remove(here)
