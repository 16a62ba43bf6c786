"""A bundle in words: numbers as people read them, and what the spec says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.bundle import Manifest
from edgekit.metrics import Metric, points_lost
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.table import TableEncoding
from edgekit.units import megabytes

TIMES, MINUS, NBSP = "\u00d7", "\u2212", "\u00a0"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FRAMEWORKS = {"keras": "Keras", "pytorch": "PyTorch", "savedmodel": "SavedModel", "onnx": "ONNX", "tflite": "TFLite"}
_COLORS = {"rgb": "RGB", "bgr": "BGR", "gray": "gray"}


def size(count: float) -> str:
    """Bytes as megabytes (10^6), or kilobytes below one tenth of one."""
    return megabytes(count).replace(" ", NBSP)


def milliseconds(value: float) -> str:
    """A time with three digits, in microseconds below one tenth of a millisecond."""
    if value < 0.1:
        return f"{_digits(1000 * value)}{NBSP}µs"
    return f"{_digits(value)}{NBSP}ms" if value < 1000 else f"{_digits(value / 1000)}{NBSP}s"


def _digits(value: float) -> str:
    """Three digits, with the zeros that make a column of them even."""
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:.0f}"


def error(value: float) -> str:
    """A relative or absolute error with two digits, small ones with a power of ten."""
    if value == 0 or value >= 1e-3:
        return f"{value:.2g}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} {TIMES} 10{str(int(power)).translate(_RAISED)}"


def percent(value: float) -> str:
    """A share 0..1 in percent."""
    return f"{100 * value:.1f}{NBSP}%"


def measured(metric: Metric) -> str:
    """The value of a metric, shares in percent."""
    return percent(metric.value) if metric.share else f"{metric.value:.4g}"


def interval(metric: Metric) -> str:
    """The 95 % interval of a metric."""
    low, high = metric.interval()
    return f"{100 * low:.1f} to {100 * high:.1f}{NBSP}%" if metric.share else f"{low:.4g} to {high:.4g}"


def lost(original: Metric, artifact: Metric) -> str:
    """Points of a metric that were lost, with a sign."""
    points = points_lost(original, artifact)
    if abs(points) < 0.05:
        return "no change"
    return f"{MINUS if points > 0 else '+'}{abs(points):.1f} points"


def times(factor: float) -> str:
    """How many times as fast."""
    return f"{factor:.1f}" if factor < 10 else f"{factor:.0f}"


def facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What the model is, as pairs of a term and its description."""
    spec, source = manifest.spec, manifest.source
    yield "Task", spec.task.replace("-", " ")
    yield "Original", _original(manifest)
    yield ("Input" if len(spec.inputs) == 1 else "Inputs"), "; ".join(map(_tensor, spec.inputs))
    prepared = preparation(spec)
    if prepared:
        yield "Preprocessing", prepared
    yield ("Output" if len(spec.outputs) == 1 else "Outputs"), "; ".join(map(_tensor, spec.outputs))
    if spec.labels:
        shown = ", ".join(spec.labels[:6])
        yield "Classes", f"{len(spec.labels)}: {shown}{' …' if len(spec.labels) > 6 else ''}"
    if source.get("sha256"):
        yield "SHA-256 of the original", str(source["sha256"])


def _original(manifest: Manifest) -> str:
    source = manifest.source
    framework = str(source.get("framework") or "unknown framework")
    parts = [_FRAMEWORKS.get(framework, framework)]
    if source.get("file"):
        parts.append(str(source["file"]))
    if source.get("parameters"):
        parts.append(f"{source['parameters']:,} parameters")
    if source.get("bytes"):
        parts.append(size(source["bytes"]))
    return ", ".join(parts)


def _tensor(tensor: TensorSpec) -> str:
    shape = f" {TIMES} ".join("N" if length is None else str(length) for length in tensor.shape)
    return f"{tensor.name}, {shape}, {tensor.dtype}" + (f", {tensor.layout}" if tensor.layout else "")


