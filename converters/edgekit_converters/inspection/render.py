"""Draw an inspection for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgekit.bundle import Artifact, Manifest
from edgekit.engine import TensorInfo
from edgekit.metrics import Metric
from edgekit.resources import Resources
from edgekit_converters.inspection.inspector import BundleInspection
from edgekit_converters.inspection.model import Inspection, OperatorRow

BAR_WIDTH = 20
FORMAT_NAMES = {"tflite": "TFLite", "onnx": "ONNX"}


def render(found: Inspection | BundleInspection) -> RenderableType:
    """Return what the console prints."""
    return _bundle(found) if isinstance(found, BundleInspection) else _artifact(found)


def count(number: float) -> str:
    """Write a count in at most four significant figures: 300.8 M."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / (1e3 if unit == 'k' else limit):.4g} {unit}"
    return f"{number:g}"


def size(number: int) -> str:
    """Write a size in decimal units: 3.61 MB."""
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number} B"


def plain(text: str) -> str:
    """Replace what a terminal would obey: names in a foreign file are not trusted."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _artifact(found: Inspection) -> Group:
    facts = f"{FORMAT_NAMES[found.format]}, {plain(found.version)}, written by {plain(found.producer)}"
    numbers = f"{size(found.bytes)} · {count(found.parameters)} parameters · {count(found.macs)} MACs"
    parts: list[RenderableType] = [
        Text(plain(found.file), style="bold"),
        Text(numbers),
        *([Text(_cost(found.resources))] if found.resources is not None else []),
        Text(facts, style="dim"),
        _section("Inputs", _tensors(found.inputs)),
        _section("Outputs", _tensors(found.outputs)),
        _section("Operators", _operators(found.operators, found.macs)),
    ]
    if found.precisions:
        parts.append(_section("Computed in", _precisions(found)))
    if found.weights:
        parts.append(_section("Weights", _weights(found)))
    parts.append(_section("Size", _parts(found)))
    if found.metadata:
        parts.append(_section("Metadata", _pairs(found.metadata)))
    if found.notes:
        parts.append(_section("Notes", Group(*(Text(f"- {plain(note)}") for note in found.notes))))
    return Group(*parts)


def _cost(resources: Resources) -> str:
    """What one inference needs of the memory, and the arithmetic intensity: MACs per byte moved."""
    moved = resources.traffic_bytes
    intensity = f" · {resources.macs / moved:.3g} MACs a byte" if moved else ""
    activations = size(resources.peak_activation_bytes)
    return f"{activations} of activations at once · {size(moved)} moved{intensity}"


def _section(title: str, body: RenderableType) -> RenderableType:
    return Padding(Group(Text(title, style="bold cyan"), Padding(body, (0, 0, 0, 1))), (1, 0, 0, 0))


def _table(*columns: tuple[str, str]) -> Table:
    """Return an empty table; a column is its heading and its side: left or right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), header_style="dim")
    for heading, side in columns:
        right = side == "right"
        table.add_column(
            heading, justify="right" if right else "left", no_wrap=right, overflow="ellipsis" if right else "fold"
        )
    return table


def _add(table: Table, cells: Sequence[str], style: str = "") -> None:
    table.add_row(*(Text(plain(cell), style=style) for cell in cells))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def shape_text(shape: Iterable[int | None]) -> str:
    """Write a shape; a dynamic dimension is a question mark."""
    return " x ".join("?" if length is None else str(length) for length in shape) or "scalar"


def _tensors(tensors: Sequence[TensorInfo]) -> Table:
    quantized = any(tensor.scale is not None for tensor in tensors)
    columns = [("name", "left"), ("shape", "left"), ("dtype", "left")]
    table = _table(*columns, *([("scale", "right"), ("zero point", "right")] if quantized else []))
    for tensor in tensors:
        cells = [tensor.name, shape_text(tensor.shape), tensor.dtype]
        if quantized:
            known = tensor.scale is not None
            cells += [f"{tensor.scale:.6g}" if known else "", str(tensor.zero_point) if known else ""]
        _add(table, cells)
    return table


def _operators(rows: Sequence[OperatorRow], macs: int) -> Table:
    columns = [(heading, "right") for heading in ("count", "MACs", "share", "weights", "moved")]
    flagged = any(row.custom for row in rows)
    table = _table(("type", "left"), *columns, *([("", "left")] if flagged else []))
    for row in rows:
        work = [count(row.macs), _share(row.macs, macs)] if row.macs else ["", ""]
        memory = [size(number) if number else "" for number in (row.weight_bytes, row.traffic_bytes)]
        flag = ["outside the standard set" if row.custom else ""] if flagged else []
        _add(table, [row.name, str(row.count), *work, *memory, *flag], "yellow" if row.custom else "")
    moved = size(sum(row.traffic_bytes or 0 for row in rows)) if any(row.traffic_bytes for row in rows) else ""
    _add(table, ["total", str(sum(row.count for row in rows)), count(macs), "", "", moved], "bold")
    return table


