"""The machine's own state while something is measured: temperature, clock, governor, throttling, other work.

Everything is read from files below a root, ``/`` on a real machine. What a machine does not have is left out;
nothing here needs a privilege.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BUSY_SHARE = 0.1
"""Others' share of the processors from which a machine counts as busy."""

_PI_NOW = {0: "under-voltage", 1: "ARM frequency capped", 2: "throttled", 3: "soft temperature limit"}
_PI_SINCE_BOOT = 16
_COOLING_OF_CPUS = re.compile(r"cpufreq|^processor$|^cpu", re.IGNORECASE)


@dataclass(frozen=True)
class State:
    """What a machine says of itself at one moment.

    Attributes:
        frequencies_mhz: Current clock of each processor.
        limits_mhz: Highest clock that is allowed now, of each processor.
        governors: CPU frequency governors in use, without repeats.
        temperatures_c: Thermal zone -> degrees Celsius.
        pi_throttled: The bits of a Raspberry Pi's ``get_throttled``; ``None`` elsewhere.
        throttle_counts: Thermal throttling events of the processors since boot (x86), added up.
        cooling: Cooling devices that slow processors down -> their state; above 0 they do.
        load_average: Of the last minute.
        busy_seconds: Processor time of all processes since boot, all processors.
        total_seconds: Busy and idle time since boot, all processors.
    """

    frequencies_mhz: tuple[float, ...] = ()
    limits_mhz: tuple[float, ...] = ()
    governors: tuple[str, ...] = ()
    temperatures_c: dict[str, float] = field(default_factory=dict)
    pi_throttled: int | None = None
    throttle_counts: int | None = None
    cooling: dict[str, int] = field(default_factory=dict)
    load_average: float | None = None
    busy_seconds: float | None = None
    total_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """What the machine's state means for a measurement.

    Attributes:
        invalid: Why the times do not hold; empty when they do.
        warnings: What a reader of the times should know, beside a busy machine.
        others_share: Share of all processors that other processes used meanwhile; ``None`` where it is not known.
    """

    invalid: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    others_share: float | None = None

    @property
    def busy(self) -> str | None:
        """A warning where other processes used much of the machine."""
        if self.others_share is None or self.others_share <= BUSY_SHARE:
            return None
        return f"other processes used {self.others_share:.0%} of the processors meanwhile: stop them and measure again"


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Put what several measurements say of the machine together; the busiest counts."""
    shares = [verdict.others_share for verdict in verdicts if verdict.others_share is not None]
    invalid = dict.fromkeys(text for verdict in verdicts for text in verdict.invalid)
    warnings = dict.fromkeys(text for verdict in verdicts for text in verdict.warnings)
    return Verdict(tuple(invalid), tuple(warnings), max(shares, default=None))


def read_state(root: Path = Path("/")) -> State:
    """Read the state of the machine whose ``/proc`` and ``/sys`` lie below a root."""
    cpus = root / "sys/devices/system/cpu"
    busy, total = _processor_seconds(root / "proc/stat")
    return State(
        frequencies_mhz=tuple(value / 1000 for value in _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")),
        limits_mhz=tuple(value / 1000 for value in _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_max_freq")),
        governors=tuple(dict.fromkeys(_texts(cpus, "cpu[0-9]*/cpufreq/scaling_governor"))),
        temperatures_c=_temperatures(root / "sys/class/thermal"),
        pi_throttled=_pi_throttled(root),
        throttle_counts=_throttle_counts(cpus),
        cooling=_cooling(root / "sys/class/thermal"),
        load_average=_load_average(root / "proc/loadavg"),
        busy_seconds=busy,
        total_seconds=total,
    )


def judge(states: Sequence[State], own_seconds: float) -> Verdict:
    """Say what the states before, during and after a measurement mean for it.

    Args:
        states: At least those before and after, in order.
        own_seconds: Processor time of the measurement itself.
    """
    before = states[0]
    share = _others_share(before, states[-1], own_seconds)
    return Verdict(tuple(_throttling(states)), tuple(_warnings(before)), share)


def _throttling(states: Sequence[State]) -> Iterator[str]:
    before, after = states[0], states[-1]
    now = {bit for state in states for bit in _PI_NOW if (state.pi_throttled or 0) >> bit & 1}
    since = ((after.pi_throttled or 0) & ~(before.pi_throttled or 0)) >> _PI_SINCE_BOOT
    for bit in sorted(now | {bit for bit in _PI_NOW if since >> bit & 1}):
        yield f"{_PI_NOW[bit]} (get_throttled bit {bit})"
    if after.throttle_counts is not None and after.throttle_counts > (before.throttle_counts or 0):
        yield f"{after.throttle_counts - (before.throttle_counts or 0)} thermal throttling events"
    for name in after.cooling:
        if highest := max(state.cooling.get(name, 0) for state in states):
            yield f"cooling device {name} held the clock down (state {highest})"


def _warnings(before: State) -> Iterator[str]:
    for governor in before.governors:
        if governor != "performance":
            yield f"the CPU frequency governor is {governor}; with 'performance' times vary less"
    earlier = [name for bit, name in _PI_NOW.items() if (before.pi_throttled or 0) >> (bit + _PI_SINCE_BOOT) & 1]
    if earlier:
        yield f"this board has had {', '.join(earlier)} since it was started: check its power supply and cooling"


def _others_share(before: State, after: State, own_seconds: float) -> float | None:
    if before.busy_seconds is None or after.busy_seconds is None or before.total_seconds is None:
        return None
    total = (after.total_seconds or 0) - before.total_seconds
    if total <= 0:
        return None
    return max(0.0, after.busy_seconds - before.busy_seconds - own_seconds) / total


def _texts(folder: Path, pattern: str) -> list[str]:
    """Contents of the files that can be read, in the order of the numbers in their paths."""
    found = []
    for path in sorted(
        folder.glob(pattern), key=lambda path: [int(digits) for digits in re.findall(r"\d+", str(path))]
    ):
        with suppress(OSError):
            found.append(path.read_text(encoding="ascii", errors="replace").strip())
    return found


def _numbers(folder: Path, pattern: str) -> list[int]:
    return [int(text) for text in _texts(folder, pattern) if re.fullmatch(r"-?\d+", text)]


def _temperatures(thermal: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted(thermal.glob("thermal_zone*")):
        kinds, values = _texts(zone, "type"), _numbers(zone, "temp")  # an unplugged sensor cannot be read
        if kinds and values:
            name = kinds[0] if kinds[0] not in found else f"{kinds[0]} {zone.name.removeprefix('thermal_zone')}"
            found[name] = values[0] / 1000
    return found


def _cooling(thermal: Path) -> dict[str, int]:
    found = {}
    for device in sorted(thermal.glob("cooling_device*")):
        kinds, values = _texts(device, "type"), _numbers(device, "cur_state")
        if kinds and values and _COOLING_OF_CPUS.search(kinds[0]):
            found[f"{kinds[0]} {device.name.removeprefix('cooling_device')}"] = values[0]
    return found


def _throttle_counts(cpus: Path) -> int | None:
    counts = _numbers(cpus, "cpu[0-9]*/thermal_throttle/*_throttle_count")
    return sum(counts) if counts else None


def _pi_throttled(root: Path) -> int | None:
    """Bits of ``get_throttled``: from the firmware driver's file, which costs nothing, or from the command."""
    texts = _texts(root / "sys/devices/platform", "soc*/soc*firmware/get_throttled")
    command = root / "usr/bin/vcgencmd"
    if not texts and os.access(command, os.X_OK):
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=2, check=True)
            texts = [done.stdout.strip().partition("=")[2]]
    with suppress(ValueError, IndexError):
        return int(texts[0], 16)
    return None


def _load_average(path: Path) -> float | None:
    with suppress(OSError, ValueError, IndexError):
        return float(path.read_text(encoding="ascii").split()[0])
    return None


def _processor_seconds(path: Path) -> tuple[float | None, float | None]:
    with suppress(OSError, ValueError, IndexError):
        # user nice system idle iowait irq softirq steal; guest time is part of user time.
        ticks = [int(word) for word in path.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
        idle, hertz = ticks[3] + ticks[4], os.sysconf("SC_CLK_TCK")
        return (sum(ticks) - idle) / hertz, sum(ticks) / hertz
    return None, None
