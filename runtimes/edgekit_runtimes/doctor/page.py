"""The report as text: one line a fact, the problems last, each with what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.bundle import Bundle
from edgekit.units import digits
from edgekit_runtimes.doctor.advice import Advice, Trial
from edgekit_runtimes.doctor.cameras import Cameras
from edgekit_runtimes.doctor.engines import NOT_INSTALLED, WORKS, EngineState
from edgekit_runtimes.doctor.heat import Heat
from edgekit_runtimes.doctor.report import Report

_COLUMN = 13
_NO_SENSOR = "no sensor"
_HEADINGS = ("artifact", "engine", "here", "at conversion", "memory", "verdict")
_NUMBERS = (2, 3, 4)


def lines_of(report: Report) -> Iterator[str]:
    """Yield the lines of a report, without line ends."""
    yield from _section("Machine", _machine(report))
    yield from _section("Packages", list(report.software.versions.items()))
    yield from _section("Cameras", _cameras(report.cameras))
    yield from _section("Engines", [(state.name, _engine(state)) for state in report.engines])
    if report.bundle is not None and report.advice is not None:
        yield "Bundle"
        yield from _table([_HEADINGS, *map(_trial, report.advice.trials)])
        yield ""
        yield from _advised(report.bundle, report.advice)
    yield from _problems(report)


def _section(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    yield title
    width = max([_COLUMN, *(len(name) for name, _ in rows)])
    yield from (f"  {name:<{width}}  {text}".rstrip() for name, text in rows)
    yield ""


def _machine(report: Report) -> list[tuple[str, str]]:
    board, cpu, memory = report.board, report.cpu, report.memory
    quota = f", {cpu.quota:g} cores' time in this container" if cpu.quota is not None else ""
    limit = f", limit of this container {_size(memory.limit)}" if memory.limit is not None else ""
    rows = [
        ("board", board.model),
        ("system", f"{board.system}, kernel {board.kernel}, {board.architecture}"),
        ("Python", board.python),
        ("processor", f"{cpu.model}, {cpu.usable} of {cpu.present} cores usable{quota}"),
        ("int8", f"{', '.join(cpu.features) or 'no known feature'}: {cpu.int8}"),
        ("memory", f"{_size(memory.available)} of {_size(memory.total)} available{limit}"),
        ("swap", f"{_size(memory.swap_free)} of {_size(memory.swap_total)} free" if memory.swap_total else "none"),
        ("disk", f"{_size(memory.temp_free)} free in {memory.temp_folder}"),
        ("temperature", _temperature(report.heat)),
        ("clock", f"governor {', '.join(report.heat.governor)}" if report.heat.governor else "not set by this system"),
    ]
    if report.heat.throttling is not None:
        told = report.heat.throttling
        rows.append(("throttling", f"now {_list(told.now)}; since the start {_list(told.occurred)}"))
    if board.jetpack is not None:
        rows.insert(2, ("Jetson Linux", board.jetpack))
    if report.heat.power_mode is not None:
        rows.append(("power mode", report.heat.power_mode))
    return rows


def _cameras(cameras: Cameras) -> list[tuple[str, str]]:
    rows = []
    for camera in cameras.devices:
        told = {True: "gives pictures", False: "gives no pictures", None: "not asked"}[camera.captures]
        barred = "" if camera.permitted else ", no permission"
        rows.append((camera.device, f"{camera.name}: {camera.kind}, {told}{barred}"))
    if not rows:
        rows.append(("video", "no device"))
    if cameras.libcamera is not None:
        rows.append(("libcamera", _list(cameras.libcamera)))
    rows.append(("picamera2", "installed" if cameras.picamera2 else "not installed"))
    return rows


def _engine(state: EngineState) -> str:
    if state.state == WORKS:
        files = " and ".join(f".{kind}" for kind in state.formats)
        part = f"; {state.reason}" if state.reason else ""
        return f"works: {state.version}, runs {files}, {state.seconds:.1f} s to start and run{part}"
    if state.state == NOT_INSTALLED:
        return f"not installed: {state.remedy}" if state.remedy else "not installed"
    return f"fails: {state.reason}"


def _trial(trial: Trial) -> tuple[str, ...]:
    here = "" if trial.latency_ms is None else f"{digits(trial.latency_ms)} ms"
    peak = "" if trial.peak_bytes is None else _size(trial.peak_bytes)
    verdict = f"no: {trial.against}" if trial.against else "suits"
    return (trial.artifact.file, trial.engine, here, f"{digits(trial.artifact.latency_ms)} ms", peak, verdict)


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows in columns; names to the left, numbers to the right, the last column as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if at in _NUMBERS else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _advised(bundle: Bundle, advice: Advice) -> Iterator[str]:
    if advice.best is None:
        return
    artifact = advice.best.artifact
    yield f"  Run {artifact.format} {artifact.recipe}: {advice.why}."
    yield f"    {advice.command(bundle)}"
    yield ""


def _problems(report: Report) -> Iterator[str]:
    if not report.problems:
        yield "Nothing is wrong."
        return
    yield "Problems"
    for problem in report.problems:
        yield f"  {problem.severity}: {problem.what}"
        yield f"    means: {problem.means}"
        yield f"    mend:  {problem.mend}"


def _temperature(heat: Heat) -> str:
    return ", ".join(f"{sensor} {celsius:.0f} °C" for sensor, celsius in heat.celsius.items()) or _NO_SENSOR


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"
