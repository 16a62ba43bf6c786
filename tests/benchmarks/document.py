"""Measured tables in documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rewrite(document: Path, name: str, *parts: str) -> None:
    """Put parts, with blank lines between, behind ``<!-- NAME:start -->`` and before ``<!-- NAME:end -->``.

    Raises:
        ValueError: It has no such markers.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, found, rest = document.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{document.name} has no {start} with {end} behind it")
    document.write_text(before + "\n\n".join([start, *parts, end]) + after, encoding="utf-8")
    print(f"wrote the tables of {document.name}")
