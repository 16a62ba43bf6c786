"""Recorded machines: trees of the files that the kernel shows below /proc and /sys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

TreeMaker = Callable[..., Path]

PI = {
    "proc/loadavg": "0.31 0.24 0.20 1/212 3051\n",
    "proc/stat": "cpu  4705 150 1120 1444000 350 0 40 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2400000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61350\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
}
"""A Raspberry Pi 5 with its fan on."""


@pytest.fixture
def tree(tmp_path: Path) -> TreeMaker:
    """Write a tree of files: a Raspberry Pi 5 with some of them changed; ``None`` leaves one out."""

    def make(changed: Mapping[str, str | None] | None = None, *, name: str = "pi", of_pi: bool = True) -> Path:
        root = tmp_path / name
        for path, text in {**(PI if of_pi else {}), **(changed or {})}.items():
            if text is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="ascii")
        return root

    return make
