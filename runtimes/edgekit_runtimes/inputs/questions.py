"""Questions on the command line: about a text given once, or each with its own text in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused, UsageError
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.question_files import SUFFIXES, questions
from edgekit.tasks.tokens import MAX_CHARACTERS
from edgekit_runtimes.inputs.item import Item, raiser

_UTF8_BYTES = 4


def expand(word: str, spec: Spec) -> Iterator[Item]:
    """Yield the questions of a ``.jsonl`` or SQuAD ``.json`` file; a question alone lacks its text."""
    if Path(word).suffix.lower() not in SUFFIXES:
        expected = "a .jsonl or SQuAD .json file, or --context FILE with the text that is asked about"
        yield Item(word, raiser(DataRefused(f"the question {word!r:.80} without a text", expected=expected)))
        return
    try:
        for where, ask in questions(Path(word)):
            yield Item(where, lambda ask=ask: ask()[0])  # type: ignore[misc]
    except DataRefused as error:
        yield Item(word, raiser(error))


def about(words: Iterable[str], spec: Spec, context: Path) -> Iterator[Item]:
    """Yield questions about one text.

    Args:
        words: Questions, or ``.txt`` files with one a line.
        spec: Of a bundle that answers questions.
        context: File with the text in UTF-8; ``-`` is standard input.

    Raises:
        UsageError: The bundle answers no questions.
        DataRefused: The text cannot be read.
    """
    if task_class(spec.task).takes != "question":
        raise UsageError(f"--context for task {spec.task!r}", expected="a bundle that answers questions")
    text = _text(context)
    for word in words:
        if Path(word).suffix.lower() != ".txt":
            yield Item(word, lambda word=word: _asked(word, text))  # type: ignore[misc]
            continue
        try:
            lines = Path(word).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            yield Item(word, raiser(DataRefused(f"{word} cannot be read: {error}", expected="UTF-8 text")))
            continue
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield Item(f"{word} line {number}", lambda line=line: _asked(line, text))  # type: ignore[misc]


def _asked(question: str, text: str) -> dict[str, Any]:
    return {"question": question, "context": text}


def _text(path: Path) -> str:
    """Read a text, no more of it than what is refused as too long."""
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(_UTF8_BYTES * MAX_CHARACTERS + 1)
        else:
            with path.open("rb") as stream:
                raw = stream.read(_UTF8_BYTES * MAX_CHARACTERS + 1)
        if len(raw) > _UTF8_BYTES * MAX_CHARACTERS:
            raise DataRefused(
                f"--context {path}: more than {len(raw) - 1} bytes", expected=f"{MAX_CHARACTERS} characters"
            )
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"--context {path}: {error}", expected="a file of UTF-8 text") from error
