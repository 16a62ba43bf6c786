"""From a float artifact to one in a recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgekit.atomic import atomic_file
from edgekit.engine import Array, Feeds, format_of
from edgekit.errors import DataRefused, UsageError
from edgekit_converters.quantize import onnx_quantizer, tflite_quantizer
from edgekit_converters.quantize.calibration import CalibrationSummary, Samples, check_samples
from edgekit_converters.quantize.channel_record import ChannelFactors
from edgekit_converters.quantize.chosen import chosen_samples, divided
from edgekit_converters.quantize.effort import Effort, Parts, parts_of
from edgekit_converters.quantize.equalization import equalize
from edgekit_converters.quantize.final_bias import correct_results, final_layers, mean_results
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.mixed import Accept, choose_mixed
from edgekit_converters.quantize.onnx_graph import OPSET_INT16, OPSET_PER_CHANNEL, OnnxGraph, opset_of
from edgekit_converters.quantize.policy import (
    NOTHING_IN_FLOAT,
    Placement,
    place,
    shared_grids,
    uneven_concatenations,
    with_float_results,
)
from edgekit_converters.quantize.range_search import JUDGED, search_ranges
from edgekit_converters.quantize.ranges import Range, RangeObserver, RangeRule
from edgekit_converters.quantize.recipes import IoType, Recipe
from edgekit_converters.quantize.rounding import compensate
from edgekit_converters.quantize.sensitivity import unbearable_results
from edgekit_converters.quantize.smoothing import smooth
from edgekit_converters.quantize.tflite_graph import TFLiteGraph
from edgekit_converters.quantize.weights import weight_scales

MEAN_SAMPLES = 32
"""Samples that biases are corrected on where weights are rounded to nearest."""
HEADROOM = 1.5
"""16-bit grids have steps to spare: values beyond those seen in calibration are not clipped at once."""


@dataclass(frozen=True)
class QuantizeReport:
    """How an artifact was quantized.

    Attributes:
        recipe: Name of the recipe.
        io: Type of inputs and outputs, ``float`` or ``int8``.
        calibration: What the check of the calibration data found; ``None`` where none is needed.
        rule: Range rule of the activations inside the model, for the user; ``None`` without calibration.
        notes: What the user should know: what stayed in float, warnings about the data.
    """

    recipe: str
    io: IoType
    calibration: CalibrationSummary | None
    rule: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a static recipe needs beside the graph.

    Attributes:
        ranges: Range of every activation that may be quantized.
        placement: What stays in float.
        calibration: What the check of the samples found.
        rule: Name of the range rule applied inside the model.
        scales: Name of a weight -> scale of each output channel, float64.
        notes: For the user.
        factors: Activation -> what equalization multiplied its channels by.
    """

    ranges: Mapping[str, Range]
    placement: Placement
    calibration: CalibrationSummary
    rule: str
    scales: Mapping[str, Array]
    notes: tuple[str, ...]
    factors: Mapping[str, ChannelFactors] = field(default_factory=dict)


def quantize(
    float_path: Path,
    out: Path,
    recipe: Recipe,
    samples: Samples | None,
    *,
    io: IoType = "float",
    rule: RangeRule | None = None,
    effort: Effort = "normal",
    parts: Parts | None = None,
    accept: Accept | None = None,
    threads: int | None = None,
) -> QuantizeReport:
    """Write a float ``.tflite`` or ``.onnx`` artifact in a recipe.

    Args:
        float_path: The float artifact.
        out: File to write, of the same format; replaced atomically.
        recipe: Any but ``fp32``.
        samples: Calibration data: artifact tensor name -> array with a batch of one. Gone through several times.
            Static recipes need it; ``dynamic-int8`` rounds its weights better with it.
        io: ``int8`` makes inputs and outputs integers, for microcontrollers and accelerators.
        rule: One rule for all ranges inside the model; left out, they are searched for. Inputs, outputs and 16-bit
            activations keep all values.
        effort: ``low`` takes a few seconds and rounds weights to nearest; ``normal`` spreads their errors.
        parts: What is done, part by part, in place of an effort.
        accept: For ``mixed``: whether an artifact, given by its path, is close enough.
        threads: Threads of the engine that collects ranges.

    Raises:
        UsageError: ``fp32``, or ``io="int8"`` with a recipe whose activations are not int8.
        DataRefused: A static recipe without samples, or samples that cannot calibrate.
        ModelRefused: The float artifact cannot be read.
        QualityError: The model cannot be quantized.
    """
    _check_request(float_path, out, recipe, samples, io)
    if recipe.name == "mixed" and accept is None:
        raise UsageError("recipe mixed without a judge", expected="accept: a function of the artifact's path")
    wide = recipe.activation_bits == 16
    if format_of(float_path) == "tflite":
        graph: FloatGraph = TFLiteGraph(float_path, threads=threads)
    else:
        graph = OnnxGraph(float_path, opset=OPSET_INT16 if wide else OPSET_PER_CHANNEL, threads=threads)
    with closing(graph):
        plan = None
        if samples is not None and recipe.weight_bits == 8:
            chosen = parts or parts_of(effort)
            plan = calibrate(graph, recipe, samples, io=io, rule=rule, parts=chosen)
            original = _stored_in_int8(graph, plan) if accept is not None else {}
            _round_weights(graph, recipe, samples, plan, chosen)
        if plan is not None and samples is not None and accept is not None:
            plan = _mixed(graph, recipe, samples, plan, original=original, accept=accept, suffix=out.suffix)
        data = _written(graph, recipe, io, plan)
        notes = (*(plan.notes if plan else ()), *_format_notes(graph, recipe))
    with atomic_file(out) as temporary:
        temporary.write_bytes(data)
    rule_used = plan.rule if plan and recipe.static else None
    return QuantizeReport(recipe.name, io, plan.calibration if plan else None, rule_used, notes)