def preparation(spec: Spec) -> str | None:
    """How a real input becomes the tensor, in a sentence; ``None`` for plain tensors."""
    if spec.text is not None:
        return f"tokenized by {spec.text.tokenizer}, cut or padded to {spec.text.max_length} tokens"
    if spec.table is not None:
        return _table(spec.table)
    if spec.sound is not None:
        sound = spec.sound
        return (
            f"sound at {sound.sample_rate:,} Hz, windows of {sound.window / sound.sample_rate:.3g} s, "
            f"{'samples' if sound.features == 'waveform' else sound.features} of them"
        )
    if spec.preprocess is not None and spec.inputs and spec.inputs[0].layout:
        return _picture(spec.preprocess, spec.inputs[0])
    return None


def _table(table: TableEncoding) -> str:
    kinds = [column.kind for column in table.columns]
    counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return f"a row of {len(kinds)} columns: {', '.join(counts)}"


def _picture(how: Preprocess, tensor: TensorSpec) -> str:
    return ", ".join([_resize(how, tensor), f"{_COLORS[how.color]} order", _values(how)])


def _resize(how: Preprocess, tensor: TensorSpec) -> str:
    lengths = tensor.shape[1:3] if tensor.layout == "NHWC" else tensor.shape[2:4]
    own = f" {TIMES} ".join("any" if length is None else str(length) for length in lengths)
    wanted = own if how.size is None else f" {TIMES} ".join(map(str, how.size))
    smooth = f"{how.interpolation}, {'antialiased' if how.antialias else 'no antialiasing'}"
    ways = {
        "none": "not resized",
        "stretch": f"stretched to {wanted} pixels ({smooth})",
        "short-side": f"resized to {how.size[0] if how.size else own} pixels on the shorter side ({smooth})",
        "letterbox": f"fitted into {wanted} pixels ({smooth}) and padded with {how.pad_value}",
    }
    return ways[how.resize] + (f", the middle {own} cut out" if how.crop else "")


def _values(how: Preprocess) -> str:
    inverse = 1 / how.scale if how.scale else 0.0
    value = "value" if how.scale == 1 else f"value {TIMES} {how.scale:.4g}"
    if how.scale not in (0, 1) and abs(2 * inverse - round(2 * inverse)) < 1e-6:
        value = f"value / {inverse:.4g}"
    if any(how.mean):
        value = f"{value} {MINUS} {_numbers(how.mean)}"
        if set(how.std) != {1.0}:
            value = f"({value})"
    return value if set(how.std) == {1.0} else f"{value} / {_numbers(how.std)}"


def _numbers(values: Sequence[float]) -> str:
    listed = [f"{value:.4g}" for value in values]
    return listed[0] if len(set(listed)) == 1 else f"[{', '.join(listed)}]"


def count(number: float) -> str:
    """A large number with a suffix: thousand, million, billion."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{NBSP}{suffix}"
    return f"{number:g}"


def peaks(machine: Mapping[str, Any]) -> str:
    """What a machine was measured to do at most, from ``machine_peak`` of ``edgekit bench --json``."""
    found = [f"{rate:.3g}{NBSP}GMAC/s in {dtype}" for dtype, rate in machine.get("gmacs_per_s", {}).items()]
    if machine.get("gbytes_per_s"):
        found.append(f"{machine['gbytes_per_s']:.3g}{NBSP}GB/s from memory")
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


_UNITS = {"ms": "ms", "mb": "MB", "points": "points"}


def run_by(engine: str | None, threads: int | None) -> str:
    """What runs an artifact: the engine and its threads, as far as they are known."""
    counted = f"{threads} thread{'s' if threads != 1 else ''}" if threads else ""
    return ", ".join(filter(None, (engine, counted)))


def limit(name: str, value: float) -> str:
    """A limit of a budget: ``latency_ms`` of 20 as ``latency 20 ms``."""
    axis, _, unit = name.partition("_")
    shown = "point" if (unit, value) == ("points", 1) else _UNITS.get(unit, unit)
    return f"{axis} {value:.4g}{NBSP}{shown}".strip()
