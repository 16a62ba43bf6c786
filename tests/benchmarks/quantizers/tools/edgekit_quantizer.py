"""edgekit's own quantizer on the float artifact of either format."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.quantizers.workspace import Workspace

if TYPE_CHECKING:
    from edgekit_converters.quantize.graph import FloatGraph

_LIBRARIES = {
    "tflite": ("ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated", "flatbuffers"),
    "onnx": ("onnx", "onnxruntime"),
}


def ready(
    workspace: Workspace,
    *,
    form: str,
    recipe: str = "int8",
    variant: str | None = None,
    part: str = "calibration",
    count: int | None = None,
    calibrate: bool = False,
) -> Callable[[Path], None]:
    """Import the quantizer and what it works with.

    Args:
        workspace: The network.
        form: ``tflite`` or ``onnx``.
        recipe: Named precision.
        variant: Entry of `ablation.VARIANTS` with the arguments for `quantize`; none of them by default.
        part: Calibration samples.
        count: How many of them; all by default.
        calibrate: Only collect ranges and write nothing.
    """
    from edgekit_converters.quantize import RECIPES, quantize
    from edgekit_converters.quantize.quantizer import calibrate as collect
    from tests.benchmarks.quantizers.ablation import VARIANTS

    float_path, samples = workspace.float_path(form), workspace.samples(form, part, count)
    arguments = VARIANTS[variant]() if variant else {}

    def run(out: Path) -> None:
        if calibrate:
            collect(_graph(float_path), RECIPES[recipe], samples)
        else:
            quantize(float_path, out, RECIPES[recipe], samples, **arguments)

    for library in _LIBRARIES[form]:
        import_module(library)
    return run


def _graph(path: Path) -> FloatGraph:
    from edgekit_converters.quantize.onnx_graph import OnnxGraph
    from edgekit_converters.quantize.tflite_graph import TFLiteGraph

    return TFLiteGraph(path) if path.suffix == ".tflite" else OnnxGraph(path)
