"""Questions in files: ``.jsonl`` with one a line, and SQuAD's ``.json``, version 1 and 2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused

Asked = tuple[dict[str, str], Any]
"""Question with its context, and the right answers as the file has them (``None`` where it has none)."""
SUFFIXES = (".json", ".jsonl")
_LINE = '{"question": …, "context": …} a line, with "answers" if known'


def questions(path: Path) -> Iterator[tuple[str, Callable[[], Asked]]]:
    """Yield what each question of a file is called in messages, and what returns it.

    Args:
        path: A file with one of `SUFFIXES`.

    Yields:
        Name, and a function that raises DataRefused where a line is no question.

    Raises:
        DataRefused: The file cannot be read, or is no SQuAD.
    """
    try:
        yield from _squad(path) if path.suffix.lower() == ".json" else _lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path} cannot be read: {error}", expected="a .jsonl or .json file in UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[str, Callable[[], Asked]]]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                where = f"{path} line {number}"
                yield where, lambda line=line, where=where: _asked(line, where)  # type: ignore[misc]


def _asked(line: str, where: str) -> Asked:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataRefused(f"{where}: {error}", expected=_LINE) from error
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "context")):
        raise DataRefused(f"{where}: {line.strip()[:80]}", expected=_LINE)
    return {"question": row["question"], "context": row["context"]}, row.get("answers")


def _squad(path: Path) -> Iterator[tuple[str, Callable[[], Asked]]]:
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        found = [
            (f"{path} question {qa.get('id', number)}", _one(qa, paragraph["context"]))
            for article in articles
            for paragraph in article["paragraphs"]
            for number, qa in enumerate(paragraph["qas"], 1)
        ]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataRefused(f"{path}: {error!r}", expected='SQuAD\'s {"data": [{"paragraphs": […]}]}') from error
    for where, asked in found:
        yield where, lambda asked=asked: asked  # type: ignore[misc]


def _one(qa: dict[str, Any], context: str) -> Asked:
    """A question of SQuAD; one that the text does not answer has no answers, whatever else it lists."""
    answers = [] if qa.get("is_impossible") else qa.get("answers")
    return {"question": qa["question"], "context": context}, answers
