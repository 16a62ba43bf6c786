"""Tensors: named arrays in, named arrays out, for models whose job edgekit does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks.base import Takes, Task
from edgekit.tasks.classification import classify, scores_output

_REMEDY = "prepare the arrays exactly as the model's input"


@dataclass(frozen=True)
class Arrays:
    """Output arrays of one sample.

    Attributes:
        arrays: Output name -> array without the batch axis.
    """

    arrays: Mapping[str, Array]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: array.tolist() for name, array in self.arrays.items()}

    def __str__(self) -> str:
        return ", ".join(_summary(name, array) for name, array in self.arrays.items())


def _summary(name: str, array: Array) -> str:
    if array.size <= 4:
        return f"{name} {np.array2string(array, precision=4, separator=', ')}"
    return f"{name} {list(array.shape)} {array.min():.4g}..{array.max():.4g}, mean {array.mean():.4g}"


class Tensors(Task):
    """Takes a mapping of arrays, or one array for a model with one input.

    Gives `Arrays`; a spec with labels says that the scores decide between them, and gives a `Classification`.

    Attributes:
        top_k: Classes in a result.
    """

    name: ClassVar[str] = "tensors"
    takes: ClassVar[Takes] = "arrays"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.decides = scores_output(spec) if spec.labels else None
        self.top_k = 5

    def encode(self, item: Mapping[str, Array] | Array) -> dict[str, Array]:
        """Return the arrays with a batch axis in the input's dtype. Raises DataRefused when one does not fit."""
        if not isinstance(item, Mapping):
            if len(self.spec.inputs) != 1:
                raise DataRefused("one array", expected=f"named arrays {[i.name for i in self.spec.inputs]}")
            item = {self.spec.inputs[0].name: item}
        feeds = {}
        for tensor in self.spec.inputs:
            if tensor.name not in item:
                raise DataRefused(f"arrays {sorted(item)}", expected=f"one named {tensor.name!r}")
            array = np.asarray(item[tensor.name])
            if array.ndim == len(tensor.shape) - 1:
                array = array[None]
            fits = array.ndim == len(tensor.shape) and all(
                want is None or want == got for want, got in zip(tensor.shape[1:], array.shape[1:], strict=True)
            )
            if not fits:
                raise DataRefused(
                    f"input {tensor.name!r} has shape {list(array.shape)}",
                    expected=f"{list(tensor.shape)}",
                    remedy=_REMEDY,
                )
            # Fractions would be cut off where the model takes integers.
            if array.dtype.kind not in "fiub" or not np.can_cast(array.dtype, tensor.dtype, "same_kind"):
                raise DataRefused(
                    f"input {tensor.name!r} has dtype {array.dtype}", expected=tensor.dtype, remedy=_REMEDY
                )
            feeds[tensor.name] = np.ascontiguousarray(array, dtype=tensor.dtype)
        return feeds

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return the arrays of each sample, or its classes where the spec has labels."""
        if self.decides is not None:
            return classify(outputs, self.spec, self.decides, self.top_k)
        count = len(next(iter(outputs.values())))
        return [Arrays({name: array[i] for name, array in outputs.items()}) for i in range(count)]
