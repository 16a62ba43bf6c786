"""A prepared network on disk: float artifacts and encoded samples. Needs numpy alone: every peer can read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ABOUT = "network.json"


class Workspace:
    """What `prepare` wrote for one network.

    Args:
        folder: The network's folder.

    Attributes:
        name: Name in the table of networks.
        digest: SHA-256 over the float artifacts and all samples.
        attention: Whether the network is a transformer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.name: str = self._about["name"]
        self.digest: str = self._about["digest"]
        self.attention: bool = self._about["attention"]

    def float_path(self, form: str) -> Path:
        """The float artifact in a format, ``tflite`` or ``onnx``."""
        return self.folder / f"float.{form}"

    def count(self, part: str) -> int:
        """Samples in ``calibration``, ``evaluation`` or ``varied``; 0 where there is no such part."""
        return int(self._about["counts"].get(part, 0))

    def samples(self, form: str, part: str = "calibration", count: int | None = None) -> Samples:
        """Samples under a float artifact's tensor names, in its layouts; ``count`` at most."""
        there = self.count(part)
        bound = self._about["formats"][form]
        return Samples(self.folder, part, self._about["inputs"], bound, min(count or there, there))

    def labels(self) -> Array:
        """Class of each evaluation sample, -1 where unknown."""
        return np.asarray(np.load(self.folder / "labels.npy"))

    def reference(self) -> Array:
        """The original's scores on the evaluation samples ``[samples, classes]``."""
        return np.asarray(np.load(self.folder / "reference.npy"))


class Samples:
    """Samples read from disk one at a time, anew at every iteration: nothing but the current one is in memory.

    Args:
        folder: The network's folder.
        part: Which samples.
        inputs: Name, dtype and shape (batch of 1) of every input as stored.
        bound: Tensor name, axes of the transpose and dtype of every input in the artifact.
        count: How many of the samples.
    """

    def __init__(
        self, folder: Path, part: str, inputs: list[dict[str, Any]], bound: list[dict[str, Any]], count: int
    ) -> None:
        self._paths = [folder / f"{part}.{place}.bin" for place in range(len(inputs))]
        self._inputs, self._bound, self._count = inputs, bound, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self[number] for number in range(self._count))

    def __getitem__(self, number: int) -> dict[str, Array]:
        found = {}
        for path, stored, bound in zip(self._paths, self._inputs, self._bound, strict=True):
            dtype, size = np.dtype(stored["dtype"]), int(np.prod(stored["shape"]))
            flat = np.fromfile(path, dtype, size, offset=number * size * dtype.itemsize)
            array = flat.reshape(stored["shape"])
            if bound["axes"]:
                array = np.ascontiguousarray(array.transpose(bound["axes"]))
            found[bound["tensor"]] = array.astype(bound["dtype"], copy=False)
        return found
