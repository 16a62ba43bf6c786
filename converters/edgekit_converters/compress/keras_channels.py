"""Which channels of a Keras model depend on each other, and how they are removed together.

No kept library does this for Keras 3. Every set is tried first, and one whose removal is not the same as silencing the
channels is left alone. Imports Keras when imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.compress.channels import ChannelSet, Cost, Use, parts_of, sound
from edgekit_converters.compress.choice import Part
from edgekit_converters.compress.keras_graph import (
    CONVOLUTIONS,
    DEPTHWISE,
    TRANSPOSED,
    copied,
    give_weights,
    keras,
    layers,
    run,
)
from edgekit_converters.compress.keras_rules import Sides, Traced
from edgekit_converters.compress.ties import Ids

MIXERS = (*CONVOLUTIONS, *TRANSPOSED, layers.Dense)
_SAME = 1e-3


class Channels:
    """The removable channels of a flat model.

    Args:
        model: As ``keras_graph.flat`` makes it.
        examples: Tensors of a small batch, one for each input.
    """

    def __init__(self, model: Any, examples: Sequence[Array]) -> None:
        self.model, self._examples = model, examples
        self._sides = Sides()
        inputs = [self._sides.fixed(keras.ops.convert_to_tensor(array), "") for array in examples]

        def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
            plain, named = keras.tree.map_structure(_value, (arguments, keywords))
            return self._sides.follow(operation, (arguments, keywords), operation(*plain, **named))

        for answer in run(model, inputs, call):
            self._sides.ties.fix(answer.ids, "")

    def sets(self) -> Iterator[ChannelSet]:
        """All sets that some layer reads and that may go; the model's inputs and outputs are not among them."""
        return (item for item, reasons in self._all() if item.readers and not reasons)

    def fixed(self) -> dict[str, str]:
        """Layers whose channels stay because of a layer that is not known: name -> that layer.

        A layer that gives an output is no such reason: the channels of outputs stay anyhow.
        """
        answers = {"", *self.model.output_names}
        found = ((item.root, [reason for reason in reasons if reason not in answers]) for item, reasons in self._all())
        return {root: reasons[0] for root, reasons in found if reasons}

    def _all(self) -> Iterator[tuple[ChannelSet, list[str]]]:
        """All sets, with the reasons why their channels must stay."""
        ties, sides = self._sides.ties, self._sides
        outs = {name: ties.names(sides.outs[name]) for name in sides.layers}
        ins = {name: ties.names(sides.ins[name]) for name in sides.layers if _mixes(sides.layers[name])}
        for root, names in _connected({name: outs[name] for name in ins}):
            number = {name: place for place, name in enumerate(dict.fromkeys(names))}
            makers = [_use(layer, False, own, number) for layer, own in outs.items() if not _normalizes(sides, layer)]
            readers = [_use(layer, True, own, number) for layer, own in ins.items()]
            uses = tuple(use for use in (*makers, *readers) if use.indices)
            reasons = [reason for name in number if (reason := ties.reason(name)) is not None]
            yield ChannelSet(root, len(number), uses), reasons

    def places(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """For the layers that mix channels the places of all that they read, and of all that they make."""
        names = [name for name, layer in self._sides.layers.items() if type(layer) in (*MIXERS, *DEPTHWISE)]
        read, made = (
            {name: np.arange(len(side[name])) for name in names} for side in (self._sides.ins, self._sides.outs)
        )
        return read, made

    def removed(self, chosen: Mapping[str, Sequence[int]]) -> Any:
        """A copy of the model without channels.

        Args:
            chosen: Root layer -> channels of its set.
        """
        gone: set[int] = set()
        for item in self.sets():
            numbers = set(chosen.get(item.root, ()))
            for use in item.uses:
                side = (self._sides.ins if use.reads else self._sides.outs)[use.layer]
                names = self._sides.ties.names(side)
                gone |= {names[place] for place in use.places(numbers)}
        made = copied(self.model, lambda operation: self._changed(operation, gone))
        for layer in self.model.layers:
            self._give_weights(layer, made.get_layer(layer.name), gone)
        return made

    def _left(self, ids: Ids, gone: set[int]) -> list[int]:
        return [place for place, name in enumerate(self._sides.ties.names(ids)) if name not in gone]

    def _changed(self, operation: Any, gone: set[int]) -> dict[str, Any]:
        name, sides = operation.name, self._sides
        if name in sides.reshapes and not isinstance(operation, layers.Flatten):
            key = "target_shape" if isinstance(operation, keras.Layer) else "newshape"
            shape = tuple(operation.get_config()[key])
            count = len(self._left(sides.reshapes[name], gone))
            return {key: shape if shape[-1] == -1 else (*shape[:-1], count)}
        if name not in sides.layers or not _mixes(operation):
            return {}
        count, taken = len(self._left(sides.outs[name], gone)), len(self._left(sides.ins[name], gone))
        changed: dict[str, Any] = {"units" if isinstance(operation, layers.Dense) else "filters": count}
        return changed if taken == len(sides.ins[name]) else {**changed, "use_bias": True}

    def _give_weights(self, old: Any, new: Any, gone: set[int]) -> None:
        if old.name not in self._sides.layers:
            give_weights(new, old.get_weights())
            return
        ins, outs = (self._left(side[old.name], gone) for side in (self._sides.ins, self._sides.outs))
        own = {weight.name: weight.numpy() for weight in old.weights}
        for weight in new.weights:
            whole = own.get(weight.name)
            if whole is None:  # a bias that the layer did not have, for its refit
                weight.assign(np.zeros(weight.shape))
                continue
            weight.assign(whole if whole.shape == tuple(weight.shape) else _part(old, whole, ins, outs))

    def sound(self, round_to: int) -> tuple[list[ChannelSet], list[str]]:
        """The sets whose removal answers as if their channels were silent, and the roots of the others."""
        return sound(self.sets(), lambda sets: self._answers_alike(sets, round_to), round_to)

    def _answers_alike(self, sets: Sequence[ChannelSet], count: int) -> bool:
        try:
            small = self.removed({item.root: range(count) for item in sets})
            answers = keras.tree.flatten(small(self._inputs()))
        except Exception:  # whatever a layer raises when a size is not the one it expects
            return False
        pairs = list(zip(self._silenced(sets, count), answers, strict=True))
        return all(one.shape == other.shape and _close(one, other) for one, other in pairs)

    def _inputs(self) -> Any:
        tensors = [keras.ops.convert_to_tensor(array) for array in self._examples]
        return tensors[0] if len(tensors) == 1 else tensors

    def _silenced(self, sets: Sequence[ChannelSet], count: int) -> list[Any]:
        before = self.model.get_weights()
        for item in sets:
            for use in item.readers:
                layer = self._sides.layers[use.layer]
                kernel = np.moveaxis(layer.kernel.numpy(), _input_axis(layer), 0)
                kernel[use.places(range(count))] = 0
                layer.kernel.assign(np.moveaxis(kernel, 0, _input_axis(layer)))
        answers: list[Any] = keras.tree.flatten(self.model(self._inputs()))
        self.model.set_weights(before)
        return answers

    def parts(self, sets: Sequence[ChannelSet]) -> dict[str, Part]:
        """Cost of every convolution and dense layer, and the sets on its two sides."""
        costs = {}
        for name, macs in layer_macs(self.model, self._examples).items():
            ends = self._ends(name)
            costs[name] = Cost(macs, self.model.get_layer(name).count_params(), *ends)
        return parts_of(costs, sets)

    def _ends(self, name: str) -> tuple[int, int]:
        """Number of channels that a layer takes and makes."""
        if name not in self._sides.layers:
            return 1, 1
        return len(self._sides.ins[name]), len(self._sides.outs[name])


def _value(item: Any) -> Any:
    return item.value if isinstance(item, Traced) else item


def _mixes(layer: Any) -> bool:
    return type(layer) in MIXERS


def _normalizes(sides: Sides, name: str) -> bool:
    return type(sides.layers[name]) not in (*MIXERS, *DEPTHWISE)


def _connected(makers: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, list[int]]]:
    """The first of the layers that share a channel, however far apart, and the channels of all of them."""
    left = dict(makers)
    while left:
        root = next(iter(left))
        names = left.pop(root)
        names = list(names)
        while near := [name for name, own in left.items() if not set(own).isdisjoint(names)]:
            for name in near:
                names += left.pop(name)
        yield root, names


