"""Peaks are measured once, kept where the machine was quiet, and never taken from a damaged file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.machine import State, Verdict
from edgekit_runtimes.bench.process import Answer, run_job
from edgekit_runtimes.bench.roofline import peak as module
from edgekit_runtimes.bench.roofline.bandwidth import Level
from edgekit_runtimes.bench.roofline.peak import MachinePeak, machine_peak, together
from tests.runtimes.bench.conftest import TreeMaker

TARGET = Target(Path("model.onnx"))
LEVELS = [{"name": "memory", "below": 1 << 20, "gbytes_per_s": 4.0}]


class Jobs:
    """Answers in place of measuring processes."""

    def __init__(self) -> None:
        self.rates = [10.0, 20.0, 15.0, 5.0]
        self.machine = Verdict(others_share=0.0)
        self.done = 0

    def __call__(self, kind: str, target: Target, **settings: Any) -> Answer:
        assert (kind, target) == ("peak", TARGET)
        self.done += 1
        result = {"gmacs_per_s": {"fp32": self.rates.pop(0)}, "levels": LEVELS}
        return Answer(result, (State(), State()), self.machine)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Jobs:
    made = Jobs()
    monkeypatch.setattr(module, "run_job", made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def rate(root: Path, *, version: str = "1.0", threads: int = 4, afresh: bool = False) -> float:
    return machine_peak(TARGET, "onnxruntime", version, threads, root=root, afresh=afresh).gmacs_per_s["fp32"]


def test_they_are_measured_once(jobs: Jobs, tree: TreeMaker) -> None:
    root = tree()
    assert [rate(root), rate(root)] == [10.0, 10.0]
    assert jobs.done == 1


def test_what_they_depend_on_makes_others(jobs: Jobs, tree: TreeMaker) -> None:
    slower = tree({"sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "600000\n"}, name="slow")
    root = tree()
    rates = [rate(root), rate(root, version="1.1"), rate(root, threads=1), rate(slower), rate(root)]
    assert rates == [10.0, 20.0, 15.0, 5.0, 10.0]


@pytest.mark.parametrize("machine", [Verdict(others_share=0.5), Verdict(invalid=("throttled",))])
def test_a_busy_or_throttled_machine_is_measured_again(jobs: Jobs, tree: TreeMaker, machine: Verdict) -> None:
    jobs.machine = machine
    root = tree()
    assert [rate(root), rate(root)] == [10.0, 20.0]


def test_measured_afresh_the_better_rate_is_kept(jobs: Jobs, tree: TreeMaker) -> None:
    root = tree()
    rates = [rate(root), rate(root, afresh=True), rate(root, afresh=True), rate(root)]
    assert rates == [10.0, 20.0, 20.0, 20.0]
    assert jobs.done == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"engine": "x"}', '{"gmacs_per_s": 3, "levels": []}'])
def test_a_damaged_file_is_written_anew(jobs: Jobs, tree: TreeMaker, tmp_path: Path, damage: str) -> None:
    root = tree()
    rate(root)
    (kept,) = (tmp_path / "cache" / "edgekit" / "peaks").iterdir()
    kept.write_text(damage)
    assert [rate(root), rate(root)] == [20.0, 20.0]


def test_without_a_place_for_it_they_are_measured_each_time(
    jobs: Jobs, tree: TreeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [rate(tree()), rate(tree(name="again"))] == [10.0, 20.0]


def test_the_better_of_two() -> None:
    one = MachinePeak("e", "1", 1, {"fp32": 10.0, "int8": 30.0}, (Level("memory", 9, 4.0),))
    other = MachinePeak("e", "1", 1, {"fp32": 12.0}, (Level("memory", 9, 3.0),))
    assert one.or_better(other) == MachinePeak("e", "1", 1, {"fp32": 12.0, "int8": 30.0}, (Level("memory", 9, 4.0),))
    assert together([other, one]) == {"gmacs_per_s": {"fp32": 12.0, "int8": 30.0}, "gbytes_per_s": 4.0}
    assert together([MachinePeak("e", "1", 1, {"fp32": 1.0}, ())]) == {"gmacs_per_s": {"fp32": 1.0}}


def test_a_real_process_measures_this_machine(tree: TreeMaker) -> None:
    caches = {
        f"sys/devices/system/cpu/cpu0/cache/index{number}/{name}": text
        for number, size in ((0, "32K"), (1, "512K"))
        for name, text in {"type": "Unified", "size": size, "level": str(number + 1), "shared_cpu_list": "0"}.items()
    }
    answer = run_job("peak", TARGET, threads=1, effort=Effort(), root=tree(caches))
    found = MachinePeak.from_dict({**answer.result, "engine": "onnxruntime", "version": "1", "threads": 1})
    assert set(found.gmacs_per_s) == {"fp32", "int8"}
    assert min(found.gmacs_per_s.values()) > 0
    assert [(level.name, level.below) for level in found.levels] == [("L2", 32 << 10), ("memory", 512 << 10)]
    assert found.levels[0].gbytes_per_s >= found.levels[1].gbytes_per_s > 0
