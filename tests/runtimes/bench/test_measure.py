"""How long is measured: warm-up and timed runs, on a clock that the runs themselves move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from edgekit_runtimes.bench import measure
from edgekit_runtimes.bench.job import Effort, Target

Timer = Callable[[Iterable[float], Effort], "tuple[float, bool, list[float]]"]


@pytest.fixture
def time_runs(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Measure runs that take the seconds given."""

    def timed(durations: Iterable[float], effort: Effort) -> tuple[float, bool, list[float]]:
        now, left = [0.0], iter(durations)
        monkeypatch.setattr(measure, "perf_counter", lambda: now[0])

        def run() -> None:
            now[0] += next(left)

        return measure._time_runs(run, effort)

    return timed


def falling(steps: int) -> Iterator[float]:
    """A latency that falls by a tenth in each run and then stays."""
    for step in range(steps):
        yield 0.9**step
    while True:
        yield 0.9**steps


def test_the_first_run_is_apart_and_the_warm_up_lasts_until_runs_are_even(time_runs: Timer) -> None:
    first, steady, samples = time_runs(falling(20), Effort(runs=5, seconds=0, warmup=1))
    assert first == 1
    assert steady
    assert samples == pytest.approx([0.9**20] * 5)


def test_a_warm_up_ends_even_if_it_never_gets_steady(time_runs: Timer) -> None:
    durations = (0.001 * 1.2**step for step in range(100))
    _, steady, samples = time_runs(durations, Effort(runs=3, seconds=0, warmup=1))
    assert not steady
    assert len(samples) == 3
    # Geometric: the warm-up ended with the run that reached the limit.
    assert samples[0] == pytest.approx(0.2 * measure.WARMUP_LIMIT, rel=0.25)


@pytest.mark.parametrize(("runs", "seconds", "count"), [(7, 0.0, 7), (1, 2.0, 16), (30, 2.0, 30)])
def test_both_the_runs_and_the_seconds_asked_for_are_done(
    time_runs: Timer, runs: int, seconds: float, count: int
) -> None:
    durations = iter(lambda: 0.125, None)
    _, _, samples = time_runs(durations, Effort(runs, seconds, warmup=4))
    assert len(samples) == count


def test_a_warm_up_takes_the_runs_and_the_time_that_it_must(time_runs: Timer) -> None:
    durations = [0.5] + [0.0001] * 10_000
    used = iter(durations)
    time_runs(used, Effort(runs=1, seconds=0, warmup=3))
    assert len(durations) - len(list(used)) == pytest.approx(1 + measure.WARMUP_SECONDS / 0.0001 + 1, abs=2)


class Recorder:
    """An engine that notes when it is opened and called."""

    name, version, inputs = "recorder", "1", ()

    def __init__(self, path: Path, log: list[str]) -> None:
        self._name, self._log = path.stem, log
        log.append(f"open {path.stem}")

    def run(self, feeds: object) -> None:
        self._log.append(self._name)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def interleaved(monkeypatch: pytest.MonkeyPatch, seed: int) -> list[str]:
    log: list[str] = []
    monkeypatch.setattr(measure, "open_engine", lambda path, *_, **__: Recorder(path, log))
    monkeypatch.setattr(measure, "WARMUP_SECONDS", 0.0)
    monkeypatch.setattr(measure, "WARMUP_LIMIT", 0.0)
    found = measure.interleave(Target(Path("a.onnx")), Target(Path("b.onnx")), 1, Effort(20, 0, 3), seed)
    assert len(found["a"]) == len(found["b"]) == 20
    return log


def test_two_artifacts_are_called_in_turn_in_random_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = interleaved(monkeypatch, 0)[2:]
    pairs = ["".join(pair) for pair in zip(calls[::2], calls[1::2], strict=True)]
    assert set(pairs) == {"ab", "ba"}
    assert len(pairs) == 1 + 3 + 20  # the first, the warm-up, the timed ones
    assert {interleaved(monkeypatch, seed)[0] for seed in range(10)} == {"open a", "open b"}
