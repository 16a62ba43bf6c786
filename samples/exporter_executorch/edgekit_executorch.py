"""An exporter for ExecuTorch: a PyTorch model as a .pte file for XNNPACK, checked in ExecuTorch's own runtime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelRefused, QualityError
from edgekit.parity import ParityMeter

if TYPE_CHECKING:
    from edgekit_converters.sources import Source

LARGEST_RELATIVE_L2 = 1e-3


def export(source: Source, path: Path) -> str:
    """Write ``path`` and compare it with the original on one made-up input."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    model: Any = source
    if source.framework != "pytorch":
        raise ModelRefused(f"{source.name} is a {source.framework} model", expected="a PyTorch model")
    torch.manual_seed(0)
    examples = tuple(torch.rand_like(x) if x.is_floating_point() else x for x in model.examples(1))
    program = torch.export.export(model.exportable, examples)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(edge.to_executorch().buffer)

    method = Runtime.get().load_program(path).load_method("forward")
    answers = [answer.detach().numpy() for answer in method.execute(list(examples))]
    feeds = {tensor.name: x.numpy() for tensor, x in zip(source.inputs, examples, strict=True)}
    meter = ParityMeter(None)
    meter.update(source.run(feeds), dict(zip((tensor.name for tensor in source.outputs), answers, strict=True)))
    worst = meter.result().worst
    if not (math.isfinite(worst.relative_l2) and worst.relative_l2 <= LARGEST_RELATIVE_L2):
        raise QualityError(f"{worst.name} has relative L2 {worst.relative_l2:.3g}", expected=f"{LARGEST_RELATIVE_L2}")
    return f"{path.stat().st_size:,} bytes, largest relative L2 {worst.relative_l2:.2g} in ExecuTorch's runtime here"
