"""NNCF's post-training quantization on the float ``.onnx``; runs in the peers' own environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.quantizers.workspace import Workspace


def ready(workspace: Workspace, *, fast: bool) -> Callable[[Path], None]:
    """Import NNCF and read the model.

    Args:
        workspace: The network.
        fast: NNCF's default, fast bias correction; else the full one.
    """
    os.environ["NNCF_CI"] = "1"  # keeps its telemetry at home
    import nncf  # type: ignore[import-not-found]
    import onnx

    model = onnx.load(workspace.float_path("onnx"))
    samples = workspace.samples("onnx")
    kind = nncf.ModelType.TRANSFORMER if workspace.attention else None

    def run(out: Path) -> None:
        made = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=kind,
            fast_bias_correction=fast,
        )
        onnx.save(made, out)

    return run
