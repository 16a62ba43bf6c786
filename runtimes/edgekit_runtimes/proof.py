"""An engine that was built on this machine is tried on the golden samples before anybody gets an answer from it.

TensorRT compiles a model anew on every kind of board, choosing kernels by their speed there. What comes out was never
run before, so it is proved once, as ``edgekit verify`` does, and the proof is kept beside the engine. One that does not
pass is refused, always: an answer in seconds that is wrong is worth less than none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgekit.binding import BoundEngine
from edgekit.bundle import GOLDEN, Artifact, Bundle
from edgekit.engine import Engine
from edgekit.errors import QualityError


def prove(bundle: Bundle, artifact: Artifact, engine: Engine) -> None:
    """Compare a newly built engine's answers with the original's, unless that was done here before.

    Args:
        bundle: The bundle; its golden samples are read only when there is something to prove.
        artifact: What the engine was built from.
        engine: Any engine; most build nothing and are left alone.

    Raises:
        QualityError: Its answers differ by more than is allowed.
        BundleRefused: The golden samples cannot be read, or are not those of the bundle.
    """
    unproved: Path | None = getattr(engine, "unproved", None)
    if unproved is None:
        return
    from edgekit_runtimes.verify import difference, golden_parity  # most engines build nothing and need neither

    bundle.check_files([GOLDEN])
    inputs, reference = bundle.golden()
    here = golden_parity(
        bundle.spec, BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs), inputs, reference
    )
    found = difference(artifact, here, engine.name)
    if found is not None:
        raise QualityError(
            f"what {engine.name} built from {artifact.file} does not give the original's answers: {found}",
            expected="the original's answers on the golden samples, as near as edgekit verify asks",
            remedy="take another recipe (--recipe fp16 or fp32) or --engine onnxruntime:cuda",
        )
    partial = unproved.with_name(f"{unproved.name}.{os.getpid()}")
    partial.write_text(json.dumps({"engine": engine.name, "golden": here.to_dict()}) + "\n", encoding="utf-8")
    partial.replace(unproved)
