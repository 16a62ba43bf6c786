"""The machine's state, read from recorded trees, and what it means for a measurement."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from edgekit_runtimes.bench.machine import State, judge, merged, read_state
from tests.runtimes.bench.conftest import TreeMaker

THROTTLED = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"


def test_a_raspberry_pi(tree: TreeMaker) -> None:
    state = read_state(tree())
    assert state.frequencies_mhz == (1500.0, 2400.0)
    assert state.limits_mhz == (2400.0, 2400.0)
    assert state.governors == ("ondemand",)
    assert state.temperatures_c == {"cpu-thermal": 61.35}
    assert (state.pi_throttled, state.load_average) == (0, 0.31)
    assert not state.cooling  # a fan cools, it does not slow the processors down
    hertz = os.sysconf("SC_CLK_TCK")
    assert state.busy_seconds == pytest.approx((4705 + 150 + 1120 + 40) / hertz)
    assert state.total_seconds == pytest.approx((4705 + 150 + 1120 + 1444000 + 350 + 40) / hertz)


def test_a_pi_without_the_drivers_file_is_asked_by_command(tree: TreeMaker) -> None:
    root = tree({THROTTLED: None, "usr/bin/vcgencmd": "#!/bin/sh\necho throttled=0x50005\n"})
    (root / "usr/bin/vcgencmd").chmod(0o755)
    assert read_state(root).pi_throttled == 0x50005


def test_an_empty_tree_says_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path) == State()
    assert judge([State(), State()], 1.0) == judge([State()], 0.0)


def test_zones_that_cannot_be_read_and_zones_of_one_name(tree: TreeMaker) -> None:
    root = tree(
        {
            "sys/class/thermal/thermal_zone1/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone1/temp": "50000",
            "sys/class/thermal/thermal_zone2/type": "iwlwifi_1",
            "sys/class/thermal/thermal_zone3/type": "gpu-thermal",
            "sys/class/thermal/thermal_zone3/temp": "no data",
        }
    )
    assert read_state(root).temperatures_c == {"cpu-thermal": 61.35, "cpu-thermal 1": 50.0}


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        ((0, 0x1, 0), "under-voltage (get_throttled bit 0)"),
        ((0, 0x4, 0), "throttled (get_throttled bit 2)"),
        ((0, 0, 0x40000), "throttled (get_throttled bit 2)"),  # between two looks
        ((0x8, 0, 0), "soft temperature limit (get_throttled bit 3)"),
    ],
)
def test_a_throttled_pi_makes_the_run_invalid(bits: tuple[int, ...], reason: str) -> None:
    assert judge([State(pi_throttled=value) for value in bits], 1.0).invalid == (reason,)


def test_what_happened_before_the_run_is_a_warning() -> None:
    verdict = judge([State(pi_throttled=0x50000)] * 3, 1.0)
    assert verdict.invalid == ()
    assert "under-voltage, throttled since it was started" in verdict.warnings[0]


def test_a_cooling_device_that_slows_processors_makes_the_run_invalid(tree: TreeMaker) -> None:
    cool = {
        "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0",
        "sys/class/thermal/cooling_device1/cur_state": "0",
    }
    states = [
        read_state(tree(cool, name="before")),
        read_state(tree({**cool, "sys/class/thermal/cooling_device1/cur_state": "2"}, name="during")),
        read_state(tree(cool, name="after")),
    ]
    assert judge(states, 1.0).invalid == ("cooling device cpufreq-cpu0 1 held the clock down (state 2)",)
    assert judge([states[0], states[2]], 1.0).invalid == ()


def test_throttling_events_of_x86_are_counted(tree: TreeMaker) -> None:
    name = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    before = read_state(tree({name.format(0): "4", name.format(1): "1"}, name="before", of_pi=False))
    after = read_state(tree({name.format(0): "6", name.format(1): "1"}, name="after", of_pi=False))
    assert judge([before, after], 1.0).invalid == ("2 thermal throttling events",)
    assert judge([before, before], 1.0).invalid == ()


def test_a_governor_that_saves_power_is_a_warning(tree: TreeMaker) -> None:
    state = read_state(tree())
    assert "the CPU frequency governor is ondemand" in judge([state, state], 1.0).warnings[0]
    fast = dataclasses.replace(state, governors=("performance",))
    assert judge([fast, fast], 1.0).warnings == ()


def test_the_share_of_other_processes() -> None:
    before, after = State(busy_seconds=100, total_seconds=1000), State(busy_seconds=106, total_seconds=1020)
    verdict = judge([before, after], own_seconds=2)
    assert verdict.others_share == pytest.approx(0.2)
    assert verdict.busy is not None
    assert "20% of the processors" in verdict.busy
    assert judge([before, after], own_seconds=5).busy is None
    assert judge([before, before], own_seconds=5).others_share is None


def test_verdicts_together_keep_the_worst() -> None:
    quiet = judge([State(busy_seconds=0, total_seconds=0), State(busy_seconds=1, total_seconds=10)], 1)
    busy = judge(
        [
            State(busy_seconds=0, total_seconds=0, pi_throttled=4),
            State(busy_seconds=9, total_seconds=10, pi_throttled=4),
        ],
        1,
    )
    assert merged([quiet, busy, quiet]).others_share == pytest.approx(0.8)
    assert merged([quiet, busy]).invalid == busy.invalid != ()
