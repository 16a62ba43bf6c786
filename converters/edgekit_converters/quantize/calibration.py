"""Calibration data: checked sample by sample before anything is quantized, and named by a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from edgekit.engine import Array, TensorInfo
from edgekit.errors import DataRefused

FEW_SAMPLES = 16


@runtime_checkable
class Samples(Protocol):
    """Calibration data that can be gone through several times, e.g. a list.

    Every iteration starts anew and yields samples: artifact tensor name -> array with a batch of one.
    """

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        """Start from the first sample."""


@dataclass(frozen=True)
class CalibrationSummary:
    """What the check found.

    Attributes:
        samples: Number of samples.
        fingerprint: SHA-256 over the samples' hashes, in hexadecimal; the same for any order of the samples.
        notes: Warnings for the user.
    """

    samples: int
    fingerprint: str
    notes: tuple[str, ...]


def check_samples(samples: Samples, inputs: tuple[TensorInfo, ...]) -> CalibrationSummary:
    """Go through all samples once and refuse what cannot calibrate.

    Args:
        samples: The data.
        inputs: Tensors of the float artifact.

    Raises:
        DataRefused: An iterator that can be used only once, no samples, a wrong name, shape or dtype, a value
            that is not finite, or samples that do not vary.
    """
    refuse_one_shot(samples)
    hashes: list[str] = []
    spread = {info.name: _Spread() for info in inputs}
    for number, sample in enumerate(samples):
        digest = hashlib.sha256()
        for info in inputs:
            array = _checked(sample, info, inputs, number)
            spread[info.name].add(array)
            digest.update(f"{info.name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        hashes.append(digest.hexdigest())
    if not hashes:
        raise DataRefused(
            "the calibration set is empty",
            expected="at least one sample, about 100 for a good result",
            remedy="check the path given to --calibration",
        )
    notes = [note for info in inputs for note in spread[info.name].notes(info)]
    return CalibrationSummary(len(hashes), _combined(hashes), (*notes, *_about_count(hashes)))


def refuse_one_shot(samples: object) -> None:
    """Raise DataRefused for an iterator: it would be empty the second time."""
    if not isinstance(samples, Samples):
        raise DataRefused(
            f"calibration data is a {type(samples).__name__}",
            expected="samples that can be iterated: a list of dictionaries, input name -> array",
        )
    if iter(samples) is samples:
        raise DataRefused(
            f"calibration data is a one-shot {type(samples).__name__}; it is read more than once",
            expected="something that starts anew at every iteration",
            remedy="pass list(samples), or an object whose __iter__ makes a new generator",
        )


def _checked(sample: Mapping[str, Array], info: TensorInfo, inputs: tuple[TensorInfo, ...], number: int) -> Array:
    if not isinstance(sample, Mapping) or info.name not in sample:
        got = sorted(sample) if isinstance(sample, Mapping) else type(sample).__name__
        raise DataRefused(
            f"calibration sample {number} has {got}", expected=f"arrays for {[tensor.name for tensor in inputs]}"
        )
    array = np.asarray(sample[info.name])
    fits = len(array.shape) == len(info.shape) and all(
        want is None or want == got for want, got in zip(info.shape, array.shape, strict=True)
    )
    if not fits or not array.size:
        wanted = ["any" if size is None else size for size in info.shape]
        raise DataRefused(
            f"calibration sample {number}, {info.name!r}: shape {list(array.shape)}",
            expected=f"{wanted}",
            remedy="preprocess calibration data exactly as the model's input, with a batch of one",
        )
    if array.dtype.name != info.dtype:
        raise DataRefused(
            f"calibration sample {number}, {info.name!r}: dtype {array.dtype}",
            expected=info.dtype,
            remedy="preprocess calibration data exactly as the model's input",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        kind = "NaN" if np.isnan(array).any() else "infinite values"
        raise DataRefused(
            f"calibration sample {number}, {info.name!r}: {kind}",
            expected="finite numbers",
            remedy="remove the sample or repair its preprocessing",
        )
    return array


class _Spread:
    """Whether an input varies, and what its values look like."""

    def __init__(self) -> None:
        self.low, self.high, self.whole = np.inf, -np.inf, True
        self.first: str | None = None
        self.repeated, self.count = True, 0

    def add(self, array: Array) -> None:
        self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        self.whole = self.whole and bool((array == np.rint(array)).all())
        digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        self.first = self.first or digest
        self.repeated = self.repeated and digest == self.first
        self.count += 1

    def notes(self, info: TensorInfo) -> Iterator[str]:
        is_float = info.dtype.startswith("float")
        if is_float and self.low == self.high:
            raise DataRefused(
                f"calibration data for {info.name!r} is constant: every value is {self.low:g}",
                expected="real inputs that vary",
                remedy="check the preprocessing, or pass other data",
            )
        if self.repeated and self.count > 1:
            yield f"all {self.count} calibration samples have the same {info.name!r}"
        if is_float and self.whole and self.low >= 0 and 128 < self.high <= 255:
            yield (
                f"calibration data for {info.name!r} are whole numbers from {self.low:g} to {self.high:g}: right "
                "only if the model takes pixel values that are not normalised"
            )


def _about_count(hashes: list[str]) -> Iterator[str]:
    if len(hashes) < FEW_SAMPLES:
        yield f"only {len(hashes)} calibration samples: about 100 give better ranges"
    if len(set(hashes)) < len(hashes) / 2:
        yield f"only {len(set(hashes))} of {len(hashes)} calibration samples differ"


def _combined(hashes: list[str]) -> str:
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()
