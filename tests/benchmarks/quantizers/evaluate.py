"""Quality and speed of an artifact against the original and the float artifact; run as a child process.

python -m tests.benchmarks.quantizers.evaluate FOLDER ARTIFACT REPORT [--plain]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array, Engine, open_engine
from edgekit.parity import DecisionScorer, ParityMeter
from tests.benchmarks.quantizers.workspace import Samples, Workspace

ROUNDS = 80
ROUND_SECONDS = 30.0


def quality(engine: Engine, workspace: Workspace, form: str) -> dict[str, Any]:
    """Agreement, accuracy and relative L2 on the evaluation samples."""
    meter = ParityMeter(DecisionScorer("scores"))
    labels = [None if label < 0 else int(label) for label in workspace.labels()]
    for want, sample, label in zip(workspace.reference(), workspace.samples(form, "evaluation"), labels, strict=True):
        meter.update({"scores": want[None]}, {"scores": _scores(engine, sample)}, [label])
    return meter.result().to_dict()


def _scores(engine: Engine, sample: dict[str, Array]) -> Array:
    found = engine.run(_named(engine, sample))
    return np.concatenate([found[info.name].reshape(1, -1) for info in engine.outputs], axis=1)


def _named(engine: Engine, sample: dict[str, Array]) -> dict[str, Array]:
    """The sample under the artifact's own names: tools keep them or, with a single input, may give another."""
    names = [info.name for info in engine.inputs]
    if set(names) == set(sample):
        return sample
    assert len(names) == 1, f"inputs {names} for {sorted(sample)}"
    return dict(zip(names, sample.values(), strict=True))


def latency(artifact: Path, float_artifact: Path, samples: Samples, *, plain: bool) -> dict[str, float]:
    """Median milliseconds of both on one thread, taken in turns in this process, one warm-up round left out."""
    calls = {"int8": _caller(artifact, plain=plain), "fp32": _caller(float_artifact, plain=plain)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for sample in _again(samples):
        for name, call in calls.items():
            start = time.perf_counter()
            call(sample)
            seconds[name].append(time.perf_counter() - start)
        if len(seconds["int8"]) > ROUNDS or time.perf_counter() - begun > ROUND_SECONDS:
            break
    return {name: 1000 * statistics.median(times[1:] or times) for name, times in seconds.items()}


def _caller(path: Path, *, plain: bool) -> Callable[[dict[str, Array]], object]:
    """Open an artifact with edgekit's engine, or as ONNX Runtime opens it by default."""
    if plain and path.suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda sample: session.run(None, sample)
    engine = open_engine(path, threads=1)
    return lambda sample: engine.run(_named(engine, sample))


def _again(samples: Samples) -> Iterator[dict[str, Array]]:
    while True:
        yield from samples


def main() -> None:
    """Measure one artifact as `runner` asks for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--plain", action="store_true", help="time .onnx files as ONNX Runtime opens them by default")
    given = parser.parse_args()
    workspace, form = Workspace(given.folder), given.artifact.suffix[1:]
    with open_engine(given.artifact) as engine:
        parity = quality(engine, workspace, form)
    float_path, samples = workspace.float_path(form), workspace.samples(form)
    times = latency(given.artifact, float_path, samples, plain=given.plain)
    given.report.write_text(json.dumps({"parity": parity, "latency_ms": times, "bytes": given.artifact.stat().st_size}))


if __name__ == "__main__":
    main()
