"""The measuring itself, in a process that does nothing else."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from edgekit.binding import BoundEngine, adapt_feeds
from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Array, Engine, open_engine
from edgekit.errors import DataRefused
from edgekit.worker import peak_rss
from edgekit_runtimes.bench.feeds import random_feeds
from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.stats import is_steady
from edgekit_runtimes.proof import prove

WARMUP_SECONDS = 0.2
"""Least time of the warm-up: clocks rise and caches fill in about that time."""

WARMUP_LIMIT = 10.0
"""Longest time of a warm-up, in seconds; what is not steady then is measured, and said to be unsteady."""


@dataclass(frozen=True)
class Opened:
    """An artifact ready to be measured.

    Attributes:
        engine: The open engine.
        feeds: Artifact input name -> array.
        origin: Where the feeds came from, for people.
    """

    engine: Engine
    feeds: dict[str, Array]
    origin: str


def measure_engine(target: Target, threads: int | None, effort: Effort, item: str | None = None) -> dict[str, Any]:
    """Measure load, first and steady latency and memory of one artifact; the process must be fresh.

    Args:
        target: The artifact.
        threads: Threads of the engine; ``None`` lets it choose.
        effort: How long.
        item: A real input as on the command line; by default a golden sample, or random numbers for a bare file.

    Returns:
        Times in seconds, memory in bytes, ready for JSON.
    """
    before = resident()
    start = perf_counter()
    with open_engine(target.path, target.engine, threads=threads) as engine:
        load = perf_counter() - start
        loaded = resident()
        opened = _with_feeds(target, engine, item)
        first, steady, samples = _time_runs(lambda: engine.run(opened.feeds), effort)
        about = {"engine": engine.name, "version": engine.version, "inputs": opened.origin}
        _prove(target, engine)
        memory = {"rss_before": before, "rss_loaded": loaded, "rss_peak": peak_rss()}
    start = perf_counter()
    with open_engine(target.path, target.engine, threads=threads):
        again = perf_counter() - start
    times = {"load": load, "load_again": again, "first": first, "steady": steady, "samples": samples}
    return {**about, **memory, **times}


def measure_pipeline(target: Target, threads: int | None, effort: Effort, item: str) -> dict[str, Any]:
    """Measure reading and encoding, inference and decoding of a real input, apart and together.

    Args:
        target: An artifact of a bundle.
        threads: Threads of the engine.
        effort: How long.
        item: A real input as on the command line; a folder or a file of sentences is gone through in turn.

    Returns:
        Times in seconds of each part and of the whole, run by run, ready for JSON.
    """
    from edgekit.tasks import context_of, task_for

    bundle, artifact = _artifact_of(target)
    task = task_for(bundle.spec, bundle.path)
    loads = itertools.cycle(_loads(bundle, item))
    parts: dict[str, list[float]] = {"encode": [], "inference": [], "decode": [], "whole": []}
    with open_engine(target.path, target.engine, threads=threads) as engine:
        runner = BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs)

        def once() -> None:
            load = next(loads)
            start = perf_counter()
            feeds = task.encode(load())
            encoded = perf_counter()
            outputs = runner.run(feeds)
            inferred = perf_counter()
            task.decode(outputs, [context_of(feeds)])
            end = perf_counter()
            for name, seconds in zip(
                parts, (encoded - start, inferred - encoded, end - inferred, end - start), strict=True
            ):
                parts[name].append(seconds)

        _, steady, samples = _time_runs(once, effort)
        _prove(target, engine)
    return {"steady": steady, **{name: times[-len(samples) :] for name, times in parts.items()}}


def interleave(a: Target, b: Target, threads: int | None, effort: Effort, seed: int = 0) -> dict[str, Any]:
    """Measure two artifacts in turn, in one process: opened in random order, each pair in random order.

    Args:
        a: One artifact.
        b: The other.
        threads: Threads of both engines; ``None`` lets them choose.
        effort: How long; a run is a pair.
        seed: Of the order.

    Returns:
        Times in seconds of A and B, pair by pair, ready for JSON.
    """
    order = random.Random(seed)  # noqa: S311  # no secret
    times: dict[str, list[float]] = {"a": [], "b": []}
    with ExitStack() as stack:
        opened: dict[str, Opened] = {}
        for name, target in order.sample([("a", a), ("b", b)], 2):
            engine = stack.enter_context(open_engine(target.path, target.engine, threads=threads))
            opened[name] = _with_feeds(target, engine, None)
            _prove(target, engine)

        def pair() -> None:
            for name in order.sample(("a", "b"), 2):
                start = perf_counter()
                opened[name].engine.run(opened[name].feeds)
                times[name].append(perf_counter() - start)

        _, steady, samples = _time_runs(pair, effort)
        about = [{"engine": opened[name].engine.name, "version": opened[name].engine.version} for name in times]
    return {"about": about, "steady": steady, **{name: found[-len(samples) :] for name, found in times.items()}}


def feeds_for(target: Target, threads: int | None) -> dict[str, Array]:
    """Return feeds of an artifact without keeping its engine open."""
    with open_engine(target.path, target.engine, threads=threads) as engine:
        return _with_feeds(target, engine, None).feeds


def resident() -> int | None:
    """Resident memory of this process now, in bytes; ``None`` where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))
    except (OSError, StopIteration, ValueError):
        return None


