"""From a float artifact to fp16, dynamic-int8, int8 and int8-int16, for TFLite and ONNX alike.

``calibration`` checks the data, ``ranges`` turns activations into ranges, ``weights`` chooses weight scales,
``policy`` what stays in float; ``tflite_quantizer`` and ``onnx_quantizer`` write the artifact, ``check`` reads it
back.
"""

from edgekit_converters.quantize.calibration import CalibrationSummary, Samples, check_samples
from edgekit_converters.quantize.check import ArtifactCheck, check_artifact
from edgekit_converters.quantize.quantizer import QuantizeReport, quantize
from edgekit_converters.quantize.recipes import RECIPES, IoType, Recipe, recipe_named

__all__ = [
    "RECIPES",
    "ArtifactCheck",
    "CalibrationSummary",
    "IoType",
    "QuantizeReport",
    "Recipe",
    "Samples",
    "check_artifact",
    "check_samples",
    "quantize",
    "recipe_named",
]
