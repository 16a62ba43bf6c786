"""Image classification: a photo in, the most probable classes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.images import Reduction, read_image
from edgekit.preprocess import encode_image, reduction
from edgekit.spec import Preprocess, Spec
from edgekit.tasks.base import Result, Task
from edgekit.tasks.classification import classify, scores_output


class ImageClassification(Task):
    """Takes the path of a photo or a uint8 array; gives a `Classification`.

    An array is ``(height, width, 3)`` RGB, or ``(height, width)`` or ``(height, width, 1)`` gray.

    Attributes:
        top_k: Classes in a result.
        fast_decode: Whether a JPEG file much larger than the input is decoded at a fraction of its size, see
            `edgekit.preprocess.reduction`; off by default, which gives the exact preprocessing.
    """

    name: ClassVar[str] = "image-classification"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if len(spec.inputs) != 1 or spec.inputs[0].layout is None:
            raise SpecRefused(
                f"image-classification with inputs {[(i.name, list(i.shape)) for i in spec.inputs]}",
                expected="one image input",
                remedy="set the task and layout in the spec, or use --preset tensors",
            )
        self.tensor = spec.inputs[0]
        self.preprocess = spec.preprocess or Preprocess()
        self.decides = scores_output(spec)
        self.top_k = 5
        self.fast_decode = False

    def encode(self, item: str | Path | Array) -> dict[str, Array]:
        """Turn a photo into the input tensor. Raises DataRefused when it cannot be read."""
        if isinstance(item, (str, Path)):
            picture = read_image(Path(item), reducer=self._reduction if self.fast_decode else None)
        else:
            picture = np.asarray(item)
        if picture.ndim == 2 or picture.shape[2:] == (1,):
            picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise DataRefused(
                f"a picture of shape {list(picture.shape)}, {picture.dtype}", expected="(height, width, 3) uint8, RGB"
            )
        return {self.tensor.name: encode_image(picture, self.tensor, self.preprocess)}

    def _reduction(self, height: int, width: int) -> Reduction:
        return reduction((height, width), self.tensor, self.preprocess)

    def decode(self, outputs: Mapping[str, Array]) -> list[Result]:
        """Return a `Classification` for each photo."""
        assert self.decides is not None  # noqa: S101  set in __init__
        return list(classify(outputs, self.spec, self.decides, self.top_k))
