"""Sentences: ``.txt``, ``.tsv`` and ``.jsonl`` files, one a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit.rows import json_object
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data.dataset import Dataset, Item


def read(path: Path, spec: Spec) -> Dataset:
    """Lines of a file, one sample each; empty lines are none."""
    read = {".txt": _plain_line, ".tsv": _tsv_line, ".jsonl": _json_line}[path.suffix.lower()]
    truth = task_class(spec.task).truth
    with path.open(encoding="utf-8") as stream:
        count = sum(1 for line in stream if line.strip())

    def items() -> Iterator[Item]:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    where = f"{path.name} line {number}"
                    text, label = read(line.rstrip("\r\n"), where)
                    yield Item(where, text, truth(spec, label, where))

    return Dataset(items, count, str(path))


def _plain_line(line: str, _: str) -> tuple[Any, Any]:
    return line, None


def _tsv_line(line: str, _: str) -> tuple[Any, Any]:
    text, _, label = line.rpartition("\t")
    return (text, label) if text else (label, None)


def _json_line(line: str, where: str) -> tuple[Any, Any]:
    row = json_object(line, where, "text", '{"text": …, "label": …} or {"text": …, "entities": […]}')
    pair = row.get("text_pair")
    return (row["text"], pair) if isinstance(pair, str) else row["text"], row.get("label", row.get("entities"))


READERS: dict[str, Callable[[Path, Spec], Dataset]] = {".txt": read, ".tsv": read, ".jsonl": read}
