"""Say which artifact tensor stands for which tensor of the source.

Names come from the artifact's signature. Converters have been seen to reorder outputs of one shape under the same
names, so where several outputs cannot be told apart by shape and dtype, one sample is run through both sides.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import ModelRefused
from edgekit.isolate import EngineProcess
from edgekit.spec import TensorSpec
from edgekit_converters.sources.base import Source

CLOSE = 1e-2
"""Relative L2 up to which an output of a float artifact counts as that output of the source."""

Permute = Mapping[str, tuple[int, ...]]


def identifiers(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Turn tensor names into distinct identifiers that every framework and format accepts.

    Args:
        names: Names in the source, such as ``dense/Softmax:0``.
        taken: Identifiers that must not occur again (an output may be called as an input).
    """
    used, found = set(taken), []
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "tensor"
        base = base if base[0].isalpha() else f"t_{base}"
        candidate, count = base, 1
        while candidate in used:
            count += 1
            candidate = f"{base}_{count}"
        used.add(candidate)
        found.append(candidate)
    return found


def tensor_identifiers(source: Source) -> tuple[list[str], list[str]]:
    """Identifiers of a source's inputs and outputs, in its order; no output is called as an input is."""
    inputs = identifiers([spec.name for spec in source.inputs])
    return inputs, identifiers([spec.name for spec in source.outputs], taken=inputs)


def bind_outputs(
    source: Source, path: Path, inputs: Sequence[str], outputs: Sequence[str], permute: Permute
) -> tuple[str, ...]:
    """Check by value the outputs that shape and dtype cannot tell apart.

    Args:
        source: The reference.
        path: The artifact.
        inputs: Artifact tensor name of each source input, by signature.
        outputs: Artifact tensor name of each source output, by signature.
        permute: Source input name -> axes that turn its array into the artifact's layout.

    Returns:
        Artifact tensor name of each source output, in the source's order.

    Raises:
        ModelRefused: The artifact cannot be run, or crashes its runtime.
    """
    if not alike(source.outputs):
        return tuple(outputs)
    with EngineProcess(path) as engine:
        batch = next((info.shape[0] for info in engine.inputs if info.shape), None)
        feeds = sample_feeds(source, batch or 1)
        bound = zip(source.inputs, inputs, strict=True)
        given = engine.run({name: _laid_out(feeds[spec.name], permute.get(spec.name)) for spec, name in bound})
    wanted = source.run(feeds)
    return assign([wanted[spec.name] for spec in source.outputs], outputs, given)


def alike(outputs: Sequence[TensorSpec]) -> list[list[int]]:
    """Groups of positions of outputs that have one shape and dtype; groups of one are left out."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for position, spec in enumerate(outputs):
        groups[spec.shape, spec.dtype].append(position)
    return [group for group in groups.values() if len(group) > 1]


def sample_feeds(source: Source, batch: int, seed: int = 0) -> dict[str, Array]:
    """One random batch for a source's inputs: normal floats, integers 0 or 1 (valid for any vocabulary or mask).

    Dimensions that are dynamic beside the batch get 8.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in source.inputs:
        shape = [batch, *(size or 8 for size in spec.shape[1:])] if spec.shape else []
        kind = np.dtype(spec.dtype)
        if kind.kind == "f":
            feeds[spec.name] = rng.standard_normal(shape).astype(kind)
        else:
            feeds[spec.name] = rng.integers(0, 2, shape).astype(kind)
    return feeds


def assign(wanted: Sequence[Array], names: Sequence[str], given: Mapping[str, Array]) -> tuple[str, ...]:
    """Give each wanted array the artifact output with the least error, starting from the names' own order.

    A name is replaced only where its values are clearly not the wanted ones and another output's are; where
    nothing fits, the names stand and the parity gate will say so.

    Args:
        wanted: The source's outputs.
        names: Artifact tensor name of each, by signature.
        given: Artifact tensor name -> array.
    """
    bound = list(names)
    strays = [i for i, array in enumerate(wanted) if _error(array, given[names[i]]) > CLOSE]
    free = [names[i] for i in strays]
    for i in strays:
        best = min(free, key=lambda name: _error(wanted[i], given[name]), default=None)
        if best is None or _error(wanted[i], given[best]) > CLOSE:
            return tuple(names)
        bound[i] = best
        free.remove(best)
    return tuple(bound)


def by_signature(kind: str, wanted: Sequence[str], found: Mapping[str, str]) -> tuple[str, ...]:
    """Look up signature names.

    Args:
        kind: ``input`` or ``output``, for the message.
        wanted: Names that the signature must have, in the source's order.
        found: Signature name -> artifact tensor name.

    Raises:
        ModelRefused: The artifact lacks one, or has an input that the source has not.
    """
    extra = [name for name in found if name not in wanted] if kind == "input" else []
    if extra:
        raise ModelRefused(
            f"the artifact asks for {extra[0]!r}, which is no input of the model",
            expected=f"the inputs {', '.join(wanted)}",
            remedy="the converter took a constant of the model for an input: make it a weight of its layer",
        )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelRefused(
            f"the artifact has no {kind} {missing[0]!r}, only {', '.join(found) or 'none'}",
            expected=f"the {kind}s {', '.join(wanted)}",
            remedy=f"remove {kind}s that do not take part in the computation",
        )
    return tuple(found[name] for name in wanted)


def _error(wanted: Array, given: Array) -> float:
    if wanted.shape != given.shape:
        return float("inf")
    difference = np.linalg.norm(wanted.astype(np.float64) - given.astype(np.float64))
    return float(difference / (np.linalg.norm(wanted.astype(np.float64)) + 1e-12))


def _laid_out(array: Array, axes: tuple[int, ...] | None) -> Array:
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))
