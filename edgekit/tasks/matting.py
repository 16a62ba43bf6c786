"""Matting: a photo in, the share of the foreground in each of its pixels out (portraits, binary segmentation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgekit.drawing import Picture, blend, color_of, draw_legend
from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Metric, bootstrapped
from edgekit.spec import Spec
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.classification import sigmoid
from edgekit.tasks.label_maps import LabelMap, is_mask, mask_beside, png_text
from edgekit.tasks.picture import PictureTask
from edgekit.tasks.planes import PhotoGrid, without_nan
from edgekit.tasks.semantic_segmentation import named_output

Activation = Literal["none", "sigmoid", "softmax", "clip"]
MattingMetric = Literal["iou", "mad"]
_OVER = 0.02  # a quantized grid may end a little beyond 0 and 1


@dataclass(frozen=True)
class MattingOptions:
    """Options of matting.

    Attributes:
        output: Name of the output with the matte; ``None`` is the first.
        activation: What turns the output into shares: ``none`` (it has them already), ``sigmoid`` of logits,
            ``softmax`` of two channels, background first, ``clip`` of numbers that leave 0..1.
        threshold: Share from which on a pixel is foreground.
        metric: What decides about integer artifacts where the truth is known: ``iou`` of the foreground, or ``mad``,
            the mean absolute difference of shares.
    """

    output: str | None = None
    activation: Activation = "none"
    threshold: float = 0.5
    metric: MattingMetric = "iou"

    def __post_init__(self) -> None:
        for name, kind in (("activation", Activation), ("metric", MattingMetric)):
            if getattr(self, name) not in get_args(kind):
                raise SpecRefused(f"options.{name} = {getattr(self, name)!r}", expected=" or ".join(get_args(kind)))
        if not 0 < self.threshold < 1:
            raise SpecRefused(f"options.threshold = {self.threshold!r}", expected="a share between 0 and 1")


@dataclass(frozen=True, eq=False)
class Matte:
    """The share of the foreground in each pixel.

    Attributes:
        alpha: ``(height, width)`` float32, 0..1, at the photo's size; 0 where preprocessing cut it off.
        threshold: Share from which on a pixel is foreground.
        name: What the foreground is.
    """

    alpha: NDArray[np.float32]
    threshold: float = 0.5
    name: str = "foreground"

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(height, width)``: where the foreground is."""
        found: NDArray[np.bool_] = self.alpha >= self.threshold
        return found

    @property
    def share(self) -> float:
        """Of the photo that is foreground, 0..1."""
        return float(self.mask.mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``matte`` is an 8-bit gray PNG in base64, 255 where a pixel is all foreground."""
        height, width = self.alpha.shape
        matte = np.rint(self.alpha * 255).astype(np.uint8)
        return {"height": int(height), "width": int(width), self.name: self.share, "matte": png_text(matte)}

    def __str__(self) -> str:
        return f"{self.name} {100 * self.share:.1f} %"

    def draw(self, picture: Picture) -> Picture:
        """Return a copy with the foreground tinted by its share."""
        canvas = picture.copy()
        blend(canvas, self.alpha, color_of(0))
        draw_legend(canvas, [(str(self), color_of(0))])
        return canvas


class Matting(PictureTask):
    """Takes a photo; gives a `Matte` of its size.

    The output has one channel, first, last or none, or two for ``softmax``. One label, or the second of two, names the
    foreground.
    """

    name: ClassVar[str] = "matting"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(MattingOptions)
        self.output = named_output(spec, self.options.output)
        self.foreground = spec.labels[-1] if spec.labels else "foreground"
        shape = next(output.shape for output in spec.outputs if output.name == self.output)
        if None not in shape:
            self._planes(np.broadcast_to(np.float32(0), tuple(size or 1 for size in shape)), refusal=SpecRefused)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Matte]:
        """Return a `Matte` for each photo; of the input's size where the photo's is not known.

        Raises:
            DataRefused: The output holds NaN, or leaves 0..1 where the options say that it has shares.
        """
        array = without_nan(self.output, np.asarray(outputs[self.output]))
        planes = self._planes(array.astype(np.float32, copy=False))
        known = contexts if contexts is not None else [None] * len(array)
        return [
            Matte(self._alpha(plane, PhotoGrid.of(size, self.tensor, self.preprocess)), self.options.threshold, name)
            for plane, size, name in zip(planes, known, [self.foreground] * len(array), strict=True)
        ]

    def scorer(self) -> MattingScorer:
        """Return a scorer of mask IoU, and of IoU or mean absolute difference to the truth."""
        return MattingScorer(self, self.options)

    @classmethod
    def beside(cls, picture: Path) -> Path | None:
        """Return ``NAME_mask.png`` beside ``NAME.jpg``."""
        return mask_beside(picture)

    @classmethod
    def is_truth(cls, picture: Path) -> bool:
        """Whether an image is the matte of another."""
        return is_mask(picture)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> LabelMap | None:
        """Take the path of a gray picture, 0..255 or of just 0 and 1, or such an array."""
        if raw is None or (isinstance(raw, str) and not raw):
            return None
        matte = LabelMap.of(raw, where)
        matte.read()  # a broken file is refused before a long conversion, not after it
        return matte

    def _planes(self, array: Array, refusal: type[DataRefused] | type[SpecRefused] = DataRefused) -> Array:
        """Return ``(batch, rows, columns)`` before the activation; of two channels, foreground less background."""
        wanted = 2 if self.options.activation == "softmax" else 1
        if array.ndim == 3 and wanted == 1:
            return array
        if array.ndim == 4 and array.shape[1] == wanted:
            return array[:, 0] if wanted == 1 else array[:, 1] - array[:, 0]
        if array.ndim == 4 and array.shape[3] == wanted:
            return array[..., 0] if wanted == 1 else array[..., 1] - array[..., 0]
        raise refusal(
            f"output {self.output!r} of shape {list(array.shape)}",
            expected="two channels for softmax" if wanted == 2 else "one channel",
            remedy="set options.activation = 'softmax' for two channels; use semantic-segmentation for more",
        )

    def _alpha(self, plane: Array, grid: PhotoGrid) -> NDArray[np.float32]:
        """Resample shares, not logits: the field's matting models are trained and compared on shares."""
        if self.options.activation in ("sigmoid", "softmax"):
            plane = sigmoid(plane)
        elif self.options.activation == "none" and not (plane.min() >= -_OVER and plane.max() <= 1 + _OVER):
            raise DataRefused(
                f"output {self.output!r} holds {plane.min():g}..{plane.max():g}",
                expected="shares 0..1",
                remedy="set options.activation to sigmoid for logits, or to clip",
            )
        alpha = np.clip(grid.bilinear(plane), 0, 1)
        rows, columns = grid.seen
        whole = np.zeros(grid.photo, np.float32)
        whole[rows, columns] = alpha[rows, columns]
        return whole


class MattingScorer(ResultScorer):
    """IoU of both foregrounds; IoU or mean absolute difference to the truth; intervals by bootstrap over photos."""

    def __init__(self, task: Matting, options: MattingOptions) -> None:
        super().__init__(task)
        self._options = options
        self._agree: list[tuple[float, float]] = []
        self._scores: list[tuple[tuple[float, float], tuple[float, float]]] = []

    def add(self, want: Matte, got: Matte, truth: LabelMap | None) -> None:
        """Compare two mattes, and both with the truth. Raises DataRefused when that has another size."""
        self._agree.append(_overlap(want.mask, got.mask))
        if truth is not None:
            right = truth.of_size(want.alpha.shape)
            alpha = right.astype(np.float32) / (255 if right.max() > 1 else 1)
            self._scores.append((self._score(want, alpha), self._score(got, alpha)))

    def missing(self, want: Matte, truth: LabelMap | None) -> None:
        """Count every pixel as wrong."""
        opposite = Matte(np.where(want.mask, np.float32(0), np.float32(1)), self._options.threshold)
        self.add(want, opposite, None)
        if truth is not None:
            right = truth.of_size(want.alpha.shape)
            alpha = right.astype(np.float32) / (255 if right.max() > 1 else 1)
            pixels = float(alpha.size)
            self._scores.append((self._score(want, alpha), (0.0, pixels) if self._iou else (pixels, pixels)))

    def agreement(self) -> Metric | None:
        """IoU of the foregrounds over all photos."""
        return _ratio("mask IoU", self._agree) if self._agree else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """IoU, or mean absolute difference, of the original and of the artifact; ``None`` without truth."""
        if not self._scores:
            return None
        name = "IoU" if self._iou else "mean absolute difference"
        original, artifact = (_ratio(name, [pair[side] for pair in self._scores], self._iou) for side in (0, 1))
        return original, artifact

    @property
    def _iou(self) -> bool:
        return self._options.metric == "iou"

    def _score(self, matte: Matte, alpha: Array) -> tuple[float, float]:
        if self._iou:
            return _overlap(alpha >= self._options.threshold, matte.mask)
        return float(np.abs(matte.alpha - alpha).sum()), float(alpha.size)


def _overlap(one: Array, other: Array) -> tuple[float, float]:
    return float((one & other).sum()), float((one | other).sum())


def _ratio(name: str, pairs: list[tuple[float, float]], higher_is_better: bool = True) -> Metric:
    """Sum of the first over the sum of the second; 1 where there is nothing to find and nothing was found."""
    values = np.array(pairs, np.float64)

    def ratio(photos: Array) -> float:
        part, whole = values[photos].sum(axis=0)
        return float(part / whole) if whole else 1.0

    return bootstrapped(name, len(values), ratio, higher_is_better=higher_is_better)
