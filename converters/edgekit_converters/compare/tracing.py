"""Watch both artifacts on the same samples and add up the error of every layer that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.binding import adapt_feeds
from edgekit.engine import Array
from edgekit.errors import ModelRefused
from edgekit_converters.compare.align import Alignment, align
from edgekit_converters.compare.layers import LayerError, LayerMeter
from edgekit_converters.compare.layerwise import Layerwise, perturbed, replaced
from edgekit_converters.compare.samples import spread
from edgekit_converters.compare.subject import Subject
from edgekit_converters.compare.trace import Trace, open_trace
from edgekit_converters.progress import Stages
from edgekit_converters.store import Stored

EFFECT_SAMPLES = 4
EFFECT_LAYERS = 64
_SATURATING = ("softmax", "sigmoid", "logistic")


@dataclass(frozen=True)
class Traced:
    """The layers of an artifact beside those of the float artifact.

    Attributes:
        layers: Aligned activations in the order they are computed, inputs first.
        found: How the two were aligned.
        samples: Samples that the sums are over.
    """

    layers: tuple[LayerError, ...]
    found: Alignment
    samples: int

    def alignment(self) -> dict[str, Any]:
        """The JSON form of how the two were aligned."""
        found = self.found
        return {
            "activations": len(self.layers), "by": found.ways, "layers_with_weights": found.layers,
            "layers_aligned": found.aligned, "samples": self.samples,
        }  # fmt: skip


def trace_layers(subject: Subject, limit: int, stages: Stages) -> Traced | None:
    """Compare the layers on at most ``limit`` samples.

    Args:
        subject: With a reference.
        limit: Samples.
        stages: Progress; gets a note where something could not be compared.

    Returns:
        ``None`` when nothing but the inputs could be aligned.
    """
    if subject.reference is None:
        return None
    picked = [subject.samples[place] for place in spread(len(subject.samples), limit)]
    with ExitStack() as stack:
        reference, artifact = (
            stack.enter_context(closing(open_trace(file.path))) for file in (subject.reference, subject.artifact)
        )
        pairs = zip(subject.reference.inputs, subject.artifact.inputs, strict=True)
        found = align(reference, artifact, [(left.tensor, right.tensor) for left, right in pairs])
        if not found.ways:
            stages.note("layers are not compared: no layer of the artifact could be aligned with the original's")
            return None
        work = _Work(subject, reference, artifact, found, stages)
        with stages.stage("compare the layers", len(picked)):
            for sample in stages.each(picked):
                work.add(sample)
        work.measure_effects([picked[place] for place in spread(len(picked), EFFECT_SAMPLES)])
    meters = [meter for meter in work.meters if meter.fits and meter.seen]
    if len(meters) < len(work.meters):
        stages.note(
            f"{len(work.meters) - len(meters)} aligned activations have other shapes or are no numbers: left out"
        )
    return Traced(tuple(meter.result() for meter in meters), found, len(picked))


class _Work:
    """Both artifacts, open, and the sums."""

    def __init__(self, subject: Subject, reference: Trace, artifact: Trace, found: Alignment, stages: Stages) -> None:
        assert subject.reference is not None  # noqa: S101  checked by trace_layers
        self.spec, self.stages = subject.task.spec, stages
        self.reference, self.artifact = reference, artifact
        self.bound = (subject.reference, subject.artifact)
        self.meters = [LayerMeter(pair, channels_last=reference.format == "tflite") for pair in found.pairs]
        self.tensors = [pair.reference.tensor for pair in found.pairs]
        self.names = {pair.reference.tensor: pair.reference.name for pair in found.pairs}
        self.edges = {info.name for info in reference.inputs}
        self.layerwise: Layerwise | None = None
        self.divisible = reference.is_float
        if artifact.factors and not set(artifact.factors) & {*self.names, *self.names.values()}:
            stages.note("channels were scaled before quantization, under names that the original does not have")
        if not self.divisible:
            stages.note("the original is quantized itself: what each layer adds cannot be told from what came in")

    def add(self, sample: Stored) -> None:
        """Run one sample through both."""
        feeds, wanted, given = self._watched(sample)
        own = self._own(feeds, wanted, given)
        for meter, tensor in zip(self.meters, self.tensors, strict=True):
            if tensor in wanted and tensor in given:
                layer = wanted[tensor] if tensor in self.edges else own.get(tensor)
                meter.add(wanted[tensor], given[tensor], layer, self._factors(self.artifact, tensor, wanted[tensor]))

    def _watched(self, sample: Stored) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Feeds of the float artifact, its activations, and the artifact's under the same names."""
        feeds, others = (adapt_feeds(sample.feeds, self.spec, file.inputs) for file in self.bound)
        wanted = self.reference.watch(feeds, self.tensors)
        names = {meter.pair.artifact.tensor: meter.pair.reference.tensor for meter in self.meters}
        found = self.artifact.watch(others, list(names))
        given = {names[tensor]: self._unscaled(self.artifact, names[tensor], v) for tensor, v in found.items()}
        wanted = {tensor: self._unscaled(self.reference, tensor, values) for tensor, values in wanted.items()}
        return feeds, wanted, given

    def _factors(self, trace: Trace, tensor: str, values: Array) -> Array | None:
        """What an artifact stores an activation's channels multiplied by."""
        found = trace.factors.get(tensor, trace.factors.get(self.names[tensor]))
        fits = found is not None and found.axis < values.ndim and values.shape[found.axis] == len(found.exponents)
        return found.along(values.ndim) if found is not None and fits else None

    def _unscaled(self, trace: Trace, tensor: str, values: Array) -> Array:
        factors = self._factors(trace, tensor, values)
        return values if factors is None else values / factors

    def _own(self, feeds: dict[str, Array], wanted: dict[str, Array], given: dict[str, Array]) -> dict[str, Array]:
        """What the float layers make of the artifact's activations."""
        shared = {tensor for tensor in wanted if tensor in given and given[tensor].shape == wanted[tensor].shape}
        if not self.divisible:
            return {}
        try:
            if self.layerwise is None:
                self.given = [tensor for tensor in self.tensors if tensor in shared and tensor not in self.edges]
                self.layerwise = replaced(self.reference, self.given)
            return self.layerwise.run({**feeds, **given}, self.given)
        except (ModelRefused, KeyError) as error:
            self.divisible = False
            self.stages.note(f"what each layer adds could not be told from what came in: {error}")
            return {}

    def measure_effects(self, samples: Sequence[Stored]) -> None:
        """Add the error of one layer at a time to the float artifact and see what it does to the outputs."""
        if not self.divisible:
            return
        adding = [m for m in self.meters if m.fits and m.own and math.isfinite(m.own)]
        chosen = sorted(adding, key=lambda meter: meter.own or 0.0, reverse=True)[:EFFECT_LAYERS]
        names = [meter.pair.reference.tensor for meter in chosen]
        outputs = tuple(dict.fromkeys(self._scores(binding.tensor) for binding in self.bound[0].outputs))
        probe = perturbed(self.reference, [name for name in names if name not in self.edges], outputs)
        moved = {name: _Moved() for name in names if name in probe.given or name in self.edges}
        try:
            with self.stages.stage("weigh the layers", len(samples)):
                for sample in self.stages.each(samples):
                    self._perturb(probe, sample, outputs, moved)
        except (ModelRefused, KeyError) as error:
            self.stages.note(f"what the layers do to the outputs was not measured: {error}")
            return
        for meter in chosen:
            name = meter.pair.reference.tensor
            if name in outputs:
                meter.outputs_moved = meter.own
            elif name in moved:
                meter.outputs_moved = moved[name].relative()

    def _scores(self, output: str) -> str:
        """An output, or what its softmax is taken of: where a network is sure of itself, a softmax hides all errors."""
        found = {activation.tensor: activation for activation in self.reference.activations}.get(output)
        if found is None or found.operator.lower() not in _SATURATING or len(found.sources) != 1:
            return output
        return found.sources[0]

    def _perturb(self, probe: Layerwise, sample: Stored, outputs: tuple[str, ...], moved: dict[str, _Moved]) -> None:
        feeds, wanted, given = self._watched(sample)
        own = self._own(feeds, wanted, given)
        errors = {name: given[name] - (feeds[name] if name in self.edges else own[name]) for name in moved}
        none = {name: np.zeros_like(errors[name]) for name in probe.given}
        plain = probe.run({**feeds, **none}, outputs)
        for name, meter in moved.items():
            changed = feeds[name] + errors[name] if name in self.edges else errors[name]
            meter.add(plain, probe.run({**feeds, **none, name: changed}, outputs))


class _Moved:
    """How far the outputs move, over all samples."""

    def __init__(self) -> None:
        self._error: dict[str, float] = {}
        self._plain: dict[str, float] = {}

    def add(self, plain: dict[str, Array], changed: dict[str, Array]) -> None:
        for name, values in plain.items():
            if values.dtype.kind == "f":
                want, got = values.astype(np.float64).ravel(), changed[name].astype(np.float64).ravel()
                self._error[name] = self._error.get(name, 0.0) + float(np.square(got - want).sum())
                self._plain[name] = self._plain.get(name, 0.0) + float(np.square(want).sum())

    def relative(self) -> float:
        """Relative L2 of the output that moves most."""
        return max((math.sqrt(self._error[n] / self._plain[n]) for n in self._error if self._plain[n]), default=0.0)
