"""Read, encode and check the user's data, and ask the original for its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekit.binding import Binding, adapt_feeds
from edgekit.engine import Array, TensorInfo
from edgekit.errors import DataRefused, ModelRefused
from edgekit.spec import Spec
from edgekit.tasks import Task
from edgekit_converters.data import Dataset, open_dataset
from edgekit_converters.progress import Stages
from edgekit_converters.quantize.calibration import CalibrationSummary, check_samples
from edgekit_converters.request import Request
from edgekit_converters.sources import Source
from edgekit_converters.store import SampleStore, Stored, batches, stack
from edgekit_converters.synthetic import synthetic_feeds

GOLDEN_SAMPLES = 4
HELD_OUT_EVERY = 5
"""Without evaluation data every fifth calibration sample is kept aside for parity."""
_REFERENCE_BATCH = 16


@dataclass(frozen=True)
class Prepared:
    """Data of a conversion, encoded.

    Attributes:
        calibration: Samples for static recipes; ``None`` when none were given.
        summary: What the check of the calibration data found.
        evaluation: Samples with the original's outputs, none of them in ``calibration``.
        origin: Where the evaluation samples come from, for the manifest.
        golden: A few evaluation samples that go into the bundle.
    """

    calibration: SampleStore | None
    summary: CalibrationSummary | None
    evaluation: SampleStore
    origin: str
    golden: tuple[Stored, ...]


class CalibrationFeeds:
    """A store as calibration samples: under an artifact's names, in its layouts and dtypes.

    Args:
        store: Encoded samples.
        spec: The spec they were encoded with.
        inputs: Bindings of the artifact's inputs.
    """

    def __init__(self, store: SampleStore, spec: Spec, inputs: Sequence[Binding]) -> None:
        self._store = store
        self._spec = spec
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return (adapt_feeds(sample.feeds, self._spec, self._inputs) for sample in self._store)


def prepare(request: Request, source: Source, task: Task, stages: Stages, scratch: Path) -> Prepared:
    """Encode all data into stores below ``scratch``; check calibration data; run the original.

    Raises:
        DataRefused: A static recipe without calibration data, or data that cannot be used.
    """
    calibration, evaluation, origin = datasets(request, task.spec, stages)
    calibration_store = summary = None
    if calibration is not None:
        calibration_store = encode(
            calibration, task, source, stages, folder=scratch / "calibration", title="read calibration data"
        )
        summary = _check(calibration_store, task.spec)
        for note in summary.notes:
            stages.note(note)
    answered = judged_on(evaluation, source, task, stages, scratch)
    return Prepared(calibration_store, summary, answered, origin, golden_of(answered))


def judged_on(evaluation: Dataset | None, source: Source, task: Task, stages: Stages, scratch: Path) -> SampleStore:
    """Return a store below ``scratch`` with evaluation data, or inputs made up where there are none, and the answers.

    Raises:
        DataRefused: Data that cannot be used.
    """
    if evaluation is not None:
        encoded = encode(evaluation, task, source, stages, folder=scratch / "evaluation", title="read evaluation data")
    else:
        encoded = _made_up(task.spec, scratch / "made-up")
    return with_reference(encoded, source, stages, scratch / "answered")


def datasets(request: Request, spec: Spec, stages: Stages) -> tuple[Dataset | None, Dataset | None, str]:
    """Open the calibration and the evaluation data, disjoint, and say where the latter come from.

    Raises:
        DataRefused: As `prepare`.
    """
    calibration = None if request.calibration is None else open_dataset(request.calibration, spec)
    needy = [recipe.name for recipe in request.resolved_recipes() if recipe.static]
    if needy and calibration is None:
        raise DataRefused(
            f"--recipe {needy[0]} without calibration data",
            expected="--calibration PATH with about 100 real inputs",
            remedy="pass --calibration, or use --recipe dynamic-int8, which needs none",
        )
    if request.evaluation is not None:
        return calibration, open_dataset(request.evaluation, spec), "evaluation data"
    if calibration is None:
        stages.note("no data given: parity is measured on made-up inputs; pass --eval for accuracy")
        return None, None, "made-up inputs"
    if len(calibration) < 2:
        raise DataRefused(
            f"{calibration.origin} holds {len(calibration)} sample",
            expected="at least 2 without --eval: parity is measured on samples not used for calibration",
            remedy="pass more samples, or --eval",
        )
    kept, aside = calibration.split(HELD_OUT_EVERY)
    stages.note(f"no --eval: {len(aside)} calibration samples are kept aside for parity, {len(kept)} calibrate")
    return kept, aside, "calibration data kept aside"


def encode(data: Dataset, task: Task, source: Source, stages: Stages, *, folder: Path, title: str) -> SampleStore:
    """Return a store in an empty folder with all samples of a data set, encoded for a task."""
    store = SampleStore(folder)
    with stages.stage(title, len(data)):
        for sample in stages.each(data.encoded(task, source.run)):
            store.add(sample)
    return store


def _check(store: SampleStore, spec: Spec) -> CalibrationSummary:
    """Check before anything is converted, on the spec's own names; the sample's name goes into the message."""
    inputs = tuple(TensorInfo(tensor.name, (None, *tensor.shape[1:]), tensor.dtype) for tensor in spec.inputs)
    bindings = [Binding(t.name, t.name, t.shape, t.dtype, t.layout) for t in spec.inputs]
    feeds = _Followed(CalibrationFeeds(store, spec, bindings), store.names())
    try:
        return check_samples(feeds, inputs)
    except DataRefused as error:
        if feeds.current is None:
            raise
        received = f"{feeds.current}: {error.received}"
        raise DataRefused(received, expected=error.expected, remedy=error.remedy) from error


class _Followed:
    """Samples that know which one is being looked at.

    Attributes:
        current: Name of that sample, as the user knows it; ``None`` when all have been given.
    """

    def __init__(self, feeds: CalibrationFeeds, names: Sequence[str]) -> None:
        self._feeds, self._names = feeds, names
        self.current: str | None = None

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        for name, sample in zip(self._names, self._feeds, strict=True):
            self.current = name
            yield sample
        self.current = None


def _made_up(spec: Spec, folder: Path) -> SampleStore:
    store = SampleStore(folder)
    for number, feeds in enumerate(synthetic_feeds(spec)):
        store.add(Stored(f"made-up input {number}", feeds, {}))
    return store


def with_reference(
    encoded: SampleStore, source: Source, stages: Stages, folder: Path, *, title: str = "run the original"
) -> SampleStore:
    """Return a store in an empty folder, with a model's outputs added to every sample."""
    store = SampleStore(folder)
    size = _REFERENCE_BATCH if all(tensor.shape[0] is None for tensor in source.inputs) else 1
    with stages.stage(title, len(encoded)):
        for group in batches(encoded, size):
            outputs = source.run(stack(sample.feeds for sample in group))
            for position, sample in stages.each(enumerate(group)):
                own = {name: array[position : position + 1] for name, array in outputs.items()}
                _refuse_nan(own, sample.name)
                store.add(replace(sample, outputs=own))
    return store


def answered_as(own: SampleStore, others: SampleStore, folder: Path) -> SampleStore:
    """Return a store in an empty folder: the same inputs, encoded for one network, with the answers of another.

    Raises:
        DataRefused: They are not the same samples.
    """
    if others.names() != own.names():
        raise DataRefused("the evaluation data changed while they were read", expected="the same samples each time")
    store = SampleStore(folder)
    for sample, other in zip(own, others, strict=True):
        store.add(replace(sample, outputs=other.outputs))
    return store


def _refuse_nan(outputs: Mapping[str, Array], sample: str) -> None:
    """An original that gives NaN has no answers to compare with; infinities (masked scores) may be meant."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ModelRefused(
                f"the original gives NaN in output {name!r} for {sample}",
                expected="finite answers",
                remedy="check the weights, the preprocessing and this sample",
            )


def golden_of(store: SampleStore) -> tuple[Stored, ...]:
    """A few samples spread over the data, all of the same shapes."""
    count = min(GOLDEN_SAMPLES, len(store))
    picked = [store[i * len(store) // count] for i in range(count)]
    shapes = [array.shape for array in picked[0].feeds.values()]
    return tuple(sample for sample in picked if [array.shape for array in sample.feeds.values()] == shapes)
