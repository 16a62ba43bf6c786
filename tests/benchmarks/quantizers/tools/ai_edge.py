"""ai-edge-quantizer with its own recipes and its own calibration, on the float ``.tflite``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.quantizers.workspace import Workspace


class _Signature:
    """Samples under a signature's input names."""

    def __init__(self, workspace: Workspace, names: dict[str, str]) -> None:
        self._samples, self._names = workspace.samples("tflite"), names

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ({self._names[tensor]: array for tensor, array in sample.items()} for sample in self._samples)


def ready(workspace: Workspace, *, recipe: str) -> Callable[[Path], None]:
    """Import the quantizer and look up the names of the signature's inputs.

    Args:
        workspace: The network.
        recipe: ``static`` or ``dynamic``.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    path = str(workspace.float_path("tflite"))
    interpreter = Interpreter(path)
    (key, signature), *_ = interpreter._get_full_signature_list().items()
    tensors = {detail["index"]: detail["name"] for detail in interpreter.get_input_details()}
    names = {tensors[index]: name for name, index in signature["inputs"].items()}
    del interpreter
    chosen = recipes.static_wi8_ai8() if recipe == "static" else recipes.dynamic_wi8_afp32()

    def run(out: Path) -> None:
        work = quantizer.Quantizer(path, chosen)
        ranges = None
        if recipe == "static":
            ranges = work.calibrate({key: _Signature(workspace, names)}, num_threads=os.cpu_count() or 1)
        out.write_bytes(work.quantize(ranges, enable_progress_report=False).quantized_model)

    return run
