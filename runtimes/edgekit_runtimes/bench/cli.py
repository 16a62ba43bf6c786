"""The command ``edgekit bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import MissingExtra, QualityError, UsageError
from edgekit_runtimes.remote.command import RemoteCommand

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit_runtimes.bench.comparison import Comparison
    from edgekit_runtimes.bench.job import Target
    from edgekit_runtimes.bench.machine import Verdict
    from edgekit_runtimes.bench.measurement import Measurement, Request

_PATH = click.Path(path_type=Path)
_PIPE_WIDTH = 240


@click.command(cls=RemoteCommand)
@click.argument("model", metavar="BUNDLE|FILE", type=_PATH)
@click.argument("item", metavar="[INPUT]", required=False)
@click.option("--engine", help="litert, onnxruntime or a third party's; by default the artifact's own.")
@click.option("--recipe", help="Precision; by default the artifact that edgekit run would choose.")
@click.option("--all", "every", is_flag=True, help="All artifacts of the bundle.")
@click.option("--threads", help="Threads of the engine; several, as in 1,2,4, give a row each.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, max=3600), default=3.0, show_default=True, help="Timed, at least."
)
@click.option("--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Timed runs, at least.")
@click.option("--warmup", type=click.IntRange(min=1), default=10, show_default=True, help="Runs before, at least.")
@click.option("--operators", is_flag=True, help="Also which operators the time goes to.")
@click.option(
    "--roofline", "limit", is_flag=True, help="Also how far from what this machine could do, and what limits it."
)
@click.option("--compare", "other", help="A bundle, a file or a recipe of this bundle to run in turn with this one.")
@click.option("--json", "json_path", type=_PATH, help="Write everything to a file; - prints it instead of tables.")
@click.option("--plot", "plot_path", type=_PATH, help="Draw the latency into a .png file.")
@click.option("--root", type=_PATH, default=Path("/"), hidden=True, help="Where the machine's /proc and /sys lie.")
def bench(
    *,
    model: Path,
    item: str | None,
    engine: str | None,
    recipe: str | None,
    every: bool,
    threads: str | None,
    seconds: float,
    runs: int,
    warmup: int,
    operators: bool,
    limit: bool,
    other: str | None,
    json_path: Path | None,
    plot_path: Path | None,
    root: Path,
) -> None:
    """Measure a BUNDLE or a bare .tflite or .onnx FILE on this machine.

    Each configuration runs in a fresh process: time to load, first and steady latency, memory. With an INPUT (a
    photo, a sentence, an .npz file) also the way from it to the result, part by part. A run in which the machine was
    throttled is marked INVALID, and the command then exits with 4.
    """
    from edgekit_runtimes.bench.job import Effort
    from edgekit_runtimes.bench.measurement import Request
    from edgekit_runtimes.bench.targets import other_target, targets_of

    counts = _thread_counts(threads)
    targets = targets_of(model, engine, recipe, every=every)
    if item is not None and targets[0].bundle is None:
        raise UsageError(f"INPUT {item} for the bare file {model}", expected="a bundle, which says how inputs are read")
    request = Request(Effort(runs, seconds, warmup), item, operators, root)
    if other is not None:
        _refuse_with_compare(item=item, operators=operators, limit=limit, every=every, plot_path=plot_path)
        _compare(targets, other_target(other, model, engine), counts, request, json_path)
        return
    if plot_path is not None:
        from edgekit_runtimes.bench.plot import require_matplotlib

        require_matplotlib(plot_path)
    measurements, skipped = _measure_all(targets, counts, request, every=every)
    unknown: list[str] = []
    if limit:
        from edgekit_runtimes.bench.roofline.compare import with_rooflines

        measurements, unknown = with_rooflines(measurements, root)
    if str(json_path) != "-":
        _show(measurements)
    for line in (*unknown, *(f"not measured: {line}" for line in skipped)):
        click.echo(line, err=True)
    _write_json(json_path, _report(measurements, skipped, unknown))
    if plot_path is not None:
        from edgekit_runtimes.bench.plot import write_plot

        write_plot(plot_path, measurements)
    _judge([(one.target.name, one.machine) for one in measurements], [one.uneven for one in measurements if one.uneven])


def _report(measurements: list[Measurement], skipped: list[str], unknown: list[str]) -> dict[str, Any]:
    report: dict[str, Any] = {"measurements": [one.to_dict() for one in measurements], "not_measured": skipped}
    if unknown:
        report["no_roofline"] = unknown
    if rooflines := [one.roofline for one in measurements if one.roofline is not None]:
        from edgekit_runtimes.bench.roofline.peak import together

        report["machine_peak"] = together([roofline.peak for roofline in rooflines])
    return report


def _thread_counts(words: str | None) -> list[int | None]:
    if words is None:
        return [None]
    parts = words.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--threads {words}", expected="a number from 1, or several as in 1,2,4")
    return [int(part) for part in parts]


def _refuse_with_compare(**given: object) -> None:
    names = {
        "item": "INPUT",
        "operators": "--operators",
        "limit": "--roofline",
        "every": "--all",
        "plot_path": "--plot",
    }
    for key, value in given.items():
        if value:
            raise UsageError(f"{names[key]} together with --compare", expected="one of the two")


def _measure_all(
    targets: Iterable[Target], counts: Iterable[int | None], request: Request, *, every: bool
) -> tuple[list[Measurement], list[str]]:
    """Measure the first artifact whose engine is installed, or every one; return what could not be measured too."""
    from edgekit_runtimes.bench.measurement import measure

    found: list[Measurement] = []
    missing: list[MissingExtra] = []
    for target in targets:
        try:
            found += [measure(target, count, request) for count in counts]
        except MissingExtra as error:
            missing.append(error)
            continue
        if not every:
            break
    if not found:
        raise missing[0]
    return found, [error.received for error in missing] if every else []


def _compare(
    a: list[Target], b: list[Target], counts: list[int | None], request: Request, json_path: Path | None
) -> None:
    from edgekit_runtimes.bench.comparison import compare
    from edgekit_runtimes.bench.report import comparison_lines

    found = [compare(a[0], b[0], count, request) for count in counts]
    if str(json_path) != "-":
        for one in found:
            click.echo("\n".join(comparison_lines(one)))
    _write_json(json_path, {"comparisons": [one.to_dict() for one in found]})
    _judge([(_both(one), one.machine) for one in found])


def _both(one: Comparison) -> str:
    return f"{one.targets[0].name} and {one.targets[1].name}"


def _show(measurements: list[Measurement]) -> None:
    from edgekit_runtimes.bench.report import (
        latency_table,
        machine_line,
        operators_line,
        operators_table,
        parts_table,
    )

    console = _console()
    console.print(latency_table(measurements, console.width))
    if measurements[0].parts:
        console.print(f"\nfrom {measurements[0].inputs} to a result, medians:", markup=False)
        console.print(parts_table(measurements))
    for one in measurements:
        if one.profile is not None:
            console.print(f"\n{operators_line(one, one.profile)}", markup=False, highlight=False)
            console.print(operators_table(one.profile))
    _show_limits(console, [one for one in measurements if one.roofline is not None])
    states = [state for one in measurements for state in one.states]
    shares = [one.machine.others_share for one in measurements if one.machine.others_share is not None]
    console.print(f"\n{machine_line(states, max(shares, default=None))}", markup=False, highlight=False)


def _show_limits(console: Console, measurements: list[Measurement]) -> None:
    from edgekit_runtimes.bench.roofline import report

    said = set()
    for one in measurements:
        if one.roofline is None:
            continue
        if (line := report.peak_line(one.roofline)) not in said:
            console.print(f"\n{line}", markup=False, highlight=False, soft_wrap=True)
            said.add(line)
        text = f"{one.target.name}, threads {one.threads}: {report.sentence(one.roofline, one.latency.p50)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        line = report.memory_line(one.roofline, one.memory)
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        if one.roofline.operators:
            console.print(report.operators_table(one.roofline.operators))


def _console() -> Console:
    from rich.console import Console

    # Into a pipe or file there is no width to fit: nothing is folded there.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _write_json(path: Path | None, report: dict[str, Any]) -> None:
    if path is None:
        return
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    if str(path) == "-":
        click.echo(text)
        return
    from edgekit.atomic import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _judge(verdicts: list[tuple[str, Verdict]], more: Iterable[str] = ()) -> None:
    """Print each warning once; raise QualityError when a run is invalid."""
    from edgekit_runtimes.bench.machine import merged

    whole = merged([verdict for _, verdict in verdicts])
    for warning in dict.fromkeys((*whole.warnings, whole.busy, *more)):
        if warning:
            click.echo(f"warning: {warning}", err=True)
    if whole.invalid:
        named = "; ".join(
            dict.fromkeys(f"{name}: {reason}" for name, verdict in verdicts for reason in verdict.invalid)
        )
        raise QualityError(
            f"the machine was throttled, the times are invalid: {named}",
            expected="a machine that keeps its clock",
            remedy="cool it, give it a stronger power supply, and measure again",
        )
