"""Arrays: ``.npz`` and ``.npy`` files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data.dataset import Dataset, Item


def read(path: Path, spec: Spec) -> Dataset:
    """Arrays of an ``.npz`` or ``.npy`` file; the first axis counts samples."""
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataRefused(
            f"{path} ({path.stat().st_size} bytes): {error}", expected="arrays without pickles"
        ) from error
    arrays = {"": loaded} if path.suffix == ".npy" else {name: loaded[name] for name in loaded.files}
    labels = next((arrays.pop(name) for name in ("label", "labels", "y") if name in arrays), None)
    named = {tensor.name: arrays[tensor.name] for tensor in spec.inputs if tensor.name in arrays}
    if named and len(named) == len(spec.inputs):
        arrays = named  # other arrays in the file are none of the model's business
    if len({len(array) for array in arrays.values()}) > 1 or not arrays:
        raise DataRefused(f"{path} has arrays {_shapes(arrays)}", expected="the same length on the first axis")
    truth = task_class(spec.task).truth
    count = len(next(iter(arrays.values())))
    single = next(iter(arrays.values())) if len(arrays) == 1 else None

    def items() -> Iterator[Item]:
        for i in range(count):
            value = single[i] if single is not None else {name: array[i] for name, array in arrays.items()}
            where = f"{path.name} sample {i}"
            yield Item(where, value, None if labels is None else truth(spec, labels[i], where))

    return Dataset(items, count, str(path))


def _shapes(arrays: dict[str, Array]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