def _time_runs(run: Callable[[], object], effort: Effort) -> tuple[float, bool, list[float]]:
    """Run once, warm up, then measure. Returns the first time, whether the warm-up ended steady, and the times."""
    clock = _timed(run)
    first = next(clock)
    warm: list[float] = []
    start = perf_counter()
    while True:
        warm.append(next(clock))
        elapsed, steady = perf_counter() - start, is_steady(warm)
        if len(warm) >= effort.warmup and elapsed >= WARMUP_SECONDS and (steady or elapsed >= WARMUP_LIMIT):
            break
    samples: list[float] = []
    start = perf_counter()
    while len(samples) < effort.runs or perf_counter() - start < effort.seconds:
        samples.append(next(clock))
    return first, steady, samples


def _timed(run: Callable[[], object]) -> Iterator[float]:
    while True:
        start = perf_counter()
        run()
        yield perf_counter() - start


def _with_feeds(target: Target, engine: Engine, item: str | None) -> Opened:
    if target.bundle is None:
        return Opened(engine, random_feeds(engine.inputs), "random numbers")
    bundle, artifact = _artifact_of(target)
    if item is None:
        golden, _ = bundle.golden()
        batch = next((binding.shape[0] for binding in artifact.inputs if binding.shape), None) or 1
        one = {name: array.take(range(batch), axis=0, mode="wrap") for name, array in golden.items()}
        return Opened(engine, adapt_feeds(one, bundle.spec, artifact.inputs), "a golden sample")
    from edgekit.tasks import task_for

    encoded = task_for(bundle.spec, bundle.path).encode(_loads(bundle, item)[0]())
    window = {name: array[:1] for name, array in encoded.items()}
    return Opened(engine, adapt_feeds(window, bundle.spec, artifact.inputs), item)


def _prove(target: Target, engine: Engine) -> None:
    """Try an engine that was built on this machine on the golden samples; times of a wrong one are none."""
    if target.bundle is not None:
        prove(*_artifact_of(target), engine)


def _artifact_of(target: Target) -> tuple[Bundle, Artifact]:
    if target.bundle is None:
        raise DataRefused(
            f"a real input for the bare file {target.path}",
            expected="a bundle, which says how inputs are prepared",
            remedy="leave INPUT out, or give the bundle that the file belongs to",
        )
    bundle = Bundle(target.bundle, check=False)
    return bundle, next(artifact for artifact in bundle.artifacts if artifact.file == target.name)


def _loads(bundle: Bundle, item: str) -> list[Callable[[], Any]]:
    """What gives the inputs that a word stands for. Raises DataRefused when there are none."""
    from edgekit_runtimes.inputs.items import items_for

    loads = [found.load for found in items_for(bundle.spec, [item])]
    if not loads:
        raise DataRefused(f"{item} holds no inputs", expected="at least one")
    return loads
