"""ONNX Runtime's quantizer on the float ``.onnx``: QDQ, per channel, after its own pre-processing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.quantizers.workspace import Samples, Workspace


def ready(
    workspace: Workspace, *, method: str, part: str = "calibration", count: int | None = None, calibrate: bool = False
) -> Callable[[Path], None]:
    """Import the quantizer.

    Args:
        workspace: The network.
        method: ``MinMax`` or ``Percentile`` (static), or ``dynamic``.
        part: Calibration samples.
        count: How many of them; all by default.
        calibrate: Only collect ranges and write nothing.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        create_calibrator,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One pass over the samples, as the tool wants it."""

        def __init__(self, samples: Samples) -> None:
            self._left: Iterator[dict[str, Any]] = iter(samples)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    float_path = workspace.float_path("onnx")

    def run(out: Path) -> None:
        samples = workspace.samples("onnx", part, count)
        if calibrate:
            work = create_calibrator(float_path, calibrate_method=CalibrationMethod[method])
            work.collect_data(Reader(samples))
            work.compute_data()
            return
        with tempfile.TemporaryDirectory() as folder:
            cleaned = Path(folder) / "cleaned.onnx"
            # Its symbolic shape inference fails on transformers; its documentation then says to leave it out.
            quant_pre_process(float_path, cleaned, skip_symbolic_shape=workspace.attention)
            if method == "dynamic":
                quantize_dynamic(cleaned, out, per_channel=True)
                return
            # All operators, its default, give a file of a transformer that ONNX Runtime itself cannot load.
            quantize_static(
                cleaned,
                out,
                Reader(samples),
                QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm"] if workspace.attention else None,
                per_channel=True,
                calibrate_method=CalibrationMethod[method],
            )

    return run
