"""Channels of Keras networks are removed from every layer that depends on them, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.channels import ChannelSet
from edgekit_converters.sources._quiet import import_keras

Built = tuple[Any, Any]
"""Inputs and outputs."""


def branches(keras: Any) -> Built:
    """A residual, a depthwise convolution, a concatenation and a flattened end."""
    layers = keras.layers
    photo = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, padding="same", name="stem")(photo)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(24, 1, name="expand")(x)))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    x = x + layers.Conv2D(16, 1, name="project")(y)
    side = layers.Conv2D(8, 3, padding="same", name="side")(x)
    joined = layers.Conv2D(12, 1, activation="relu", name="join")(layers.Concatenate()([x, side]))
    flat = layers.Flatten()(layers.AveragePooling2D(4)(joined))
    return photo, layers.Dense(5, activation="softmax", name="last")(flat)


def squeezed(keras: Any) -> Built:
    """A squeeze-and-excite block: what scales the channels goes with them."""
    layers = keras.layers
    photo = keras.Input((8, 8, 3))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, use_bias=False, name="wide")(photo))
    scale = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    scale = layers.Conv2D(4, 1, activation="swish", name="squeeze")(scale)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid", name="excite")(scale)])
    return photo, layers.Conv2D(2, 1, name="head")(layers.MaxPooling2D()(x))


def nested(keras: Any) -> Built:
    """A backbone that is a model of its own, and a head."""
    layers = keras.layers
    inside = keras.Sequential([keras.Input((8, 8, 4)), layers.SeparableConv2D(8, 3, activation="relu", name="deep")])
    small = keras.Input((8, 8, 3))
    backbone = keras.Model(small, inside(layers.Conv2D(4, 3, padding="same", name="first")(small)), name="backbone")
    photo = keras.Input((8, 8, 3))
    features = layers.Dropout(0.2)(layers.GlobalMaxPooling2D()(backbone(photo)))
    return photo, layers.Dense(3, name="head")(features)


def sequence(keras: Any) -> Built:
    """Convolutions along time, one of them used twice, and an upsampling one."""
    layers = keras.layers
    sound = keras.Input((12, 4))
    twice = layers.Conv1D(8, 3, padding="causal", name="twice")
    x = twice(twice(layers.Conv1D(8, 1, activation="tanh", name="first")(sound)))
    x = layers.Conv1DTranspose(6, 2, strides=2, name="grow")(x)
    x = layers.DepthwiseConv1D(3, depth_multiplier=2, name="along")(layers.LeakyReLU()(x))
    return sound, layers.Dense(3, name="head")(keras.ops.mean(keras.ops.relu6(x) * 0.5, axis=1))


NETWORKS: dict[str, tuple[Callable[[Any], Built], set[tuple[str, ...]]]] = {
    "branches": (
        branches,
        {
            ("expand", "join", "project", "side", "stem"),
            ("depthwise", "expand", "project"),
            ("join", "side"),
            ("join", "last_linear"),
        },
    ),
    "squeezed": (squeezed, {("excite", "head", "squeeze", "wide"), ("excite", "squeeze")}),
    "nested": (nested, {("deep", "deep_depthwise", "first"), ("deep", "head")}),
    "sequence": (sequence, {("first", "grow", "twice"), ("along", "grow", "head")}),
}


@pytest.fixture(params=NETWORKS)
def found(request: pytest.FixtureRequest) -> tuple[Any, set[tuple[str, ...]]]:
    build, expected = NETWORKS[request.param]
    return channels_of(build), expected


def channels_of(build: Callable[[Any], Built]) -> Any:
    from edgekit_converters.compress.keras_channels import Channels
    from edgekit_converters.compress.keras_graph import flat
    from edgekit_converters.sources._keras_graph import output_names

    keras = import_keras()
    keras.utils.set_random_seed(0)
    model = keras.Model(*build(keras))
    random = np.random.default_rng(0)
    examples = [random.random((2, *tensor.shape[1:]), np.float32) for tensor in model.inputs]
    for weight in model.weights:
        weight.assign(weight.numpy() + random.uniform(0.01, 0.3, weight.shape))
    made = flat(model, output_names(model, model))
    together = examples[0] if len(examples) == 1 else examples
    assert np.allclose(made(together), model(together), atol=1e-5)
    return Channels(made, examples)


def names(item: ChannelSet) -> tuple[str, ...]:
    return tuple(sorted({use.layer for use in item.uses}))


def test_all_sets_but_the_answers_are_found(found: tuple[Any, set[tuple[str, ...]]]) -> None:
    channels, expected = found
    sets, left_alone = channels.sound(2)
    assert {names(item) for item in sets} == expected
    assert left_alone == []
    assert channels.fixed() == {}


def test_removal_answers_as_if_the_channels_were_silent(found: tuple[Any, set[tuple[str, ...]]]) -> None:
    channels, _ = found
    keras, gone = import_keras(), (1, 2)
    sets = list(channels.sound(2)[0])
    small = channels.removed({item.root: gone for item in sets})
    silent = channels.model
    for item in sets:
        for use in item.readers:
            layer = silent.get_layer(use.layer)
            kernel = layer.kernel.numpy()
            reads = kernel.swapaxes(-1, -2) if isinstance(layer, keras.layers.Conv1DTranspose) else kernel
            reads[..., use.places(gone), :] = 0
            layer.kernel.assign(kernel)
        assert (
            len(silent.get_layer(item.root).get_weights()[0].T) - len(small.get_layer(item.root).get_weights()[0].T)
            == 2
        )
    random = np.random.default_rng(1)
    tensor = random.random((3, *silent.input.shape[1:]), np.float32)
    assert small.count_params() < silent.count_params()
    assert np.allclose(small(tensor), silent(tensor), atol=1e-4)
    assert small.output_names == silent.output_names


def test_the_layers_are_as_small_as_their_channels() -> None:
    channels = channels_of(branches)
    small = channels.removed({item.root: [1, 3, 4, 6] for item in channels.sound(4)[0]})
    shapes = {layer.name: layer.kernel.shape for layer in small.layers if hasattr(layer, "kernel")}
    assert shapes == {
        "stem": (3, 3, 3, 12),
        "expand": (1, 1, 12, 20),
        "depthwise": (3, 3, 20, 1),
        "project": (1, 1, 20, 12),
        "side": (3, 3, 12, 4),
        "join": (1, 1, 16, 8),
        "last_linear": (8 * 16, 5),
    }
    assert small.input.shape == (None, 16, 16, 3)


def normalized(keras: Any) -> Built:
    layers = keras.layers
    row = keras.Input((6,))
    x = layers.Dense(16, activation="relu", name="first")(row)
    return row, layers.Dense(3)(layers.LayerNormalization(name="norm")(layers.Dense(16, name="hidden")(x)))


def recurrent(keras: Any) -> Built:
    layers = keras.layers
    sound = keras.Input((6, 4))
    x = layers.LSTM(8, name="memory")(layers.Dense(16, name="before")(sound))
    return sound, layers.Dense(3)(layers.Dense(8, activation="gelu", name="after")(x))


def attentive(keras: Any) -> Built:
    """A softmax over channels, attention called by keywords, and a map of one channel that is laid over all."""
    layers = keras.layers
    photo = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 1, name="values")(photo)
    x = layers.Multiply()([x, layers.Conv2D(1, 1, activation="sigmoid", name="place")(x)])
    row = layers.Conv2D(8, 1, activation="softmax", name="shares")(x)
    row = layers.Dense(8, name="words")(layers.Reshape((16, 8))(row))
    row = layers.MultiHeadAttention(2, 4, name="attention")(query=row, value=row)
    return photo, layers.Dense(2)(layers.Permute((2, 1), name="turned")(row))


@pytest.mark.parametrize(
    ("build", "roots", "fixed"),
    [
        (normalized, ["first"], {"hidden": "norm"}),
        (recurrent, ["after"], {"before": "memory"}),
        (attentive, ["values"], {"shares": "shares_activation", "words": "attention"}),
    ],
    ids=["layer normalization", "memory", "attention"],
)
def test_layers_that_are_not_known_keep_their_channels(
    build: Callable[[Any], Built], roots: list[str], fixed: dict[str, str]
) -> None:
    channels = channels_of(build)
    sets, left_alone = channels.sound(2)
    assert [item.root for item in sets] == roots
    assert left_alone == []
    assert channels.fixed() == fixed


def test_a_set_whose_removal_changes_more_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit_converters.compress import keras_rules

    def build(keras: Any) -> Built:
        row = keras.Input((6,))
        x = keras.layers.Dense(16, activation="tanh", name="first")(row)
        x = keras.layers.Softmax()(keras.layers.Dense(16, name="hidden")(x))
        return row, keras.layers.Dense(3)(x)

    monkeypatch.setattr(keras_rules, "_ONE_BY_ONE", (import_keras().layers.Softmax,))  # which is wrong
    channels = channels_of(build)
    assert {item.root for item in channels.sets()} == {"first", "hidden"}
    sets, left_alone = channels.sound(4)
    assert [item.root for item in sets] == ["first"]
    assert left_alone == ["hidden"]


def test_channels_that_meet_in_a_sum_are_one_set_even_across_a_concatenation() -> None:
    def build(keras: Any) -> Built:
        layers = keras.layers
        photo = keras.Input((4, 4, 3))
        left, right = (layers.Conv2D(count, 1, name=f"of_{count}")(photo) for count in (6, 10))
        x = layers.Concatenate()([left, right]) + layers.Conv2D(16, 1, name="whole")(photo)
        return photo, layers.Conv2D(2, 1, name="head")(x)

    channels = channels_of(build)
    (item,) = channels.sound(2)[0]
    assert (item.size, names(item)) == (16, ("head", "of_10", "of_6", "whole"))
    small = channels.removed({item.root: [0, 6, 7]})
    kernels = {name: small.get_layer(name).kernel.shape[-1] for name in ("of_6", "of_10", "whole")}
    assert kernels == {"of_6": 5, "of_10": 8, "whole": 13}


def test_macs_are_counted_as_papers_do() -> None:
    from edgekit_converters.compress.keras_channels import layer_macs

    channels = channels_of(branches)
    macs = layer_macs(channels.model, [np.zeros((2, 16, 16, 3), np.float32)])
    assert macs["stem"] == 3 * 9 * 16 * 256
    assert macs["depthwise"] == 9 * 24 * 256
    assert macs["last_linear"] == 12 * 16 * 5
    parts = channels.parts(channels.sound(2)[0])
    assert sum(part.macs for part in parts.values()) == sum(macs.values())
    joining = [(part.macs, set(part.sides)) for name, part in parts.items() if name.startswith("join ")]
    assert joining == [(12 * 16 * 256, {"stem", "join"}), (12 * 8 * 256, {"side", "join"})]


def test_a_reshape_that_is_used_twice_gives_both_the_same_channels() -> None:
    def build(keras: Any) -> Built:
        layers = keras.layers
        photo, shape = keras.Input((4, 4, 3)), keras.layers.Reshape((16, 8))
        rows = [shape(layers.Conv2D(8, 1, name=name)(photo)) for name in ("one", "other")]
        return photo, layers.Dense(3, name="first")(rows[0]) + layers.Dense(3, name="second")(rows[1])

    (item,) = channels_of(build).sound(2)[0]
    assert names(item) == ("first", "one", "other", "second")


def test_an_explicit_mask_makes_a_layer_one_that_is_not_known() -> None:
    def build(keras: Any) -> Built:
        layers, sound = keras.layers, keras.Input((8, 4))
        mask = layers.Dense(8, name="mask")(layers.GlobalMaxPooling1D()(sound)) > 0.0
        pooled = layers.GlobalAveragePooling1D(name="mean")(layers.Conv1D(8, 1, name="wide")(sound), mask=mask)
        x = layers.BatchNormalization(name="norm")(layers.Conv1D(8, 1, name="deep")(sound), mask=mask)
        return sound, layers.Dense(3)(pooled) + layers.Dense(3)(layers.GlobalAveragePooling1D()(x))

    channels = channels_of(build)
    assert list(channels.sets()) == []
    fixed = channels.fixed()
    assert (fixed["wide"], fixed["deep"]) == ("mean", "norm")


def test_a_bias_that_is_added_for_a_refit_starts_at_zero() -> None:
    def build(keras: Any) -> Built:
        row = keras.Input((6,))
        x = keras.layers.Dense(16, activation="tanh", name="first")(row)
        return row, keras.layers.Dense(3, use_bias=False, bias_initializer="ones", name="last")(x)

    sets, left_alone = channels_of(build).sound(2)
    assert [item.root for item in sets] == ["first"]
    assert left_alone == []
