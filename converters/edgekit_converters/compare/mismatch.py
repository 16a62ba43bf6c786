"""The mismatch doctor: when answers are far off, find out whether the inputs are prepared otherwise than in training.

Colour order, value range, order of axes, framing and filter are tried against the labels or against the original's
answers. A cause is named only when it is clearly one: on most samples the answer is better than with the current
reading (exact sign test, corrected for the number of readings tried), the gain is large, and each change that is named
is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.errors import EdgeKitError
from edgekit.metrics import Metric
from edgekit.parity import Parity, decision
from edgekit.tasks import Task
from edgekit.tasks.classification import probabilities
from edgekit_converters.compare.samples import spread
from edgekit_converters.compare.search import ERROR_KEPT, LOSS_KEPT, Diagnosis, Score, Search, is_poor
from edgekit_converters.compare.subject import BoundFile, Subject
from edgekit_converters.data import open_dataset
from edgekit_converters.progress import Stages
from edgekit_converters.store import SampleStore, Stored

SAMPLES = 64
_LEAST = 1e-9  # share of a class that a saturated softmax gives as 0
_TEMPERATURES = tuple(np.geomspace(0.1, 10.0, 21))
_FAR = 0.5

Run = Callable[[Feeds], Mapping[str, Array]]


def is_far_off(subject: Subject, outputs: Parity) -> bool:
    """Whether the answers are so far off that a mismatch of the inputs is likely: the artifact's or the original's."""
    return _is_picture(subject.task) and (_artifact_is_far(outputs) or is_poor(outputs.reference_metric))


def _artifact_is_far(outputs: Parity) -> bool:
    return outputs.worst.relative_l2 > _FAR


def diagnose(subject: Subject, outputs: Parity, stages: Stages, *, all_of_it: bool) -> tuple[Diagnosis, ...]:
    """Look for a mismatch of the inputs of the original, by labels, and of the artifact, by the original's answers.

    Args:
        subject: What is compared.
        outputs: How the artifact answers.
        stages: Progress.
        all_of_it: Examine both; otherwise only what is far off.
    """
    if not _is_picture(subject.task):
        stages.note("nothing to diagnose: the inputs are no pictures")
        return ()
    found = []
    labelled = any(label is not None for label in subject.samples.truths())
    if labelled and subject.task.decides is not None and (all_of_it or is_poor(outputs.reference_metric)):
        found.append(_examine_original(subject, stages))
    if all_of_it or _artifact_is_far(outputs):
        with subject.artifact.opened(subject.task.spec) as engine:
            found.append(_examine_answers(subject, engine.run, stages))
    return tuple(found)


def _examine_original(subject: Subject, stages: Stages) -> Diagnosis:
    """The float artifact answers in the original's place where there is one: much faster, one sample at a time."""
    given = {"data": subject.data, "stages": stages}
    if subject.reference is None:
        assert subject.answer is not None  # noqa: S101  labels come with data, and data with something that answers
        return examine_labels(subject.title, subject.task, subject.samples, run=subject.answer, **given)
    with subject.reference.opened(subject.task.spec) as engine:
        return examine_labels(subject.title, subject.task, subject.samples, run=engine.run, **given)


