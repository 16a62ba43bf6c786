"""What a spec says of an object detector: its head, its thresholds, which output is which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edgekit.errors import SpecRefused
from edgekit.spec import Spec, TensorSpec

HeadName = Literal["yolov5", "yolov8", "yolov10", "fastestdet", "fcos", "ssd", "ssd-postprocessed", "detr"]
Activation = Literal["none", "sigmoid", "softmax"]
AnchorStyle = Literal["torchvision", "tensorflow"]
MetricName = Literal["mAP50", "mAP50-95"]

Shape = Sequence[int | None]


@dataclass(frozen=True)
class DetectionOptions:
    """The ``[options]`` of an object detector.

    Attributes:
        head: What the outputs mean:
            ``yolov5`` one output ``(N, 5 + C)``: box, objectness, classes (also v7);
            ``yolov8`` one output ``(4 + C, N)`` or ``(N, 4 + C)`` without objectness (also v9, v11), or boxes and
            scores as two outputs;
            ``yolov10`` one output ``(N, 6)``: corners, score, class, already without duplicates;
            ``fastestdet`` one feature map ``(5 + C, H, W)`` or ``(H, W, 5 + C)``;
            ``fcos`` distances to the four sides, class logits and maybe centerness for each location;
            ``ssd`` box encodings relative to anchors, and class scores;
            ``ssd-postprocessed`` the four outputs of TFLite's detection post-processing;
            ``detr`` class logits and boxes of queries.
        score: Boxes are reported above it.
        iou: Largest overlap of two reported boxes (of one class).
        max_detections: Most boxes a photo.
        agnostic: Boxes of different classes suppress each other too.
        multi_label: A place may give a box for each class above the threshold, instead of the best one; by default
            so for ``ssd`` and ``fcos``.
        normalised: Boxes are shares 0..1 of the input instead of its pixels; the default is as each family is
            published. ``fastestdet`` and ``ssd`` need none.
        activation: What turns class scores into probabilities; the default is as each family is published.
        boxes: Name of the output with boxes, where shapes leave it open.
        scores: Name of the output with class scores.
        classes: Name of the output with class numbers.
        count: Name of the output with the number of boxes.
        centerness: Name of the output with centerness.
        strides: Of ``fcos``: pixels between locations, one a level.
        distances: Of ``fcos``: distances count ``strides`` or ``pixels``.
        cell_offset: Of ``fcos``: where in its cell a location lies, in strides.
        anchors: Of ``ssd``: by which published formula the anchors are made.
        feature_maps: Of ``ssd``: size of each level, a number or height and width.
        aspect_ratios: Of ``ssd``: those of all levels, or a list for each.
        scales: Of ``ssd``: size of the anchors of each level as a share of the input, and one more; by default in equal
            steps from ``min_scale`` to ``max_scale``, and 1.
        min_scale: See ``scales``.
        max_scale: See ``scales``.
        steps: Of ``ssd``, torchvision's: pixels between locations where they are not input / feature map.
        variances: Of ``ssd``: factors of the encoded centre x, centre y, width and height.
        metric: What is measured where the truth is known.
    """

    head: HeadName
    score: float = 0.25
    iou: float = 0.45
    max_detections: int = 300
    agnostic: bool = False
    multi_label: bool | None = None
    normalised: bool | None = None
    activation: Activation | None = None
    boxes: str | None = None
    scores: str | None = None
    classes: str | None = None
    count: str | None = None
    centerness: str | None = None
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    distances: Literal["strides", "pixels"] = "strides"
    cell_offset: float = 0.5
    anchors: AnchorStyle | None = None
    feature_maps: tuple[int | Sequence[int], ...] = ()
    aspect_ratios: tuple[float | Sequence[float], ...] = ()
    scales: tuple[float, ...] = ()
    min_scale: float = 0.2
    max_scale: float = 0.95
    steps: tuple[int, ...] = ()
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    metric: MetricName = "mAP50"

    def __post_init__(self) -> None:
        choices = {
            "head": get_args(HeadName),
            "activation": (None, *get_args(Activation)),
            "anchors": (None, *get_args(AnchorStyle)),
            "distances": ("strides", "pixels"),
            "metric": get_args(MetricName),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise SpecRefused(
                    f"options.{name} = {getattr(self, name)!r}", expected=" or ".join(str(a) for a in allowed if a)
                )
        for name in ("score", "iou"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise SpecRefused(f"options.{name} = {value!r}", expected="a number from 0 to 1")
        if isinstance(self.max_detections, bool) or not isinstance(self.max_detections, int) or self.max_detections < 1:
            raise SpecRefused(f"options.max_detections = {self.max_detections!r}", expected="a number from 1")
        if not self.strides or any(not isinstance(stride, int) or stride < 1 for stride in self.strides):
            raise SpecRefused(f"options.strides = {list(self.strides)}", expected="pixels, one number a level")
        if len(self.variances) != 4:
            raise SpecRefused(f"options.variances = {list(self.variances)}", expected="four numbers")


def only_output(spec: Spec, head: str, dimensions: int) -> TensorSpec:
    """Return the one output of a head. Raises SpecRefused when there are more, or it has another shape."""
    if len(spec.outputs) != 1 or len(spec.outputs[0].shape) != dimensions + 1:
        raise SpecRefused(
            f"head {head!r} with outputs {shapes_of(spec)}",
            expected=f"one output of {dimensions} dimensions and the batch",
            remedy="set the head that the model has, or export the model with this head",
        )
    return spec.outputs[0]


def output_for(
    spec: Spec, role: str, name: str | None, fits: Callable[[Shape], bool], *, among: Sequence[TensorSpec] | None = None
) -> TensorSpec:
    """Return the output that has a role, by its name in the options or as the only one whose shape fits.

    Args:
        spec: The spec.
        role: Name of the option.
        name: Its value.
        fits: Whether a shape, without the batch, can be that of the role.
        among: Outputs to choose from by shape; all by default.

    Raises:
        SpecRefused: There is no such output, or more than one could be it.
    """
    if name is not None:
        named = next((output for output in spec.outputs if output.name == name), None)
        if named is None or not fits(named.shape[1:]):
            raise SpecRefused(f"options.{role} = {name!r}", expected=f"one of the outputs {shapes_of(spec)}")
        return named
    fitting = [output for output in (spec.outputs if among is None else among) if fits(output.shape[1:])]
    if len(fitting) != 1:
        raise SpecRefused(
            f"{len(fitting) or 'none'} of the outputs {shapes_of(spec)} could be the {role}",
            expected="exactly one",
            remedy=f"name it in the spec: options.{role} = …",
        )
    return fitting[0]


def shapes_of(spec: Spec) -> str:
    """Names and shapes of the outputs, for messages."""
    return ", ".join(f"{output.name!r} {list(output.shape)}" for output in spec.outputs)


def check_labels(spec: Spec, classes: int | None) -> None:
    """Raises SpecRefused when the labels are not one for each class."""
    if spec.labels and classes is not None and classes != len(spec.labels):
        raise SpecRefused(
            f"{len(spec.labels)} labels for a head with {classes} classes ({shapes_of(spec)})",
            expected="one label for each class",
            remedy="pass the matching --labels file, one name a line",
        )
