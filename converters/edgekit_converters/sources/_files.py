"""What every source asks of the files it is given."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import ModelRefused, UsageError


def existing(path: Path) -> Path:
    """Return the path. Raises UsageError when nothing is there."""
    if not path.exists():
        raise UsageError(f"{path} does not exist", expected="a trained model", remedy="check the path")
    return path


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size


def damaged(path: Path, why: object, *, expected: str) -> ModelRefused:
    """The refusal of a file that is cut short or garbled, with its size, so that a copy can be compared."""
    return ModelRefused(
        f"{path.name} ({size_of(path):,} bytes) cannot be read: {first_line(why)}",
        expected=expected,
        remedy="copy or save the file again; it is damaged, cut short or not what its name says",
    )


def first_line(why: object, limit: int = 300) -> str:
    """The first line of a library's message, cut to a length that fits a terminal."""
    lines = str(why).strip().splitlines()
    text = lines[0] if lines else type(why).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
