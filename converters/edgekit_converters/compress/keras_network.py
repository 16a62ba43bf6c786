"""Keras networks made smaller. Imports TensorFlow when imported."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.errors import ModelRefused
from edgekit_converters.compress.keras_channels import Channels, layer_macs
from edgekit_converters.compress.keras_distillation import Distance
from edgekit_converters.compress.keras_graph import copied, flat, is_graph, keras
from edgekit_converters.compress.keras_repair import repair
from edgekit_converters.compress.keras_statistics import Tensors, gather
from edgekit_converters.compress.layered import LayeredNetwork
from edgekit_converters.compress.learning import CLIP, schedule
from edgekit_converters.compress.network import Network, Progress
from edgekit_converters.compress.samples import Samples
from edgekit_converters.compress.training import Tune
from edgekit_converters.input_size import Size
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._original_size import append_size
from edgekit_converters.sources._quiet import import_tensorflow
from edgekit_converters.sources._tensors import ordered_feeds, to_answer
from edgekit_converters.sources.keras import KerasSource

tf = import_tensorflow()
_SAME = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}
"""Dtype that a layer computes in -> what may lie between answers of one network, called in two ways."""


class KerasNetwork(LayeredNetwork):
    """A Keras model on its way down.

    Args:
        source: The open model.
        round_to: Sizes of channel sets become multiples of this.
        decides: Name of the output that holds class scores.
        original: The open original, where it takes photos of another size than ``source``, the same network.

    Raises:
        ModelRefused: Nothing in it can be removed, or its layers cannot be copied.
    """

    suffix = ".keras"

    def __init__(
        self, source: KerasSource, *, round_to: int, decides: str | None, original: KerasSource | None = None
    ) -> None:
        self._source, self._round_to = source, round_to
        self._open_batch = all(tensor.shape[0] is None for tensor in source.inputs)
        self._examples = _examples(source)
        self._whole = _flat(source, self._examples)
        self._original_source = original or source
        self._original = self._whole if original is None else _flat(original, _examples(original))
        self.model = copied(self._whole)
        self._order = list(layer_macs(self.model, self._examples))
        channels = self._channels()
        self._read, self._kept = channels.places()
        self._refitted: set[str] = set()
        self.notes = ()
        self._roots = self._sound_roots(channels)
        names = [tensor.name for tensor in source.outputs]
        self._decides = names.index(decides) if decides in names else None
        self._traced: dict[str, Any] = {}

    def _sound_roots(self, channels: Channels) -> frozenset[str]:
        sets, others = channels.sound(self._round_to)
        if not sets:
            raise _nothing(self._source, self._round_to)
        if others:
            self.notes = (f"left as they are, for a removal changes more than the channels: {', '.join(others)}",)
        fixed = [f"{root} (for {reason})" for root, reason in channels.fixed().items()]
        if fixed:
            self.notes += (f"left as they are, for layers that are not known: {', '.join(fixed)}",)
        return frozenset(item.root for item in sets)

    @property
    def macs(self) -> int:
        """See :class:`Network`."""
        return sum(layer_macs(self.model, self._examples).values())

    @property
    def parameters(self) -> int:
        """See :class:`Network`."""
        return int(self.model.count_params())

    def _channels(self) -> Channels:
        return Channels(self.model, self._examples)

    def _effects(self, readers: Sequence[str], batches: Iterator[Tensors]) -> Mapping[str, Any]:
        return gather(self.model, readers, batches)

    def _remove(self, channels: Channels, chosen: Mapping[str, Sequence[int]]) -> None:
        self.model, self._traced = channels.removed(chosen), {}

    def _repair(self, layers: Sequence[str], samples: Samples) -> None:
        repair(self.model, self._whole, layers, lambda: self._batches(samples), kept=self._kept, read=self._read)

    def _tensors(self, feeds: Feeds, of: KerasSource | None = None) -> list[Any]:
        return [tf.convert_to_tensor(array) for array in ordered_feeds((of or self._source).inputs, feeds)]

    def _distance(self) -> Distance:
        names = [name for name in self._order if name in self._refitted]
        return Distance(self._original, names, self._kept, self._decides)

    def learn(self, samples: Samples, progress: Progress, *, rate: float, seed: int) -> Iterator[float]:
        """See :class:`Network`."""
        distance, model, weights = self._distance(), self.model, self._weights()
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=CLIP)

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(tensors: list[Any], wanted_of: list[Any]) -> Any:
            with tf.GradientTape() as tape:
                loss = distance(model, tensors, wanted_of)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return loss

        batches = samples.endless(self._batch, seed)
        for number in itertools.count(1):
            done = progress(number)
            optimizer.learning_rate.assign(rate * schedule(min(done, 1.0)))
            feeds, originals = next(batches)
            yield float(step(self._tensors(feeds), self._tensors(originals, self._original_source)))
            if done >= 1.0:
                return

    def _weights(self) -> list[Any]:
        """What is learned: all but the statistics of normalizations and layers that no answer depends on."""
        with tf.GradientTape() as tape:
            answers = keras.tree.flatten(self.model(_plain(map(tf.convert_to_tensor, self._examples))))
            total = tf.add_n([tf.reduce_sum(tf.cast(answer, tf.float32)) for answer in answers])
        weights = self.model.trainable_weights
        gradients = tape.gradient(total, weights)
        return [weight for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]

    def _batch_distance(self, feeds: Feeds, originals: Feeds) -> float:
        if "distance" not in self._traced:
            measure, model = Distance(self._original, (), {}, self._decides), self.model
            self._traced["distance"] = tf.function(
                lambda tensors, wanted_of: measure(model, tensors, wanted_of), reduce_retracing=True
            )
        return float(self._traced["distance"](self._tensors(feeds), self._tensors(originals, self._original_source)))

    def copy(self) -> Network:
        """See :class:`Network`."""
        twin = copy.copy(self)
        twin.model, twin._traced = copied(self.model), {}
        twin._kept, twin._read, twin._refitted = dict(self._kept), dict(self._read), set(self._refitted)
        return twin

    def snapshot(self) -> object:
        """See :class:`Network`."""
        return self.model.get_weights()

    def restore(self, weights: object) -> None:
        """See :class:`Network`."""
        self.model.set_weights(weights)

    def between(self, start: object, end: object, share: float) -> object:
        """See :class:`Network`."""
        pairs = zip(cast(list[Array], start), cast(list[Array], end), strict=True)
        return [first + (last - first) * share if last.dtype.kind == "f" else last for first, last in pairs]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See :class:`Network`."""
        if "answers" not in self._traced:
            model = self.model
            self._traced["answers"] = tf.function(
                lambda tensors: keras.tree.flatten(model(_plain(tensors))), reduce_retracing=True
            )
        answers = self._traced["answers"](self._tensors(feeds))
        return {
            tensor.name: to_answer(keras.ops.convert_to_numpy(answer))
            for tensor, answer in zip(self._source.outputs, answers, strict=True)
        }

    def train(self, tune: Tune, steps: int) -> None:
        """See :class:`Network`."""
        from edgekit_converters.compress.keras_fake_quantization import train_quantized

        self.restore(train_quantized(self.model, tune, steps, _plain(map(tf.convert_to_tensor, self._examples))))

    def save(self, path: Path, original_size: Size | None = None) -> None:
        """See :class:`Network`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TensorFlow's own, of numpy's __array__
            self.model.save(path)
        if original_size is not None:
            append_size(path, original_size)


def _plain(tensors: Any) -> Any:
    """A single tensor itself, several as a list: what a flat model is called with."""
    found = list(tensors)
    return found[0] if len(found) == 1 else found


def _examples(source: KerasSource) -> list[Array]:
    """A batch of 2 where the batch is open, to find dependencies on: floats 0..1, bytes of photos, else 0, masks 1."""
    random, made = np.random.default_rng(0), []
    for tensor in source.inputs:
        batch, *rest = tensor.shape
        sizes = [size for size in rest if size is not None]
        if len(sizes) < len(rest):
            raise ModelRefused(
                f"input {tensor.name!r} has the shape {list(tensor.shape)}",
                expected="all dimensions but the batch",
                remedy="pass --input-shape, e.g. --input-shape 1,224,224,3",
            )
        shape = (batch or 2, *sizes)
        values = np.ones(shape) if "mask" in tensor.name or tensor.dtype == "bool" else np.zeros(shape)
        if "float" in tensor.dtype:
            values = random.random(shape)
        elif tensor.layout is not None:
            values = np.floor(random.uniform(0, 256, shape))
        made.append(values.astype(tensor.dtype))
    return made


def _flat(source: KerasSource, examples: list[Array]) -> Any:
    """The flat model of a source, which answers as the source does."""
    try:
        model = flat(source.model, [tensor.name for tensor in source.outputs])
    except Exception as error:  # whatever the get_config() and from_config() of a user's layer raise
        raise _subclassed(source) or ModelRefused(
            f"{source.name} cannot be copied layer by layer: {type(error).__name__}: {first_line(error)}",
            expected="layers that get_config() and from_config() can copy",
        ) from error
    feeds = {tensor.name: array for tensor, array in zip(source.inputs, examples, strict=True)}
    same = max(_SAME[layer.compute_dtype] for layer in model.layers if layer.compute_dtype in _SAME)
    wanted = source.run(feeds)
    found = keras.tree.flatten(model(_plain(map(tf.convert_to_tensor, examples))))
    for own, tensor in zip(found, source.outputs, strict=True):
        target = np.asarray(wanted[tensor.name], np.float64)
        if np.linalg.norm(np.asarray(own, np.float64) - target) > same * (np.linalg.norm(target) or 1.0):
            raise ModelRefused(
                f"a copy of the layers of {source.name} answers otherwise",
                expected="a graph of layers without state or randomness of its own",
            )
    model.trainable = True
    return model


def _nothing(source: KerasSource, round_to: int) -> ModelRefused:
    return _subclassed(source) or ModelRefused(
        f"{source.name} has no channels that can be removed",
        expected=f"convolutions or dense layers of more than {round_to} channels between others",
        remedy="a quantized recipe makes it smaller without removing anything",
    )


def _subclassed(source: KerasSource) -> ModelRefused | None:
    """The refusal of a model whose layers are called in Python; ``None`` for other models."""
    inside = [layer.name for layer in source.model.layers if isinstance(layer, keras.Model) and not is_graph(layer)]
    if not inside:
        return None
    return ModelRefused(
        f"{inside[0]} is a subclassed model, which calls its layers in Python: there is no graph to find channels in",
        expected="a functional or Sequential model",
        remedy="build it from the same layers with keras.Model(inputs, outputs) and load its weights there",
    )
