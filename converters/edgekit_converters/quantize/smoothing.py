"""Smoothing: what a few channels of a transformer's activations have too much is taken over by the weights.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", arXiv
2211.10438: layers read ``x / s`` and their weights are multiplied by ``s``, one factor a channel. Where their one
strength for all layers would hurt some, here each activation gets the strength under which int8 moves the results of
the layers that read it least, measured on rows of real data. A multiplication is added to the graph where that pays;
in a transformer it runs in float, as all between the layers does.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.chosen import chosen_samples
from edgekit_converters.quantize.graph import FloatGraph, Layer
from edgekit_converters.quantize.rounding import as_matrix, from_matrix
from edgekit_converters.quantize.weights import WEIGHT_STEPS

STRENGTHS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
"""0 leaves the activations as they are, 1 leaves all to the weights."""
# Parts of the largest magnitude that the activation's range may end at.
_ENDS = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2)
_SAMPLES = 32
_ROWS_A_SAMPLE = 8
# Activations whose rows are held at once.
_HELD = 24
# The squared error of the results has to fall at least to this part.
_WORTH = 0.7
_LEAST = 1e-5


def smooth(graph: FloatGraph, samples: Samples) -> int:
    """Divide the inputs of dense layers by factors and multiply their weights; the answers stay.

    Args:
        graph: The float graph.
        samples: Calibration data; 32 of them are used, the same ones in any order.

    Returns:
        Number of activations that layers now read divided.
    """
    reading = _readers(graph)
    found = 0
    for name, rows in _rows(graph, samples, list(reading)):
        layers = reading[name]
        weights = [as_matrix(layer, graph.weight(layer.weight))[0] for layer in layers]
        factors = smoothing_factors(rows, weights)
        if factors is None:
            continue
        graph.divide_input(name, factors, [layer.name for layer in layers])
        for layer, matrix in zip(layers, weights, strict=True):
            shape = matrix.shape if layer.weight_axis == 0 else matrix.shape[::-1]
            graph.replace_weights({layer.weight: from_matrix(layer, (matrix * factors)[None], shape)})
        found += 1
    return found


def _readers(graph: FloatGraph) -> Mapping[str, Sequence[Layer]]:
    """Activation -> the dense layers that read it, where no other layer uses their weights."""
    uses = Counter(layer.weight for layer in graph.layers)
    reading: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        if layer.window is None and layer.input in graph.activations and graph.weight(layer.weight).ndim == 2:
            reading.setdefault(layer.input, []).append(layer)
    return {name: layers for name, layers in reading.items() if all(uses[layer.weight] == 1 for layer in layers)}


def _rows(graph: FloatGraph, samples: Samples, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """Some rows of each activation, ``(rows, channels)``."""
    chosen = chosen_samples(samples, _SAMPLES)
    for start in range(0, len(names), _HELD):
        held: dict[str, list[Array]] = {}
        for name, values in graph.visit_all(chosen, names[start : start + _HELD]):
            rows = values.reshape(-1, values.shape[-1])
            generator = np.random.default_rng(zlib.crc32(np.ascontiguousarray(rows).tobytes()))
            drawn = generator.choice(len(rows), min(len(rows), _ROWS_A_SAMPLE), replace=False)
            held.setdefault(name, []).append(rows[drawn])
        for name, parts in held.items():
            yield name, np.concatenate(parts)


def smoothing_factors(rows: Array, weights: Sequence[Array]) -> Array | None:
    """One factor a channel, float64.

    Args:
        rows: Rows of the activation, float32, ``(rows, channels)``.
        weights: Weights of the layers that read it, each ``(outputs, channels)``.

    Returns:
        ``None`` where they would not pay.
    """
    joined = np.concatenate(list(weights))
    peaks = np.abs(rows).max(0).astype(np.float64)
    heavy = np.maximum(np.abs(joined).max(0).astype(np.float64), _LEAST)
    peaks = np.maximum(peaks, max(_LEAST * float(peaks.max()), _LEAST))
    wanted = rows @ joined.T
    best, least, plain = None, np.inf, np.inf
    for strength in STRENGTHS:
        factors: Array = peaks**strength / heavy ** (1 - strength) if strength else np.ones_like(peaks)
        factors = factors / np.exp(np.log(factors).mean())
        error = _error(rows / factors.astype(np.float32), joined * factors.astype(np.float32), wanted)
        if not strength:
            plain = error
        if error < least:
            best, least = factors, error
    return best if least < _WORTH * plain else None


def _error(rows: Array, matrix: Array, wanted: Array) -> float:
    """Squared error of the results with both sides on an int8 grid, under the best range."""
    steps = np.maximum(np.abs(matrix).max(1, keepdims=True), 1e-12) / WEIGHT_STEPS
    rounded = (np.rint(matrix / steps) * steps).T
    low, high = min(float(rows.min()), 0.0), max(float(rows.max()), 0.0)
    errors = []
    for end in _ENDS:
        limit = end * max(high, -low)
        bottom, top = max(low, -limit), min(high, limit)
        step = max(top - bottom, 1e-12) / 255
        zero = np.rint(-bottom / step)
        stored = np.clip(np.rint(rows / np.float32(step)) + zero, 0, 255) - zero
        errors.append(float(np.square(stored * np.float32(step) @ rounded - wanted).sum()))
    return min(errors)
