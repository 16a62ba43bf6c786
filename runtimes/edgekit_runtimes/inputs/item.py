"""One input of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        name: What to call it in results and messages.
        load: Returns what the task takes. Raises DataRefused when that cannot be had.
        inside: For a file found in a folder, its path in there; otherwise its file name.
    """

    name: str
    load: Callable[[], Any]
    inside: Path | None = None


def raiser(error: DataRefused) -> Callable[[], Any]:
    """Return the ``load`` of an input that cannot be had."""

    def load() -> Any:
        raise error

    return load
