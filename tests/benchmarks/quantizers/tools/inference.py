"""Plain inference of the float artifact over the samples: what calibration's memory is held against."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.benchmarks.quantizers.workspace import Workspace


def ready(workspace: Workspace, *, form: str, part: str, count: int) -> Callable[[Path], None]:
    """Import the engine and its library."""
    from edgekit.engine import engine_class, open_engine

    engine_class({"tflite": "litert", "onnx": "onnxruntime"}[form])
    import_module({"tflite": "ai_edge_litert.interpreter", "onnx": "onnxruntime"}[form])

    def run(_: Path) -> None:
        with open_engine(workspace.float_path(form)) as engine:
            for sample in workspace.samples(form, part, count):
                engine.run(sample)

    return run