def _round_weights(graph: FloatGraph, recipe: Recipe, samples: Samples, plan: Plan, parts: Parts) -> None:
    """Round weights and correct biases; ``mixed`` starts from what ``int8`` would be."""
    if not (parts.spread or parts.correct):
        return
    corrected = parts.correct and recipe.static and recipe.activation_bits == 8
    final = final_layers(graph, plan.placement) if corrected else []
    some = samples if parts.spread else chosen_samples(samples, MEAN_SAMPLES)  # means need fewer than second moments
    wanted = mean_results(graph, some, final)[0] if final else {}
    compensate(graph, some, plan.scales, spread=parts.spread, correct=parts.correct)
    if final:
        apart = {*graph.outputs, *graph.fused}
        rounded = {name: span for name, span in plan.ranges.items() if name not in apart}
        correct_results(graph, some, rounded, final, wanted)


def _stored_in_int8(graph: FloatGraph, plan: Plan) -> dict[str, Array]:
    """Weights and biases that rounding changes."""
    names = {name for layer in graph.layers if layer.weight in plan.scales for name in (layer.weight, layer.bias)}
    return {name: graph.weight(name) for name in names if name is not None}


def _mixed(
    graph: FloatGraph,
    recipe: Recipe,
    samples: Samples,
    plan: Plan,
    *,
    original: dict[str, Array],
    accept: Accept,
    suffix: str,
) -> Plan:
    """The plan with the fewest layers in float that is accepted; the graph holds its weights."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder, f"mixed{suffix}")

        def accepted(placement: Placement) -> bool:
            path.write_bytes(_written(graph, recipe, "float", replace(plan, placement=placement)))
            return accept(path)

        chosen = choose_mixed(graph, samples, plan.ranges, plan.placement, original=original, accepted=accepted)
    return replace(plan, placement=chosen.placement, notes=(*plan.notes, chosen.note))


def _written(graph: FloatGraph, recipe: Recipe, io: IoType, plan: Plan | None) -> bytes:
    """The artifact's bytes."""
    if isinstance(graph, TFLiteGraph):
        if plan is None or not recipe.static:
            return tflite_quantizer.quantize_weights(graph, recipe)
        return tflite_quantizer.quantize_static(
            graph, recipe, io, plan.ranges, placement=plan.placement, scales=plan.scales, factors=plan.factors
        )
    if not isinstance(graph, OnnxGraph):
        raise TypeError(type(graph))
    if plan is not None and recipe.static:
        model = onnx_quantizer.quantize_static(
            graph, recipe, io, plan.ranges, placement=plan.placement, scales=plan.scales, factors=plan.factors
        )
    elif recipe.weight_bits == 16:
        model = onnx_quantizer.quantize_half(graph)
    else:
        model = onnx_quantizer.quantize_dynamic(graph)
    return bytes(model.SerializeToString())


