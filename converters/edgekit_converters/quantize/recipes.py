"""The named precisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.errors import UsageError

IoType = Literal["float", "int8"]


@dataclass(frozen=True)
class Recipe:
    """A named precision.

    Attributes:
        name: Name on the command line, in file names and in the manifest.
        weight_bits: Bits of a weight.
        activation_bits: Bits of an activation; 32 and 16-bit float where ``static`` is false.
        static: Whether activations are quantized with ranges from calibration data.
        summary: One line for help texts.
    """

    name: str
    weight_bits: int
    activation_bits: int
    static: bool
    summary: str


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", 32, 32, False, "everything in float32"),
        Recipe("fp16", 16, 32, False, "weights in float16, half the size"),
        Recipe("dynamic-int8", 8, 32, False, "weights int8, activations quantized on the fly; no calibration data"),
        Recipe("int8", 8, 8, True, "weights and activations int8; needs calibration data"),
        Recipe("mixed", 8, 8, True, "int8, with as few layers in float as --max-drop allows; needs calibration data"),
        Recipe("int8-int16", 8, 16, True, "weights int8, activations int16; needs calibration data"),
    )
}


def recipe_named(name: str) -> Recipe:
    """Return a recipe. Raises UsageError for an unknown name."""
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r}", expected=", ".join(RECIPES))
    return RECIPES[name]
