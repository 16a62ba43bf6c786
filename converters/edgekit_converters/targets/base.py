"""What every target is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgekit.errors import SpecRefused
from edgekit.spec import Layout, TensorSpec

_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)


@dataclass(frozen=True)
class ExportOptions:
    """How to write a float artifact.

    Attributes:
        layouts: Source input name -> layout wanted in the artifact. Image inputs not named take the format's
            default: NHWC in TFLite, the source's own in ONNX.
        dynamic_batch: Leave the batch dimension open where the format and the model allow it.
    """

    layouts: Mapping[str, Layout] = field(default_factory=dict)
    dynamic_batch: bool = True


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        inputs: Artifact tensor name of each source input, in the source's order.
        outputs: Artifact tensor name of each source output, in the source's order.
        notes: What the user should know about the artifact, one sentence each: a batch that had to be fixed, a
            transpose that could not be removed.
        layouts: Layout of each input in the artifact, in the source's order; ``None`` for one that is no image.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    layouts: tuple[Layout | None, ...] = ()


def artifact_layouts(
    inputs: Sequence[TensorSpec], options: ExportOptions, default: Layout | None
) -> tuple[Layout | None, ...]:
    """Layout of each input in the artifact.

    Args:
        inputs: The source's inputs.
        options: What the user asked for.
        default: Layout of image inputs that the options do not name; ``None`` keeps the source's.

    Raises:
        SpecRefused: The options name no input of the source, or one that is no image.
    """
    known = {spec.name: spec for spec in inputs}
    for name, wanted in options.layouts.items():
        if name not in known or known[name].layout is None:
            images = [spec.name for spec in inputs if spec.layout]
            raise SpecRefused(
                f"layout {wanted} for input {name!r}",
                expected=f"one of the image inputs {', '.join(images)}"
                if images
                else "no layout: no input is an image",
            )
    return tuple(spec.layout and options.layouts.get(spec.name, default or spec.layout) for spec in inputs)


def permutations(inputs: Sequence[TensorSpec], layouts: Sequence[Layout | None]) -> dict[str, tuple[int, ...]]:
    """Source input name -> axes that turn its array into the artifact's layout; inputs kept as they are left out."""
    return {
        spec.name: _TO_NHWC if layout == "NHWC" else _TO_NCHW
        for spec, layout in zip(inputs, layouts, strict=True)
        if layout != spec.layout
    }


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(axes.index(i) for i in range(len(axes)))
