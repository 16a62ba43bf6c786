"""Whether an artifact is what its name says: types, share of int8, sane scales."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.engine import Array, format_of
from edgekit.errors import QualityError
from edgekit_converters.quantize.recipes import IoType, Recipe

# Scales beyond these come from broken calibration, not from a model.
_SMALLEST, _LARGEST = 1e-36, 1e10
_INTEGERS = ("int8", "uint8", "int16", "uint16")


@dataclass(frozen=True)
class Quantized:
    """One quantized tensor.

    Attributes:
        name: Name.
        dtype: Stored type.
        scales: One, or one a channel.
        zero_points: As many, or none for all zero.
    """

    name: str
    dtype: str
    scales: Array
    zero_points: Array


@dataclass(frozen=True)
class Contents:
    """What an artifact holds, in the terms of the check.

    Attributes:
        inputs: Name and type of the inputs.
        outputs: Name and type of the outputs.
        quantized: All tensors with a scale.
        weights: Number of weights of multiplying operators, by the type they are stored in.
        integer_nodes: Multiplying operators that read integer activations.
        nodes: Multiplying operators.
    """

    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    quantized: tuple[Quantized, ...]
    weights: dict[str, int]
    integer_nodes: int
    nodes: int


@dataclass(frozen=True)
class ArtifactCheck:
    """What the check found.

    Attributes:
        inputs: Name and type of the inputs.
        outputs: Name and type of the outputs.
        weight_share: Part of the weights stored in the recipe's type, 0..1.
        integer_share: Part of the multiplying operators that compute on integer activations, 0..1.
        notes: For the user.
    """

    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    weight_share: float
    integer_share: float
    notes: tuple[str, ...]


def check_artifact(path: Path, recipe: Recipe, io: IoType = "float") -> ArtifactCheck:
    """Open an artifact without running it and compare it with what was asked for.

    Args:
        path: A ``.tflite`` or ``.onnx`` file.
        recipe: What it should be.
        io: Type its inputs and outputs should have.

    Raises:
        ModelRefused: The file cannot be read.
        QualityError: A scale that is not a positive finite number (LiteRT crashes on NaN), a zero point outside
            its type, inputs or outputs of the wrong type, or nothing in it has the recipe's precision.
    """
    from edgekit_converters.quantize.contents import onnx_contents, tflite_contents

    contents = tflite_contents(path) if format_of(path) == "tflite" else onnx_contents(path)
    for tensor in contents.quantized:
        _check_scales(path.name, tensor)
    _check_edges(path.name, contents, io)
    wanted = {32: ("float32", "float64"), 16: ("float16",), 8: ("int8", "uint8")}[recipe.weight_bits]
    total = sum(contents.weights.values())
    share = sum(contents.weights.get(dtype, 0) for dtype in wanted) / total if total else 0.0
    integer = contents.integer_nodes / contents.nodes if contents.nodes else 0.0
    _check_precision(path.name, recipe, contents, share, integer)
    notes = tuple(_notes(recipe, share, integer))
    return ArtifactCheck(contents.inputs, contents.outputs, share, integer, notes)


def _check_scales(file: str, tensor: Quantized) -> None:
    scales = np.asarray(tensor.scales, np.float64)
    bad = ~(np.isfinite(scales) & (scales > _SMALLEST) & (scales < _LARGEST))
    if bad.any():
        raise QualityError(
            f"{file}: tensor {tensor.name!r} has the scale {scales[bad][0]:g}",
            expected="a positive, finite scale",
            remedy="check the calibration data for NaN, infinite or constant values",
        )
    limits = np.iinfo(tensor.dtype)
    zeros = np.asarray(tensor.zero_points)
    if zeros.size and (zeros.min() < limits.min or zeros.max() > limits.max):
        raise QualityError(
            f"{file}: tensor {tensor.name!r} has the zero point {zeros.min()}..{zeros.max()}",
            expected=f"within {tensor.dtype}",
            remedy="quantize again: the file is damaged",
        )


def _check_edges(file: str, contents: Contents, io: IoType) -> None:
    for kind, edges in (("input", contents.inputs), ("output", contents.outputs)):
        for name, dtype in edges:
            wrong = dtype in _INTEGERS if io == "float" else dtype.startswith("float")
            if wrong:
                raise QualityError(f"{file}: {kind} {name!r} is {dtype}", expected=f"{io} inputs and outputs")


def _check_precision(file: str, recipe: Recipe, contents: Contents, share: float, integer: float) -> None:
    """Faults 5 and 8: a float model under an int8 name."""
    if recipe.name == "fp32":
        return
    stored = ", ".join(f"{count} in {dtype}" for dtype, count in sorted(contents.weights.items())) or "none"
    if share == 0:
        raise QualityError(
            f"{file}: recipe {recipe.name} asked for, but no weight is stored in it; weights: {stored}",
            expected=recipe.summary,
            remedy="the model has no layers that this recipe covers: use fp16 or fp32",
        )
    if recipe.static and integer == 0:
        raise QualityError(
            f"{file}: recipe {recipe.name} asked for, but every layer computes in float",
            expected=recipe.summary,
            remedy="use dynamic-int8, which keeps activations in float",
        )


def _notes(recipe: Recipe, share: float, integer: float) -> Iterable[str]:
    if recipe.name == "fp32":
        return
    if share < 0.9:
        kind = "float16" if recipe.weight_bits == 16 else "int8"
        yield f"{share:.0%} of the weights are stored in {kind}, the rest in float"
    if recipe.static and integer < 0.9:
        yield f"{integer:.0%} of the layers with weights compute on integer activations, the rest in float"
