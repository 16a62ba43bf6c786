"""The table that a conversion ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bundle import Artifact, Manifest
from edgekit.metrics import Metric
from edgekit.units import digits, megabytes
from edgekit_converters.measure import SLOWER

if TYPE_CHECKING:
    from rich.table import Table


def artifact_table(manifest: Manifest) -> Table:
    """One row an artifact: size, share of the original's, parity, accuracy (95 % interval), latency, verdict."""
    from rich.table import Table

    original = manifest.source.get("bytes") or 0
    table = Table(
        title=_title(manifest), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1)
    )
    share = manifest.artifacts[0].parity.reference_metric
    measured = "accuracy" if share is None else share.name
    for heading in ("artifact", "size", "rel. L2", "agree", measured, "latency", "verdict"):
        text = heading in ("artifact", "verdict")
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading == "artifact")
    table.add_row("original", f"{megabytes(original)} 100%" if original else "", "", "", accuracy(share), "", "")
    for artifact in manifest.artifacts:
        table.add_row(*_row(artifact, original))
    return table


def _title(manifest: Manifest) -> str:
    evaluation = manifest.evaluation
    return f"{manifest.name}: parity on {evaluation['samples']} samples ({evaluation['origin']})"


def _row(artifact: Artifact, original: int) -> list[str]:
    parity = artifact.parity
    return [
        f"{artifact.format} {artifact.recipe}",
        megabytes(artifact.bytes) + (f" {100 * artifact.bytes / original:3.0f}%" if original else ""),
        f"{parity.worst.relative_l2:.2g}",
        f"{100 * parity.agreement.value:.1f} %" if parity.agreement else "",
        accuracy(parity.metric),
        f"{digits(artifact.latency_ms)} ms",
        _verdict(artifact),
    ]


def _verdict(artifact: Artifact) -> str:
    """Whether the gate was passed, and a mark where float would be faster."""
    verdict = "[green]pass[/green]" if artifact.degraded is None else "[red]missed[/red]"
    slower = any(note.startswith(SLOWER) for note in artifact.notes)
    return verdict + (f" [yellow]{SLOWER}[/yellow]" if slower else "")


def accuracy(metric: Metric | None) -> str:
    """A metric with its interval; shares in percent."""
    return "" if metric is None else str(metric)
