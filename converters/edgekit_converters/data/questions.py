"""Questions with their texts and, if known, answers: ``.jsonl`` and SQuAD's ``.json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.question_files import SUFFIXES, questions
from edgekit_converters.data.dataset import Dataset, Item


def read(path: Path, spec: Spec) -> Dataset:
    """The questions of a file."""
    truth = task_class(spec.task).truth
    count = sum(1 for _ in questions(path))

    def items() -> Iterator[Item]:
        for where, ask in questions(path):
            asked, answers = ask()
            yield Item(where, asked, truth(spec, answers, where))

    return Dataset(items, count, str(path))


READERS: dict[str, Callable[[Path, Spec], Dataset]] = dict.fromkeys(SUFFIXES, read)
