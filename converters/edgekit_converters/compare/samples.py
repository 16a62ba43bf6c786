"""The samples of a comparison, with the original's answers, on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.tasks import Task
from edgekit_converters.data import open_dataset
from edgekit_converters.progress import Stages
from edgekit_converters.store import SampleStore, Stored, batches, stack
from edgekit_converters.synthetic import synthetic_feeds

Answer = Callable[[Mapping[str, Array]], Mapping[str, Array]]
_BATCH = 16


def read_samples(
    data: Any, task: Task, stages: Stages, folder: Path, answer: Answer | None = None
) -> tuple[SampleStore, str]:
    """Encode the user's data, or make up inputs where there is none.

    Args:
        data: As `--data` takes it; ``None`` for made-up inputs.
        task: Encodes an item.
        stages: Progress.
        folder: Where to keep them.
        answer: The original, for tasks whose model is fed with what it gave before.

    Returns:
        The samples without answers, and where they come from.
    """
    store = SampleStore(folder)
    if data is None:
        for number, feeds in enumerate(synthetic_feeds(task.spec)):
            store.add(Stored(f"made-up input {number}", feeds, {}))
        stages.note("no --data: the inputs are made up; real ones show more, and only they show the ranges")
        return store, "made-up inputs"
    dataset = open_dataset(data, task.spec)
    with stages.stage("read the data", len(dataset)):
        for sample in stages.each(dataset.encoded(task, answer)):
            store.add(sample)
    return store, dataset.origin


def answered(samples: SampleStore, answer: Answer, *, batch: bool, stages: Stages, folder: Path) -> SampleStore:
    """Add the original's answers.

    Args:
        samples: Without answers.
        answer: Runs the original on a batch.
        batch: Whether it takes more than one sample at a time.
        stages: Progress.
        folder: Where to keep them.
    """
    store = SampleStore(folder)
    with stages.stage("run the original", len(samples)):
        for group in batches(samples, _BATCH if batch else 1):
            outputs = answer(stack(sample.feeds for sample in group))
            for place, sample in stages.each(enumerate(group)):
                own = {name: array[place : place + 1] for name, array in outputs.items()}
                store.add(replace(sample, outputs=own))
    return store


def golden_samples(inputs: Mapping[str, Array], outputs: Mapping[str, Array], folder: Path) -> SampleStore:
    """A bundle's golden samples, one by one."""
    if not inputs or not outputs:
        raise DataRefused("the bundle holds no golden samples", remedy="pass --data, or convert again")
    store = SampleStore(folder)
    for place in range(len(next(iter(inputs.values())))):
        cut = slice(place, place + 1)
        feeds, answers = ({name: array[cut] for name, array in side.items()} for side in (inputs, outputs))
        store.add(Stored(f"golden sample {place}", feeds, answers))
    return store


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` numbers below ``count``, evenly spread."""
    kept = min(count, limit)
    return [place * count // kept for place in range(kept)]
