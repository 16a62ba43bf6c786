"""What to do with a chunk whose process died: once more, then each of its inputs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit_runtimes.bulk import table
from edgekit_runtimes.bulk.chunk import Chunk, Entry

KILLED = "it killed the process that answered it, twice"
AGAIN = 2
"""How often an input may kill before it is set aside: a machine can fail for reasons of its own."""

AnswerEach = Callable[[Sequence[Entry]], list[list[table.Row] | None]]
"""Rows of each entry, every one alone; ``None`` for those whose process died."""


def one_by_one(chunk: Chunk, answer: AnswerEach, set_aside: Callable[[str, str], table.Row]) -> list[table.Row]:
    """Answer the inputs of a chunk each alone, and set aside those that kill the process each time.

    Args:
        chunk: The chunk.
        answer: Answers entries.
        set_aside: Returns the row for the name of an input and a reason.
    """
    entries = list(chunk.singles())
    found: dict[int, list[table.Row]] = {}
    for _ in range(AGAIN):
        left = [number for number in range(len(entries)) if number not in found]
        answers = answer([entries[number] for number in left])
        found |= {number: rows for number, rows in zip(left, answers, strict=True) if rows is not None}
        if len(found) == len(entries):
            break
    aside = {n: [set_aside(e.name, f"{e.name}: {KILLED}")] for n, e in enumerate(entries) if n not in found}
    return [row for number in range(len(entries)) for row in {**aside, **found}[number]]
