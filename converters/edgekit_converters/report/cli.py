"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("sources", metavar="BUNDLE|PLAN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
    help="The page; outside of any bundle.",
)  # fmt: skip
@click.option(
    "--data",
    metavar="PATH",
    help="Inputs as for edgekit convert --eval: shows whose answers changed, with photos, and the layers on them.",
)
@click.option("--on", "device", metavar="DEVICE", help="Measure on a board, see edgekit device.")
@click.option("--no-measure", is_flag=True, help="Run nothing but what --data asks for.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1, max=600), default=1.0, show_default=True, help="Timed of each artifact."
)
@click.option(
    "--examples", type=click.IntRange(min=0, max=100), default=8, show_default=True,
    help="Inputs with a changed answer that are shown of each artifact.",
)  # fmt: skip
def report(
    sources: tuple[Path, ...],
    *,
    output: Path,
    data: str | None,
    device: str | None,
    no_measure: bool,
    seconds: float,
    examples: int,
) -> None:
    """Write one HTML page that explains bundles: what they are, how close to the original, how small, how fast.

    Several bundles are compared side by side; a PLAN is a folder that `edgekit plan` wrote. The page needs no
    network and no other file. It measures for a few seconds: operators, and the error by layer on the golden samples.
    """
    from edgekit.errors import UsageError
    from edgekit_converters.progress import Stages, reporter_for_terminal
    from edgekit_converters.report.write import ReportRequest, write_report

    if no_measure and device is not None:
        raise UsageError("--no-measure together with --on", expected="one of the two")
    request = ReportRequest(
        sources=sources,
        output=output,
        data=data,
        device=device,
        seconds=None if no_measure else seconds,
        examples=examples,
    )
    with reporter_for_terminal() as reporter:
        size = write_report(request, Stages(reporter))
    click.echo(f"wrote {output}, {size / 1e3:.0f} kB; open it in any browser")
