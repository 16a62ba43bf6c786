"""Load and run an artifact in a child process and compare it with the original."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit.binding import Binding, BoundEngine
from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.isolate import EngineProcess
from edgekit.parity import DecisionScorer, Parity, ParityMeter, Scorer
from edgekit.spec import Layout, Spec
from edgekit.tasks import Task
from edgekit_converters.prepare import Prepared
from edgekit_converters.progress import Stages
from edgekit_converters.store import Stored, by_input, stack
from edgekit_converters.targets import Exported

_LATENCY_RUNS = 15
SLOWER = "slower than fp32"
_CLEARLY_FASTER, _AS_FAST = 0.8, 0.95
_TURNS, _TURN = 7, 5


@dataclass(frozen=True)
class Measurement:
    """What running an artifact showed.

    Attributes:
        inputs: Bindings of the spec's inputs.
        outputs: Bindings of the spec's outputs.
        parity: On the evaluation data.
        golden: On the golden samples.
        latency_ms: Median milliseconds for one sample.
    """

    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    parity: Parity
    golden: Parity
    latency_ms: float


def measure(
    path: Path,
    task: Task,
    *,
    exported: Exported,
    data: Prepared,
    stages: Stages,
    title: str,
) -> Measurement:
    """Run an artifact on the evaluation data.

    Args:
        path: The artifact.
        task: For the spec and the output that decides.
        exported: Artifact tensor names and layouts in the spec's order.
        data: Evaluation data with the original's outputs.
        stages: Progress.
        title: Of the stage.

    Raises:
        ModelRefused: The artifact cannot be loaded, or crashed the runtime.
    """
    with EngineProcess(path) as engine:
        inputs, outputs = bindings(task.spec, exported, engine.inputs, engine.outputs)
        runner = BoundEngine(engine, task.spec, inputs, outputs)
        meter, golden = ParityMeter(task.scorer()), ParityMeter(golden_scorer(task))
        with stages.stage(title, len(data.evaluation)):
            meter_samples(meter, stages.each(data.evaluation), runner)
        for sample in data.golden:
            golden.update(sample.outputs, runner.run(sample.feeds))
        seconds = engine.latency(runner.adapt(data.golden[0].feeds), _LATENCY_RUNS)
    return Measurement(inputs, outputs, meter.result(), golden.result(), 1000 * statistics.median(seconds))


class Runner(Protocol):
    """Something that answers one sample."""

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        """Spec input name -> array to spec output name -> array, batch of 1."""


def meter_samples(meter: ParityMeter, samples: Iterable[Stored], runner: Runner) -> None:
    """Run samples one by one, as artifacts with a fixed batch need it, and meter each input with all its windows.

    Args:
        meter: Of the task's scorer.
        samples: With the original's outputs.
        runner: The artifact, or another model.
    """
    for group in by_input(samples):
        reference = stack(sample.outputs for sample in group)
        candidate = stack(runner.run(sample.feeds) for sample in group)
        meter.update(reference, candidate, [group[0].truth], [group[0].context])


def golden_scorer(task: Task) -> Scorer | None:
    """What the golden samples can be scored by: they are kept without what the task knew of their inputs."""
    return None if task.decides is None else DecisionScorer(task.decides)


def slower_than(
    one: tuple[Path, Measurement], other: tuple[Path, Measurement], *, task: Task, sample: Stored
) -> tuple[str, ...]:
    """A note where an artifact is slower than its float artifact on this machine.

    Where the latencies measured one after the other leave it open, both files run in turns.

    Args:
        one: The artifact and its measurement.
        other: The float artifact and its.
        task: For the spec.
        sample: Input of the runs.
    """
    if one[1].latency_ms < _CLEARLY_FASTER * other[1].latency_ms:
        return ()
    with EngineProcess(one[0]) as first, EngineProcess(other[0]) as second:
        engines = [
            (engine, BoundEngine(engine, task.spec, found.inputs, found.outputs).adapt(sample.feeds))
            for engine, (_, found) in ((first, one), (second, other))
        ]
        rounds = [[statistics.median(engine.latency(feeds, _TURN)) for engine, feeds in engines] for _ in range(_TURNS)]
    ratio = statistics.median(theirs / mine for mine, theirs in rounds)
    if ratio >= _AS_FAST:
        return ()
    return (f"{SLOWER}: {ratio:.2f} of its speed on this machine; other processors differ",)


def bindings(
    spec: Spec,
    exported: Exported,
    inputs: tuple[TensorInfo, ...],
    outputs: tuple[TensorInfo, ...],
) -> tuple[tuple[Binding, ...], tuple[Binding, ...]]:
    """Bind the spec's tensors to the artifact's, in the spec's order."""
    known = {info.name: info for info in (*inputs, *outputs)}

    def one(name: str, tensor: str, layout: Layout | None) -> Binding:
        return Binding(name, tensor, known[tensor].shape, known[tensor].dtype, layout)

    taken = zip(spec.inputs, exported.inputs, exported.layouts, strict=True)
    given = zip(spec.outputs, exported.outputs, strict=True)
    return (
        tuple(one(tensor.name, name, layout) for tensor, name, layout in taken),
        tuple(one(tensor.name, name, tensor.layout) for tensor, name in given),
    )