def _check_request(float_path: Path, out: Path, recipe: Recipe, samples: Samples | None, io: IoType) -> None:
    if recipe.name == "fp32":
        raise UsageError("recipe fp32: the float artifact itself", expected="a recipe that quantizes")
    if format_of(float_path) != format_of(out):
        raise UsageError(f"{float_path.name} to {out.name}", expected="the same format")
    if io not in ("float", "int8"):
        raise UsageError(f"io {io!r}", expected="float or int8")
    if io == "int8" and recipe.activation_bits != 8:
        raise UsageError(
            f"int8 inputs and outputs with recipe {recipe.name}",
            expected="recipe int8",
            remedy="use --recipe int8, or leave --io out",
        )
    if recipe.static and samples is None:
        raise DataRefused(
            f"recipe {recipe.name} without calibration data",
            expected="about 100 real inputs",
            remedy="pass --calibration, or use the recipe dynamic-int8",
        )


def _format_notes(graph: FloatGraph, recipe: Recipe) -> tuple[str, ...]:
    if not isinstance(graph, OnnxGraph):
        return ()
    if recipe.weight_bits == 16:
        return ("float16 halves the file; a CPU without float16 arithmetic computes it in float32",)
    if recipe.activation_bits != 16:
        return ()
    notes = ["ONNX Runtime's CPU provider computes 16-bit activations in float: no faster than fp32 there"]
    if opset_of(graph.model) < OPSET_INT16:
        notes.append(f"opset {opset_of(graph.model)} has no 16-bit QuantizeLinear: com.microsoft operators are used")
    return tuple(notes)


def calibrate(
    graph: FloatGraph,
    recipe: Recipe,
    samples: Samples,
    *,
    io: IoType = "float",
    rule: RangeRule | None = None,
    parts: Parts | None = None,
) -> Plan:
    """Check the samples; for a static recipe, run the float model on each and choose ranges.

    Memory is that of a quarter of a sample's activations, at least 8 MiB, and 64 KiB a tensor, whatever the number
    of samples.

    Args:
        graph: The float graph; equalization changes its weights, not its answers.
        recipe: A recipe with int8 weights.
        samples: Calibration data.
        io: Type of the artifact's inputs and outputs.
        rule: One rule for all ranges; ``None`` searches.
        parts: What is done; everything by default.

    Raises:
        DataRefused: Samples that cannot calibrate.
    """
    parts = parts or Parts()
    summary = check_samples(samples, graph.inputs)
    if not recipe.static:
        return Plan({}, NOTHING_IN_FLOAT, summary, "none", _scales(graph, {}, NOTHING_IN_FLOAT, 256), summary.notes)
    placement = place(graph, io, activation_bits=recipe.activation_bits)
    if placement.attention and parts.smooth and recipe.activation_bits == 8:
        placement = _smoothed(graph, samples, io) or placement
    factors = equalize(graph, samples) if parts.equalize and recipe.activation_bits == 8 else {}
    ranges, used = _ranges(graph, recipe, samples, placement=placement, rule=rule, parts=parts)
    if placement.attention and io == "float" and isinstance(graph, TFLiteGraph):
        placement = with_float_results(placement, unbearable_results(graph, samples, ranges, placement))
    notes = (*summary.notes, *placement.notes, *uneven_concatenations(graph, ranges, placement))
    scales = _scales(graph, ranges, placement, 2**recipe.activation_bits)
    return Plan(ranges, placement, summary, used, scales, notes, factors)


def _smoothed(graph: FloatGraph, samples: Samples, io: IoType) -> Placement | None:
    """Where integers end once the graph is smoothed; ``None`` where that would not pay."""
    count = smooth(graph, samples)
    if not count:
        return None
    placement = place(graph, io)
    note = f"loud channels of {count} activations are divided by factors that the weights behind them take over"
    return replace(placement, notes=(*placement.notes, note))


def _ranges(
    graph: FloatGraph, recipe: Recipe, samples: Samples, *, placement: Placement, rule: RangeRule | None, parts: Parts
) -> tuple[dict[str, Range], str]:
    """Range of every activation that may be quantized, and the name of the rule."""
    found, used = _chosen_ranges(graph, recipe, samples, placement=placement, rule=rule, parts=parts)
    shared = shared_grids(graph, placement)
    return found | {name: found[source] for name, source in shared.items() if source in found}, used


def _chosen_ranges(
    graph: FloatGraph, recipe: Recipe, samples: Samples, *, placement: Placement, rule: RangeRule | None, parts: Parts
) -> tuple[dict[str, Range], str]:
    watched = _watched(graph, placement)
    if recipe.activation_bits == 8 and rule is None and parts.search and not placement.attention:
        return _searched(graph, samples, watched, placement, parts)
    observer = _observed(graph, samples, watched)
    whole = _edges(graph, placement, observer)
    if recipe.activation_bits == 16:
        every = observer.ranges(rule or "minmax", levels=2**16) | whole
        return {name: Range(HEADROOM * span.low, HEADROOM * span.high) for name, span in every.items()}, "minmax"
    used = rule or range_rule(placement)
    return observer.ranges(used) | whole, used


