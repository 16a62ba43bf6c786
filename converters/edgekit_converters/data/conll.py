"""Tagged tokens: ``.conll`` files, a token and its tag a line, sentences apart by empty lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.entities import tagged_spans
from edgekit_converters.data.dataset import Dataset, Item

_DOCUMENT = "-DOCSTART-"


def read(path: Path, spec: Spec) -> Dataset:
    """Sentences of a file; tokens are joined by spaces, and what the tags say becomes entities of that text."""
    kind, outside = task_class(spec.task), str(spec.options.get("outside", "O"))
    count = sum(1 for _ in _sentences(path))

    def items() -> Iterator[Item]:
        for where, tokens, tags in _sentences(path):
            offsets, at = [], 0
            for token in tokens:
                offsets.append((at, at + len(token)))
                at += len(token) + 1
            raw = tagged_spans(tags, offsets, outside)
            yield Item(where, " ".join(tokens), kind.truth(spec, raw, where))

    return Dataset(items, count, str(path))


def _sentences(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield name, tokens and tags; of more than two columns the first and the last count."""
    tokens: list[str] = []
    tags: list[str] = []
    begin = 1
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate([*stream, "\n"], 1):
                columns = line.split()
                if columns and columns[0] != _DOCUMENT:
                    if len(columns) < 2:
                        raise DataRefused(f"{path.name} line {number}: {line.strip()[:80]}", expected="TOKEN<TAB>TAG")
                    begin = begin if tokens else number
                    tokens.append(columns[0])
                    tags.append(columns[-1])
                elif tokens:
                    yield f"{path.name} line {begin}", tokens, tags
                    tokens, tags = [], []
    except UnicodeDecodeError as error:
        raise DataRefused(f"{path}: {error}", expected="UTF-8 text") from error


READERS: dict[str, Callable[[Path, Spec], Dataset]] = {".conll": read}
