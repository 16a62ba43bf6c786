"""Samples from Python: a function that yields them, or a sequence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import Task, task_class
from edgekit_converters.data.dataset import Dataset, Item


def read(source: Any, spec: Spec, origin: str = "samples given in Python") -> Dataset:
    """A function that yields samples, or a sequence of samples; a one-shot iterator is refused."""
    if inspect.isgenerator(source) or (hasattr(source, "__next__") and not hasattr(source, "__len__")):
        raise DataRefused(
            f"{origin}: a one-shot {type(source).__name__}, which can be read only once",
            expected="data that can be read again",
            remedy="pass the generator function itself (not its result), or a list",
        )
    kind = task_class(spec.task)
    listed: Callable[[], Any] = source if callable(source) else lambda: source

    def items() -> Iterator[Item]:
        for i, value in enumerate(listed()):
            where = f"sample {i}"
            if isinstance(value, tuple) and len(value) == 2 and (_is_class(value[1]) or _has_other_truth(kind)):
                yield Item(where, value[0], kind.truth(spec, value[1], where))
            else:
                yield Item(where, value)

    count = len(source) if hasattr(source, "__len__") else sum(1 for _ in items())
    return Dataset(items, count, origin)


def _is_class(label: Any) -> bool:
    return isinstance(label, (int, np.integer))


def _has_other_truth(kind: type[Task]) -> bool:
    """Whether what is right is something else than a class, so that a pair is never a pair of sentences."""
    return kind.truth.__func__ is not Task.truth.__func__  # type: ignore[attr-defined]