def _precisions(found: Inspection) -> Table:
    table = _table(("data x weights", "left"), ("operators", "right"), ("MACs", "right"), ("share", "right"))
    for row in found.precisions:
        work = [str(row.operators), count(row.macs), _share(row.macs, found.macs)]
        _add(table, [f"{row.activations} x {row.weights} {row.granularity}".rstrip(), *work])
    return table


def _weights(found: Inspection) -> Table:
    table = _table(("dtype", "left"), ("weights", "right"), ("share", "right"), ("size", "right"))
    for row in found.weights:
        _add(table, [row.dtype, count(row.elements), f"{100 * row.share:.1f} %", size(row.bytes)])
    return table


def _parts(found: Inspection) -> Table:
    table = _table(("part", "left"), ("size", "right"), ("share", "right"), ("", "left"))
    for part in sorted(found.parts, key=lambda part: -part.bytes):
        bar = "█" * round(BAR_WIDTH * part.bytes / found.bytes)
        _add(table, [part.name, size(part.bytes), _share(part.bytes, found.bytes), bar])
    return table


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    for key, value in values.items():
        text = plain(str(value))
        _add(table, [key, text if len(text) <= 300 else f"{text[:300]}… ({len(text):,} characters)"])
    return table


def _bundle(found: BundleInspection) -> Group:
    manifest = found.manifest
    parts: list[RenderableType] = [
        Text(f"{plain(manifest.name)}  bundle in {plain(str(found.path))}", style="bold"),
        _section("Manifest", _pairs(_facts(manifest))),
        _section("Spec inputs", _spec_tensors(manifest.spec.inputs)),
        _section("Spec outputs", _spec_tensors(manifest.spec.outputs)),
        _section("Artifacts", _artifacts(manifest)),
    ]
    for artifact in manifest.artifacts:
        remarks = [*artifact.notes, *([f"published degraded: {artifact.degraded}"] if artifact.degraded else [])]
        parts += [Text(f"   {plain(artifact.file)}: {plain(remark)}") for remark in remarks]
    for item in found.artifacts:
        parts += [Text(), Text("─" * 78, style="dim"), _artifact(item)]
    for file, reason in found.unread.items():
        parts += [Text(), Text(f"{plain(file)} was not read: {reason}", style="yellow")]
    return Group(*parts)


def _facts(manifest: Manifest) -> dict[str, str]:
    """What the manifest says beside the artifacts; nested tables are flattened into one line each."""
    facts = {"task": manifest.spec.task, "made": f"{manifest.created} by edgekit {manifest.edgekit_version}"}
    if manifest.spec.labels:
        facts["labels"] = f"{len(manifest.spec.labels):,}, from {manifest.spec.labels[0]}"
    for name in ("source", "calibration", "evaluation", "tools"):
        values: Mapping[str, Any] = getattr(manifest, name)
        if values:
            facts[name] = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
    return facts


def _spec_tensors(tensors: Iterable[Any]) -> Table:
    table = _table(("name", "left"), ("shape", "left"), ("dtype", "left"), ("layout", "left"))
    for tensor in tensors:
        _add(table, [tensor.name, shape_text(tensor.shape), tensor.dtype, tensor.layout or ""])
    return table


def _artifacts(manifest: Manifest) -> Table:
    original = manifest.source.get("bytes")
    table = _table(
        ("artifact", "left"), ("size", "right"), ("ratio", "right"), ("rel. L2", "right"), ("agree", "right"),
        ("accuracy", "right"), ("ms", "right"),
    )  # fmt: skip
    for artifact in manifest.artifacts:
        ratio = f"{artifact.bytes / original:.2f}" if isinstance(original, int) and original else ""
        cells = [_short_name(manifest, artifact), size(artifact.bytes), ratio, *_parity(artifact)]
        _add(table, [*cells, f"{artifact.latency_ms:.3g}"], "yellow" if artifact.degraded else "")
    return table


def _short_name(manifest: Manifest, artifact: Artifact) -> str:
    return artifact.file.removeprefix(f"{manifest.name}.")


def _parity(artifact: Artifact) -> list[str]:
    parity = artifact.parity
    worst = f"{parity.worst.relative_l2:.2g}" if parity.outputs else ""
    return [worst, _percent(parity.agreement), _percent(parity.metric)]


def _percent(share: Metric | None) -> str:
    return "" if share is None else f"{100 * share.value:.1f} %"
