"""Tables and lines for people, from what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.bench.machine import State, Verdict
from edgekit_runtimes.bench.measurement import Measurement, Memory
from edgekit_runtimes.bench.operators import Node, Profile
from edgekit_runtimes.bench.report import (
    latency_table,
    machine_line,
    operators_line,
    operators_table,
)
from edgekit_runtimes.bench.stats import summarize

ONE = Measurement(
    target=Target(Path("model.int8.tflite")),
    engine="litert",
    version="2.3.0",
    threads=2,
    inputs="random numbers",
    load_ms=17.25,
    load_again_ms=1.5,
    first_ms=4.5,
    latency=summarize([0.001, 0.002, 0.003]),
    samples=(0.001, 0.002, 0.003),
    steady=True,
    memory=Memory(30_000_000, 44_000_000, 52_000_000),
    parts={},
    profile=None,
    states=(State(), State()),
    machine=Verdict(),
)


def drawn(table: Table, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def test_a_wide_table_has_everything() -> None:
    heading, row = drawn(latency_table([ONE], 200), 200)
    assert dict(zip(heading.split("  "), row.split("  "), strict=False))["artifact"] == "model.int8.tflite"
    assert row.split() == [
        *("model.int8.tflite", "litert", "2.3.0", "2", "17.2", "4.5", "2", "2.8", "2.98", "2", "1", "3", "500.0"),
        *("52.0", "14.0", "valid"),
    ]


def test_a_narrow_table_never_breaks_a_number() -> None:
    lines = drawn(latency_table([ONE], 80), 80)
    assert lines[-1].split() == ["model.int8.tflite", "2", "17.2", "2", "2.8", "2.98", "500.0", "52.0", "valid"]
    assert max(map(len, lines)) <= 80


def test_an_invalid_row_says_so() -> None:
    hot = dataclasses.replace(ONE, machine=Verdict(invalid=("throttled",)))
    assert drawn(latency_table([hot], 200), 200)[1].rstrip().endswith("INVALID")


def test_operators_that_are_few_are_put_together() -> None:
    nodes = tuple(Node(f"n{number}", f"Kind{number}", 1.0 / (number + 1)) for number in range(14))
    lines = drawn(operators_table(Profile("a profiler", 5, 4.0, nodes)), 120)
    assert lines[1].split() == ["Kind0", "1", "1", "30.8%", "n0:", "1", "ms"]
    assert lines[-1].split() == ["the", "others", "2", "0.148", "4.6%"]


@pytest.mark.parametrize(("milliseconds", "explained"), [(1.9, False), (0.5, True)])
def test_what_operators_leave_open_is_explained(milliseconds: float, explained: bool) -> None:
    profile = Profile("a profiler", 5, 2.5, (Node("n", "Conv", milliseconds),))
    line = operators_line(ONE, profile)
    assert f"{milliseconds} ms in a run of 2.5 ms, 2 ms without the profiler" in line
    assert ("too short" in line) == explained


def test_the_machine_in_a_line() -> None:
    cool = State((600.0, 600.0), (2400.0,), ("ondemand",), {"cpu": 50.2, "gpu": 40.0}, 0, load_average=0.1)
    hot = dataclasses.replace(cool, frequencies_mhz=(2400.0,), temperatures_c={"cpu": 71.8, "gpu": 41.0})
    assert machine_line([cool, hot, dataclasses.replace(cool, pi_throttled=4)], 0.03) == (
        "machine: clock 600 to 2400 MHz; governor ondemand; cpu 50 °C before, 72 °C at most; "
        "get_throttled 0x0 to 0x4; load average 0.10; others used 3% of the processors"
    )
    assert machine_line([State(), State()], None) == "machine: clock, governor, temperature not readable here"