def _searched(
    graph: FloatGraph, samples: Samples, watched: Sequence[str], placement: Placement, parts: Parts
) -> tuple[dict[str, Range], str]:
    """Ranges by what they do to the answers, and the name of the rule that is best for all.

    A clipped outlier is not found again in later layers, so ranges found on a few samples are applied while all
    samples are observed (MobileNetV2, activations rounded: relative L2 0.068 instead of 0.075).
    """
    judged, others = divided(samples, JUDGED)
    if parts.settle:
        graph.simulate(_first_ranges(graph, judged, watched, placement))
    observer = _observed(graph, samples if others is None else others, watched)
    every = observer
    if others is not None:
        every = _observed(graph, judged, watched)
        every.merge(observer)
    whole = _edges(graph, placement, every)
    inner, fixed = _inner(graph, placement, every)
    found = search_ranges(graph, judged, observer, inner, fixed, parts=parts.search_parts, final=every)
    return {**found.ranges, **whole}, found.rule


def _first_ranges(graph: FloatGraph, judged: Samples, watched: Sequence[str], placement: Placement) -> dict[str, Range]:
    """One rule for all, found on a few samples."""
    observer = _observed(graph, judged, watched)
    inner, fixed = _inner(graph, placement, observer)
    return {**fixed, **search_ranges(graph, judged, observer, inner, fixed, parts=1).ranges}


def _observed(graph: FloatGraph, samples: Iterable[Feeds], names: Sequence[str]) -> RangeObserver:
    observer = RangeObserver()
    for name, values in graph.visit_all(samples, names):
        observer.add({name: values})
    return observer


def _edges(graph: FloatGraph, placement: Placement, observer: RangeObserver) -> dict[str, Range]:
    """Ranges of what is not searched for: the edges of the integer part, and what is never rounded."""
    edges = {*graph.outputs, *(info.name for info in graph.inputs), *_read_in_float(graph, placement)}
    edges |= {source for name, source in shared_grids(graph, placement).items() if name in edges}
    found = {name: seen.range("minmax") for name, seen in observer.tensors.items() if name in edges}
    return found | {name: observer.tensors[name].range("percentile") for name in graph.fused & {*observer.tensors}}


def _inner(graph: FloatGraph, placement: Placement, observer: RangeObserver) -> tuple[list[str], dict[str, Range]]:
    """Activations to search ranges for, and the ranges of others that are rounded."""
    edges = _edges(graph, placement, observer)
    passed = {*graph.fused, *shared_grids(graph, placement)}
    inner = [name for name in graph.activations if name in observer.tensors and name not in {*edges, *passed}]
    return inner, {name: edges[name] for name in edges if name not in graph.outputs and name not in passed}


def _scales(graph: FloatGraph, ranges: Mapping[str, Range], placement: Placement, levels: int) -> dict[str, Array]:
    """Scales of all weights that are stored in int8; layers that share a weight share the larger scale."""
    found: dict[str, Array] = {}
    for layer in graph.layers:
        if layer.name not in placement.float_nodes:
            scales = weight_scales(graph, layer, ranges, levels=levels)
            found[layer.weight] = np.maximum(scales, found.get(layer.weight, 0.0))
    return found


def range_rule(placement: Placement) -> RangeRule:
    """The rule where ranges are not searched for.

    Convolutional networks: the middle 99.99 %. Transformers: least squares, since a few channels with large values
    carry meaning there (MiniLM: relative L2 0.10 instead of 0.26).
    """
    return "mse" if placement.attention else "percentile"


def _watched(graph: FloatGraph, placement: Placement) -> list[str]:
    """Activations that touch a node which may be quantized."""
    touched = {
        name for node in graph.nodes if node.name not in placement.float_nodes for name in (*node.inputs, *node.outputs)
    }
    return [name for name in graph.activations if name in touched]


def _read_in_float(graph: FloatGraph, placement: Placement) -> set[str]:
    """Activations that the float tail reads: rare high scores decide there and must not be clipped."""
    if placement.attention:
        return set()
    return {name for node in graph.nodes if node.name in placement.float_nodes for name in node.inputs}
