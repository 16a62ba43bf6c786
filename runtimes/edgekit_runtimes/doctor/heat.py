"""Temperature, throttling and the clock's governor: what makes a machine slower than it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit_runtimes.doctor.board import JETSON, Board
from edgekit_runtimes.doctor.host import Host, Problem

HOT_CELSIUS = 80.0
"""A Raspberry Pi lowers its clock from 80 degrees on."""

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = "under-voltage", "clock capped", "throttled", "soft temperature limit"
_BITS = (UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT)
_SINCE_BOOT = 16
_DRIVERS_THAT_DECIDE = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
"""With these, the governor ``powersave`` is the usual one and the hardware raises the clock."""


@dataclass(frozen=True)
class Throttling:
    """What a Raspberry Pi's ``vcgencmd get_throttled`` says.

    Attributes:
        bits: The number itself.
        now: What is the case now.
        occurred: What has been the case since the board was started.
    """

    bits: int
    now: tuple[str, ...]
    occurred: tuple[str, ...]


@dataclass(frozen=True)
class Heat:
    """Temperature and clock.

    Attributes:
        celsius: Sensor -> degrees.
        throttling: Of a Raspberry Pi; ``None`` elsewhere.
        throttle_count: How often an x86 core was throttled since the start; ``None`` elsewhere.
        governor: Governors of the cores; empty where the clock cannot be set.
        driver: The one that sets the clock.
        power_mode: Of a Jetson (``nvpmodel -q``); ``None`` elsewhere.
    """

    celsius: dict[str, float]
    throttling: Throttling | None
    throttle_count: int | None
    governor: tuple[str, ...]
    driver: str | None
    power_mode: str | None


def read_heat(host: Host, board: Board) -> Heat:
    """Read sensors, throttling and governors."""
    governors = [host.text(name) for name in host.names("/sys/devices/system/cpu", "cpu*/cpufreq/scaling_governor")]
    counts = host.names("/sys/devices/system/cpu", "cpu*/thermal_throttle/core_throttle_count")
    return Heat(
        celsius=_temperatures(host),
        throttling=_throttling(host),
        throttle_count=sum(host.number(name) or 0 for name in counts) if counts else None,
        governor=tuple(sorted({governor for governor in governors if governor})),
        driver=host.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"),
        power_mode=_power_mode(host) if board.kind == JETSON else None,
    )


def decode_throttled(bits: int) -> Throttling:
    """Decode the number of ``vcgencmd get_throttled``: bits 0 to 3 are the present, 16 to 19 the past."""
    now = tuple(name for at, name in enumerate(_BITS) if bits >> at & 1)
    occurred = tuple(name for at, name in enumerate(_BITS, _SINCE_BOOT) if bits >> at & 1)
    return Throttling(bits, now, occurred)


def heat_problems(heat: Heat, board: Board) -> list[Problem]:
    """Name what slows this machine down."""
    problems = _throttling_problems(heat.throttling) if heat.throttling else []
    hottest = max(heat.celsius, key=lambda sensor: heat.celsius[sensor], default=None)
    if hottest is not None and heat.celsius[hottest] >= HOT_CELSIUS:
        problems.append(
            Problem(
                "warning",
                f"sensor {hottest} is at {heat.celsius[hottest]:.0f} °C",
                "the clock is lowered, or will be soon; what is measured now is not what the machine can do",
                "give it a heat sink and a fan, or stop other programs: ps aux --sort=-pcpu | head",
            )
        )
    if heat.throttle_count:
        problems.append(
            Problem(
                "hint",
                f"cores were throttled {heat.throttle_count} times since the start",
                "the machine has been too hot for its clock",
                "clean its fan, and let it cool before measuring",
            )
        )
    return problems + _governor_problems(heat, board)


def _throttling_problems(throttling: Throttling) -> list[Problem]:
    problems = []
    if UNDER_VOLTAGE in throttling.now + throttling.occurred:
        now = UNDER_VOLTAGE in throttling.now
        problems.append(
            Problem(
                "warning",
                f"the supply voltage {'is' if now else 'has been'} too low",
                "the board lowers its clock and may lose its camera, its disk or its files",
                "use the board's own power supply (5.1 V, 3 A for a Pi 4, 5 A for a Pi 5) and a short, thick cable",
            )
        )
    slow = [name for name in (CAPPED, THROTTLED, SOFT_LIMIT) if name in throttling.now]
    been = [name for name in (CAPPED, THROTTLED, SOFT_LIMIT) if name in throttling.occurred and name not in slow]
    if slow or been:
        listed = [f"{', '.join(slow)} now"] if slow else []
        listed += [f"{', '.join(been)} since the start"] if been else []
        problems.append(
            Problem(
                "warning" if slow else "hint",
                f"the board slows itself down: {'; '.join(listed)}",
                "what is measured now is not what the board can do" if slow else "earlier measurements may be too slow",
                "give it a heat sink and a fan; check with vcgencmd measure_temp",
            )
        )
    return problems


def _governor_problems(heat: Heat, board: Board) -> list[Problem]:
    others = [name for name in heat.governor if name != "performance"]
    if not others or (heat.driver or "").startswith(_DRIVERS_THAT_DECIDE):
        return []
    lowest = "powersave" in others
    mend = (
        "sudo jetson_clocks"
        if board.kind == JETSON
        else "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        " (or sudo cpupower frequency-set -g performance)"
    )
    return [
        Problem(
            "warning" if lowest else "hint",
            f"the CPU governor is {', '.join(others)}",
            "the clock stays at its lowest" if lowest else "the clock rises only after work has begun: latencies vary",
            mend,
        )
    ]


def _temperatures(host: Host) -> dict[str, float]:
    """Read the thermal zones, or where there are none (most PCs) the sensors of the processor."""
    found: dict[str, float] = {}
    for folder in host.names("/sys/class/thermal", "thermal_zone*"):
        milli = host.number(f"{folder}/temp")
        if milli is not None and milli > 0:  # a part that sleeps gives 0 or -256000
            sensor = host.text(f"{folder}/type") or folder.rpartition("/")[2]
            found[sensor] = max(found.get(sensor, 0.0), milli / 1000)
    for folder in host.names("/sys/class/hwmon", "hwmon*") if not found else []:
        name = host.text(f"{folder}/name")
        milli = host.number(f"{folder}/temp1_input")
        if name in ("coretemp", "k10temp", "cpu_thermal", "zenpower") and milli:
            found[name] = milli / 1000
    return found


def _throttling(host: Host) -> Throttling | None:
    text = host.command(["vcgencmd", "get_throttled"]) or ""
    match = re.search(r"throttled=0x([0-9a-fA-F]+)", text)
    if match:
        return decode_throttled(int(match[1], 16))
    raw = host.text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    return decode_throttled(int(raw, 16)) if raw and re.fullmatch(r"(0x)?[0-9a-fA-F]+", raw) else None


def _power_mode(host: Host) -> str | None:
    match = re.search(r"NV Power Mode:\s*(\S+)", host.command(["nvpmodel", "-q"]) or "")
    return match[1] if match else None
