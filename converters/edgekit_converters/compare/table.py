"""What a person sees of a comparison: the headline and the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.parity import Parity
from edgekit_converters.compare.comparison import Comparison
from edgekit_converters.compare.layers import LayerError

if TYPE_CHECKING:
    from rich.table import Table

_NAME_WIDTH = 48
_PACKAGES = re.compile(r"\b(?:[a-z_][a-z0-9_]*\.)+(?=[A-Z])")  # of PyTorch modules, in names in TFLite
_CLIPPED = 0.01
_SHIFTED = 0.5
_ROUNDING = 1e-5  # relative L2 up to which two float files differ by the order of their sums


def headline(found: Comparison) -> Iterator[str]:
    """The findings, a sentence a line, the most important first."""
    yield f"{found.artifact} against {found.original}: {found.outputs.samples} samples ({found.origin})"
    yield f"outputs      {_parity(found.outputs)}"
    if found.conversion is not None:
        failed = " - already the float artifact answers otherwise" if found.conversion_failed else ""
        where = f"float {found.format}, before quantization, {found.conversion.samples} samples"
        yield f"conversion   {_numbers(found.conversion)} ({where}){failed}"
    if found.traced is not None:
        yield f"layers       {_alignment(found)}"
        yield f"starts       {_start(found)}"
        yield from _carriers(found)
    for diagnosis in found.diagnoses:
        yield f"inputs       {diagnosis}"


def _parity(parity: Parity) -> str:
    text = _numbers(parity)
    if parity.metric is not None:
        text += f", {parity.metric.name} {parity.metric} % (original {parity.reference_metric} %)"
    return text


def _numbers(parity: Parity) -> str:
    worst = parity.worst
    several = f" (output {worst.name!r}, the worst of {len(parity.outputs)})" if len(parity.outputs) > 1 else ""
    text = f"relative L2 {worst.relative_l2:.2g}, cosine {worst.cosine:.4f}{several}"
    if parity.agreement is not None:
        text += f", agreement {100 * parity.agreement.value:.1f} %"
    return text


def _alignment(found: Comparison) -> str:
    assert found.traced is not None  # noqa: S101  checked by headline
    how = found.traced.found
    ways = ", ".join(f"{count} by {way}" for way, count in how.ways.items())
    return (
        f"{how.aligned} of {how.layers} with weights aligned; {sum(how.ways.values())} activations ({ways}), "
        f"on {found.traced.samples} samples"
    )


def _start(found: Comparison) -> str:
    if found.conversion_failed:
        return "in the conversion: look at the float artifact first"
    first = found.start
    if first is None:
        most = max(found.layers, key=lambda layer: layer.relative_l2)
        return (
            f"no layer passes relative L2 {found.threshold:g}; the most is {most.relative_l2:.2g} at {short(most.name)}"
        )
    place = found.layers.index(first)
    text = f"at layer {place} of {len(found.layers) - 1}, {first.operator} {short(first.name)}: {first.relative_l2:.2g}"
    if first.own is not None and first.inherited is not None and first.relative_l2 > 0:
        came = f", of which it adds {first.own:.2g} itself and {first.inherited:.2g} came in"
        text += came
    return f"{text} (threshold {found.threshold:g})"


def _carriers(found: Comparison) -> Iterator[str]:
    weighed = [layer for layer in found.carriers if (layer.at_output or 0.0) > _ROUNDING]
    if not weighed:
        return
    listed = "; ".join(f"{layer.operator} {short(layer.name)} {layer.at_output:.2g}" for layer in weighed[:3])
    yield f"carried by   {listed} (relative L2 of the outputs if that layer's error were the only one)"
    cause = _cause(weighed[0])
    if cause is not None:
        yield f"cause        {short(weighed[0].name)}: {cause}"


def _cause(layer: LayerError) -> str | None:
    """What makes the error of a layer, where its numbers tell."""
    if layer.clipped > _CLIPPED:
        return (
            f"{100 * layer.clipped:.2g} % of its values, {layer.low:.3g} to {layer.high:.3g}, lie outside the range "
            f"{layer.stored_low:.3g} to {layer.stored_high:.3g} that is stored; calibrate with data like this"
        )
    if layer.bias_share > _SHIFTED:
        return f"{100 * layer.bias_share:.0f} % of its error is a constant shift of channels: its bias is off"
    return None


def layer_table(found: Comparison, rows: int) -> Table:
    """The layers that carry the error, the heaviest first.

    Args:
        found: With layers.
        rows: How many; the rest is in the JSON.
    """
    from rich.markup import escape
    from rich.table import Table

    chosen = found.carriers[:rows]
    title = f"the {len(chosen)} layers that carry most of the error, of {len(found.layers)}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for heading in (
        "#",
        "operator",
        "layer",
        "stored",
        "at outputs",
        "adds",
        "came in",
        "total",
        "SQNR",
        "bias",
        "clipped",
    ):
        text = heading in ("operator", "layer", "stored")
        table.add_column(heading, justify="left" if text else "right", no_wrap=True)
    places = {layer.name: place for place, layer in enumerate(found.layers)}
    for layer in chosen:
        first = found.start is layer
        table.add_row(
            str(places[layer.name]), layer.operator, escape(short(layer.name)), layer.dtype, _number(layer.at_output),
            _number(layer.own), _number(layer.inherited), _number(layer.relative_l2),
            "" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB", f"{100 * layer.bias_share:.0f} %",
            "" if layer.scale is None else f"{100 * layer.clipped:.2g} %", style="bold" if first else None,
        )  # fmt: skip
    return table


LEGEND = """\
at outputs: relative L2 of the outputs if only this layer were wrong · adds: the layer's own error · came in: what its
inputs brought · total: both · bias: share of the error that is a constant shift of channels · clipped: float values
outside the stored range"""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def short(name: str) -> str:
    """A tensor's name without the parts that a converter strung together, cut in front."""
    strung = [part for part in name.split(";") if part and not part.isdigit()] or [name]
    # TensorFlow's converter begins with the operator that the others were fused into, PyTorch's ends with it.
    first = strung[-1 if _PACKAGES.search(name) else 0].removeprefix("serving_default_")
    parts = _PACKAGES.sub("", first).split("/")
    first = "/".join(parts[1:] if len(parts) > 2 else parts)
    return first if len(first) <= _NAME_WIDTH else "…" + first[-_NAME_WIDTH + 1 :]
