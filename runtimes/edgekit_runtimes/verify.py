"""Proof that this machine gives the original model's answers.

The golden inputs of a bundle go through each artifact on the local engine, in a child process; what comes out is
compared with the original's stored outputs. No framework is needed. How far an artifact may be from the original
is what was measured at conversion: a machine whose kernels round otherwise moves that a little, a machine that
computes wrongly (8-bit sums that saturate, a delegate in half precision) moves it far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.binding import BoundEngine
from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Array
from edgekit.errors import InputRefused, MissingExtra
from edgekit.isolate import EngineProcess
from edgekit.parity import DecisionScorer, OutputParity, Parity, ParityMeter
from edgekit.spec import Spec
from edgekit.tasks.classification import deciding_output

SLACK = 1.5
"""Allowed growth of the relative L2 measured at conversion."""

ONE_BIT = 2.0
"""Growth beyond that of an int8 artifact on TensorRT: its activations are signed, so that behind a ReLU one bit less
holds them, and rounding errors of activations double at most."""

_FLOORS = {"fp32": 1e-4, "fp16": 1e-2}
_INTEGER_FLOOR = 2e-2
_SIGNED_ONLY = "onnxruntime:tensorrt"
_SHIFTED_RECIPES = ("int8", "mixed")


@dataclass(frozen=True)
class Verdict:
    """What one artifact showed on this machine.

    Attributes:
        artifact: The artifact.
        engine: Name and version of the engine; empty when none could run it.
        here: Parity on the golden samples, here; ``None`` when it did not run.
        difference: The output that differs more than allowed, in words; ``None`` when all agree.
        skipped: Why it could not be tried; ``None`` when it was.
    """

    artifact: Artifact
    engine: str = ""
    here: Parity | None = None
    difference: str | None = None
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it ran and agrees."""
        return self.here is not None and self.difference is None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        verdict = "not run" if self.skipped else ("pass" if self.passed else "differs")
        return {
            "artifact": self.artifact.file,
            "recipe": self.artifact.recipe,
            "engine": self.engine,
            "here": _finite(self.here.to_dict()) if self.here else None,
            "at_conversion": _finite(self.artifact.golden.to_dict()),
            "verdict": verdict,
            "reason": self.skipped or self.difference,
        }


def verify_artifact(bundle: Bundle, artifact: Artifact, engine: str | None = None) -> Verdict:
    """Run the golden samples through one artifact.

    Args:
        bundle: The bundle, checked.
        artifact: One of its artifacts.
        engine: Name of the engine; by default the built-in one for the format.

    Raises:
        BundleRefused: The golden samples cannot be read.
    """
    inputs, reference = bundle.golden()
    try:
        with EngineProcess(bundle.file(artifact.file), engine) as runner:
            label = f"{runner.name} {runner.version}"
            here = golden_parity(
                bundle.spec, BoundEngine(runner, bundle.spec, artifact.inputs, artifact.outputs), inputs, reference
            )
    except MissingExtra as error:
        return Verdict(artifact, skipped=error.remedy or error.received)
    except InputRefused as error:
        return Verdict(artifact, difference=error.received)
    return Verdict(artifact, label, here, difference(artifact, here, runner.name))


def difference(artifact: Artifact, here: Parity, engine: str = "") -> str | None:
    """Return in words the output that is farthest beyond what is allowed, ``None`` when all are within.

    Args:
        artifact: The artifact.
        here: Parity on the golden samples, here.
        engine: Name of the engine that ran it.
    """
    recorded = {output.name: output for output in artifact.golden.outputs}
    beyond = [output for output in here.outputs if not _allowed(artifact, recorded.get(output.name), output, engine)]
    if not beyond:
        return None
    worst = max(beyond, key=lambda output: output.relative_l2)
    at_conversion = recorded[worst.name].relative_l2 if worst.name in recorded else math.nan
    return f"output {worst.name!r} has relative L2 {worst.relative_l2:.3g}, {at_conversion:.3g} at conversion"


def allowed_relative_l2(recipe: str, recorded: float, engine: str = "") -> float:
    """Return how far an output may be from the original's here, given how far it was at conversion."""
    signed = engine.startswith(_SIGNED_ONLY) and recipe in _SHIFTED_RECIPES
    return max(_FLOORS.get(recipe, _INTEGER_FLOOR), SLACK * (ONE_BIT if signed else 1.0) * recorded)


def _allowed(artifact: Artifact, recorded: OutputParity | None, here: OutputParity, engine: str) -> bool:
    if recorded is None:
        return False
    return here.relative_l2 <= allowed_relative_l2(artifact.recipe, recorded.relative_l2, engine)


def golden_parity(
    spec: Spec, runner: BoundEngine, inputs: Mapping[str, Array], reference: Mapping[str, Array]
) -> Parity:
    """Compare sample by sample, as the conversion did: some artifacts hold a batch of one."""
    # As the tasks decide, without opening one: the tokenizer of a text task is not needed for a proof.
    decides = deciding_output(spec)
    meter = ParityMeter(DecisionScorer(decides) if decides else None)
    for sample in range(len(next(iter(inputs.values())))):
        at = slice(sample, sample + 1)
        outputs = runner.run({name: array[at] for name, array in inputs.items()})
        meter.update({name: array[at] for name, array in reference.items()}, outputs)
    return meter.result()


def _finite(raw: Any) -> Any:
    """Write infinity as text: JSON has none."""
    if isinstance(raw, dict):
        return {key: _finite(value) for key, value in raw.items()}
    if isinstance(raw, (list, tuple)):
        return [_finite(value) for value in raw]
    return str(raw) if isinstance(raw, float) and not math.isfinite(raw) else raw
