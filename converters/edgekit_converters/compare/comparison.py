"""Compare an artifact with its original: outputs on all samples, layers on a part of them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.engine import format_of
from edgekit.parity import Gate, Parity, ParityMeter
from edgekit_converters.compare.layers import LayerError
from edgekit_converters.compare.mismatch import diagnose, is_far_off
from edgekit_converters.compare.search import Diagnosis
from edgekit_converters.compare.subject import BoundFile, CompareRequest, Subject, opened_subject
from edgekit_converters.compare.tracing import Traced, trace_layers
from edgekit_converters.measure import meter_samples
from edgekit_converters.progress import Reporter, Silent, Stages

_FLOAT_GATE = Gate.for_recipe("fp32")


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        original: What the answers are compared with.
        artifact: File name.
        format: ``tflite`` or ``onnx``.
        origin: Where the samples come from.
        threshold: Relative L2 from which on a layer counts as wrong.
        outputs: The artifact's outputs against the original's, on all samples.
        conversion: The float artifact's outputs against the original's; ``None`` without one.
        traced: The layers; ``None`` where they could not be compared.
        diagnoses: What the search for a mismatch of the inputs found; empty when there was none.
        notes: What the user should know.
    """

    original: str
    artifact: str
    format: str
    origin: str
    threshold: float
    outputs: Parity
    conversion: Parity | None
    traced: Traced | None
    diagnoses: tuple[Diagnosis, ...]
    notes: tuple[str, ...]

    @property
    def layers(self) -> tuple[LayerError, ...]:
        """Aligned activations in the order they are computed."""
        return self.traced.layers if self.traced else ()

    @property
    def start(self) -> LayerError | None:
        """First layer whose error passes the threshold."""
        return next((layer for layer in self.layers if layer.relative_l2 > self.threshold), None)

    @property
    def conversion_failed(self) -> bool:
        """Whether already the float artifact answers otherwise than the original."""
        return self.conversion is not None and _FLOAT_GATE.failure(self.conversion) is not None

    @property
    def carriers(self) -> tuple[LayerError, ...]:
        """Layers that add an error, the one that moves the outputs most first."""
        adding = [layer for layer in self.layers if layer.own or (layer.own is None and layer.relative_l2)]
        return tuple(sorted(adding, key=_weight, reverse=True))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form. What is infinite (an artifact that gives NaN) is ``null`` there."""
        raw = {
            "original": self.original,
            "artifact": self.artifact,
            "format": self.format,
            "data": {"samples": self.outputs.samples, "origin": self.origin},
            "outputs": self.outputs.to_dict(),
            "conversion": self.conversion.to_dict() if self.conversion else None,
            "threshold": self.threshold,
            "error_starts_in": self.where(),
            "carriers": [layer.name for layer in self.carriers[:10]],
            "alignment": self.traced.alignment() if self.traced else None,
            "layers": [asdict(layer) for layer in self.layers],
            "diagnoses": [diagnosis.to_dict() for diagnosis in self.diagnoses],
            "notes": list(self.notes),
        }
        return {key: _finite(value) for key, value in raw.items()}

    def where(self) -> str | None:
        """Where the error starts: ``conversion``, the name of a layer, or ``None`` for nowhere."""
        if self.conversion_failed:
            return "conversion"
        return self.start.name if self.start else None


def _weight(layer: LayerError) -> tuple[float, float]:
    return (layer.at_output or 0.0, layer.relative_l2 if layer.own is None else layer.own)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def compare(request: CompareRequest, reporter: Reporter | None = None) -> Comparison:
    """Compare an artifact with its original.

    Memory stays that of one sample and one set of activations of each model, whatever the number of samples.

    Args:
        request: What to compare.
        reporter: What the user sees meanwhile.

    Raises:
        EdgeKitError: With the documented exit code.
    """
    stages = Stages(reporter or Silent())
    with (
        tempfile.TemporaryDirectory(prefix="edgekit-") as folder,
        opened_subject(request, stages, Path(folder)) as subject,
    ):
        outputs = _parity(subject, subject.artifact, stages, "run the artifact")
        conversion = traced = None
        if subject.reference is not None:
            conversion = subject.recorded
            if conversion is None:
                conversion = _parity(subject, subject.reference, stages, "run the float artifact")
            traced = trace_layers(subject, request.layer_samples, stages)
        diagnoses: tuple[Diagnosis, ...] = ()
        if request.diagnose or (request.diagnose is None and is_far_off(subject, outputs)):
            diagnoses = diagnose(subject, outputs, stages, all_of_it=bool(request.diagnose))
    return Comparison(
        original=subject.title,
        artifact=subject.artifact.path.name,
        format=format_of(subject.artifact.path),
        origin=subject.origin,
        threshold=request.threshold,
        outputs=outputs,
        conversion=conversion,
        traced=traced,
        diagnoses=diagnoses,
        notes=tuple(stages.notes),
    )


def _parity(subject: Subject, file: BoundFile, stages: Stages, title: str) -> Parity:
    meter = ParityMeter(subject.task.scorer())
    with file.opened(subject.task.spec) as engine, stages.stage(title, len(subject.samples)):
        meter_samples(meter, stages.each(subject.samples), engine)
    return meter.result()