def note_mismatch(
    file: BoundFile, task: Task, samples: SampleStore, accuracy: Metric | None, *, data: Any, stages: Stages
) -> None:
    """Tell the user of a mismatch where the accuracy is poor; takes no time where it is not.

    Args:
        file: A float artifact that answers as the model does.
        task: Of the conversion.
        samples: Evaluation data.
        accuracy: What the model gets right of them.
        data: What they were read from.
        stages: Gets the note.
    """
    if not is_poor(accuracy) or not _is_picture(task) or task.decides is None:
        return
    with file.opened(task.spec) as engine:
        found = examine_labels("the model", task, samples, data=data, run=engine.run, stages=stages, limit=SAMPLES // 2)
    if found.better is not None:
        stages.note(str(found))


def examine_labels(
    title: str, task: Task, samples: SampleStore, *, data: Any, run: Run, stages: Stages, limit: int = SAMPLES
) -> Diagnosis:
    """Find the reading with which a model gets the most labels right.

    Args:
        title: What the model is called.
        task: With a decision.
        samples: Encoded, some of them labelled.
        data: What they were read from: photos can be framed anew.
        run: The model, on the spec's inputs.
        stages: Progress.
        limit: Samples to try it on, evenly spread.
    """
    labelled = [place for place, label in enumerate(samples.truths()) if label is not None]
    stored = [samples[labelled[place]] for place in spread(len(labelled), limit)]
    search = Search(task, stored, lambda feeds: _against_labels(task, run, feeds, stored), stages, LOSS_KEPT)
    search.recolour()
    photos = _photos(task, data, [sample.name for sample in stored])
    if photos:
        search.reframe(photos)
    return search.diagnosis(title, "labels")


def _examine_answers(subject: Subject, run: Run, stages: Stages) -> Diagnosis:
    stored = [subject.samples[place] for place in spread(len(subject.samples), SAMPLES)]
    decides = subject.task.decides
    search = Search(
        subject.task, stored, lambda feeds: _against_answers(decides, run, feeds, stored), stages, ERROR_KEPT
    )
    search.recolour()
    return search.diagnosis(subject.artifact.path.name, "the original's answers")


def _against_labels(task: Task, run: Run, feeds: Sequence[Feeds], stored: Sequence[Stored]) -> Score:
    """Cross entropy of the labelled class at the best temperature.

    Other values make the same network more or less sure of itself, which alone says nothing of them: scores are
    compared after temperature scaling (Guo et al., 2017, arXiv:1706.04599).
    """
    assert task.decides is not None  # noqa: S101  examine_labels is for tasks that decide
    scores = [run(item)[task.decides] for item in feeds]
    labels = np.array([int(sample.truth or 0) for sample in stored[: len(feeds)]])
    shares = np.concatenate([probabilities(np.nan_to_num(row)) for row in scores])
    known = labels < shares.shape[1]
    picked = np.where(known, labels, 0)
    logs = np.log(np.maximum(shares, _LEAST))
    losses = [_cross_entropy(logs / temperature, picked) for temperature in _TEMPERATURES]
    loss = min(losses, key=lambda each: float(each.mean()))
    right = np.array([int(decision(row)[0]) for row in scores]) == labels
    return Score(np.where(known, loss, -np.log(_LEAST)), right)


def _cross_entropy(logits: Array, labels: Array) -> Array:
    top = logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: Array = sums - logits[np.arange(len(labels)), labels]
    return losses


def _against_answers(decides: str | None, run: Run, feeds: Sequence[Feeds], stored: Sequence[Stored]) -> Score:
    """Relative L2 of the outputs; right is what is decided alike, or close where nothing is decided."""
    loss, right = [], []
    for sample, item in zip(stored, feeds, strict=False):
        given = run(item)
        errors = [_distance(want, given[name]) for name, want in sample.outputs.items()]
        loss.append(max(errors))
        if decides is None:
            right.append(max(errors) < 0.1)
        else:
            right.append(bool(decision(given[decides])[0] == decision(sample.outputs[decides])[0]))
    return Score(np.array(loss), np.array(right))


def _distance(want: Array, given: Array) -> float:
    reference, values = want.astype(np.float64).ravel(), given.astype(np.float64).ravel()
    error: float = float(np.linalg.norm(values - reference)) / max(float(np.linalg.norm(reference)), 1e-12)
    return error if isfinite(error) else 1e9


def _is_picture(task: Task) -> bool:
    tensor = next((tensor for tensor in task.spec.inputs if tensor.layout is not None), None)
    if tensor is None or None in tensor.shape[1:]:
        return False
    return tensor.shape[3 if tensor.layout == "NHWC" else 1] == 3


def _photos(task: Task, data: Any, names: Sequence[str]) -> list[Any]:
    """The photos that samples were read from, in the samples' order; nothing where they are no photos."""
    if task.name != "image-classification" or data is None:
        return []
    try:
        found = {item.name: item.value for item in open_dataset(data, task.spec)}
    except EdgeKitError:
        return []
    return [found[name] for name in names] if all(name in found for name in names) else []
