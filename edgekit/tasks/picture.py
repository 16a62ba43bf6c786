"""What all tasks on photos share: one image input, read and preprocessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.images import Reduction, decode_image, read_image
from edgekit.preprocess import encode_image, reduction
from edgekit.spec import Preprocess, Spec
from edgekit.tasks.base import Encoded, Takes, Task


@dataclass(frozen=True)
class PictureSize:
    """Size of a photo before preprocessing, in pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class PictureFile:
    """A photo whose file is in memory.

    Attributes:
        data: The whole file.
        name: What to call it in messages.
    """

    data: bytes
    name: str


class PictureTask(Task):
    """Takes the path of a photo, a `PictureFile` or a uint8 array; the context is its `PictureSize`.

    An array is ``(height, width, 3)`` RGB, or ``(height, width)`` or ``(height, width, 1)`` gray.

    Attributes:
        tensor: The image input.
        preprocess: How a photo becomes it.
        fast_decode: Whether a JPEG file much larger than the input is decoded at a fraction of its size, see
            `edgekit.preprocess.reduction`; off by default, which gives the exact preprocessing.
    """

    takes: ClassVar[Takes] = "picture"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if len(spec.inputs) != 1 or spec.inputs[0].layout is None:
            raise SpecRefused(
                f"{self.name} with inputs {[(i.name, list(i.shape)) for i in spec.inputs]}",
                expected="one image input",
                remedy="set the task and layout in the spec, or use --preset tensors",
            )
        self.tensor = spec.inputs[0]
        self.preprocess = spec.preprocess or Preprocess()
        self.fast_decode = False

    def encode(self, item: str | Path | PictureFile | Array) -> dict[str, Array]:
        """Turn a photo into the input tensor. Raises DataRefused when it cannot be read."""
        picture, size = self._read(item)
        return Encoded({self.tensor.name: encode_image(picture, self.tensor, self.preprocess)}, size)

    def read(self, item: str | Path | PictureFile | Array) -> NDArray[np.uint8]:
        """Return a photo as ``(height, width, 3)`` uint8, RGB. Raises DataRefused when it cannot be read."""
        return self._read(item)[0]

    def _read(self, item: str | Path | PictureFile | Array) -> tuple[NDArray[np.uint8], PictureSize]:
        """The photo, and the size of the whole of it where only a reduced one was decoded."""
        whole: list[tuple[int, int]] = []

        def reducer(height: int, width: int) -> Reduction:
            whole.append((height, width))
            return self._reduction(height, width)

        if isinstance(item, PictureFile):
            picture: Array = decode_image(item.data, item.name, reducer=reducer if self.fast_decode else None)
        elif isinstance(item, (str, Path)):
            picture = read_image(Path(item), reducer=reducer if self.fast_decode else None)
        else:
            picture = np.asarray(item)
        if picture.ndim == 2 or picture.shape[2:] == (1,):
            picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise DataRefused(
                f"a picture of shape {list(picture.shape)}, {picture.dtype}", expected="(height, width, 3) uint8, RGB"
            )
        return picture, _upright(whole, picture)

    @classmethod
    def beside(cls, picture: Path) -> Any:  # classes lie in no file
        """What a folder holds beside a photo that says what is right in it, for `truth`; ``None`` for nothing."""
        return None

    @classmethod
    def is_truth(cls, picture: Path) -> bool:
        """Whether an image of a data set's folder is no photo but the truth of one, such as a mask."""
        return False

    def _reduction(self, height: int, width: int) -> Reduction:
        return reduction((height, width), self.tensor, self.preprocess)


def _upright(whole: list[tuple[int, int]], picture: Array) -> PictureSize:
    """Size of a photo that was decoded upright; its header, if it was asked, says the size before any EXIF rotation."""
    height, width = picture.shape[:2]
    if not whole:
        return PictureSize(height, width)
    turned = (whole[0][0] < whole[0][1]) != (height < width) and height != width
    return PictureSize(*(whole[0][::-1] if turned else whole[0]))