def _use(layer: str, reads: bool, names: Sequence[int], number: Mapping[int, int]) -> Use:
    places = [place for place, name in enumerate(names) if name in number]
    return Use(layer, reads, tuple(places), tuple(number[names[place]] for place in places))


def _input_axis(layer: Any) -> int:
    return -1 if isinstance(layer, TRANSPOSED) else -2


def _part(layer: Any, whole: Array, ins: Sequence[int], outs: Sequence[int]) -> Array:
    """What is left of a weight of a layer."""
    if whole.ndim == 1 or type(layer) is layers.PReLU:
        return whole[..., outs]
    if type(layer) in DEPTHWISE:
        return whole[..., ins, :]
    axis = _input_axis(layer)
    return np.take(np.take(whole, ins, axis), outs, -3 - axis)


def _close(one: Any, other: Any) -> bool:
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.linalg.norm(one - other)) <= _SAME * (float(np.linalg.norm(one)) or 1.0)


def layer_macs(model: Any, examples: Sequence[Array]) -> dict[str, int]:
    """Multiply-accumulates of every convolution and dense layer for one input, by the layer's name."""
    found: dict[str, int] = {}
    batch = len(examples[0])

    def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
        answer = operation(*arguments, **keywords)
        if isinstance(operation, (*MIXERS, *DEPTHWISE)):
            places = arguments[0] if isinstance(operation, TRANSPOSED) else answer
            axis = 1 if getattr(operation, "data_format", "channels_last") == "channels_first" else -1
            each = prod(places.shape) // (batch * places.shape[axis])
            found[operation.name] = found.get(operation.name, 0) + prod(operation.kernel.shape) * each
        return answer

    run(model, [keras.ops.convert_to_tensor(array) for array in examples], call)
    return found
