"""The command ``edgekit doctor``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.errors import EnvironmentFault

if TYPE_CHECKING:
    from edgekit_runtimes.doctor.report import Report


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that each step of an engine's trial may take.",
)
def doctor(bundle: Path | None, as_json: bool, timeout: float) -> None:
    """Say what this machine has, what is wrong with it, and how to mend it.

    Reads board, processor, memory, cameras, packages, temperature and clock, and tries every engine and execution
    provider with a tiny model in a child process, so that one that crashes or hangs is reported. With a BUNDLE, also
    tries each of its artifacts on its golden samples and says which one suits this machine. Changes nothing.

    Exit codes: 0 when nothing keeps bundles from running, also with warnings and hints; 3 when the BUNDLE is
    damaged; 5 when no engine works, OpenCV is broken, or no artifact of the BUNDLE has an engine here.
    """
    from edgekit.bundle import Bundle
    from edgekit_runtimes.doctor.host import Host
    from edgekit_runtimes.doctor.report import examine

    opened = Bundle(bundle) if bundle is not None else None
    with _progress() as progress:
        report = examine(Host(), opened, timeout=timeout, progress=progress)
    _show(report, as_json)
    blocking = [problem for problem in report.problems if problem.severity == "blocking"]
    if blocking:
        raise EnvironmentFault("; ".join(problem.what for problem in blocking), remedy=blocking[0].mend)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; a provider may take its time."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False))
        return
    from edgekit_runtimes.doctor.page import lines_of

    for line in lines_of(report):
        click.echo(line)
