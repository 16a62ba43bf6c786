"""Keras networks of unusual graphs on their way down: what is removed, learned and saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.spec import Spec
from edgekit_converters.compress.samples import Samples
from edgekit_converters.sources import SourceOptions
from edgekit_converters.sources._quiet import import_keras
from edgekit_converters.store import SampleStore, Stored


@pytest.fixture(autouse=True)
def same_weights() -> None:
    import_keras().utils.set_random_seed(0)


def network_of(model: Any) -> Any:
    from edgekit_converters.compress.keras_network import KerasNetwork
    from edgekit_converters.sources.keras import open_keras_model

    return KerasNetwork(open_keras_model(model, SourceOptions()), round_to=2, decides=None)


def samples_for(network: Any, folder: Path) -> Samples:
    random, store, inputs = np.random.default_rng(0), SampleStore(folder), network._source.inputs
    for number in range(16):
        feeds = {tensor.name: random.random((1, *tensor.shape[1:])).astype(tensor.dtype) for tensor in inputs}
        store.add(Stored(str(number), feeds, {}))
    return Samples(store, Spec("tensors", inputs=inputs))


def halved(model: Any, folder: Path) -> Any:
    """A network at half of its MACs, in two rounds."""
    network = network_of(model)
    samples, macs = samples_for(network, folder / "samples"), network.macs
    for share in (0.75, 0.5):
        assert network.prune(samples, measure="macs", target=share * macs)
    assert network.macs <= 0.5 * macs
    return network


def answers(network: Any, folder: Path) -> Iterator[tuple[Any, Any]]:
    """What the network gives and what its file gives, output by output."""
    from edgekit_converters.sources.keras import open_keras

    feeds = next(samples_for(network, folder / "more").batches(4))
    network.save(folder / "saved.keras")
    with open_keras(folder / "saved.keras", SourceOptions()) as source:
        found, given = source.run(feeds), network.run(feeds)
    assert found.keys() == given.keys()
    return ((given[name], found[name]) for name in found)


def test_branches_that_one_layer_reads_are_both_refitted(tmp_path: Path) -> None:
    layers = import_keras().layers
    photo = import_keras().Input((8, 8, 3))
    pair = [layers.Conv2D(width, 3, padding="same", activation="relu")(photo) for width in (8, 12)]
    joined = layers.Conv2D(16, 1, name="join")(layers.Concatenate()(pair))
    network = halved(import_keras().Model(photo, layers.Dense(3)(layers.GlobalMaxPooling2D()(joined))), tmp_path)
    assert len(network._read["join"]) == network.model.get_layer("join").kernel.shape[-2]
    assert network.distance(samples_for(network, tmp_path / "again")) < 0.1


def test_a_layer_that_reads_a_part_of_a_set_stays_as_it_is_without_that_part(tmp_path: Path) -> None:
    """Its weights come from a removal of the other part, which gives it no bias."""
    layers, row = import_keras().layers, import_keras().Input((6,))
    left, right = layers.Dense(6, name="left")(row), layers.Dense(10, name="right")(row)
    whole = layers.Concatenate()([left, right]) + layers.Dense(16, name="whole")(row)
    part = layers.Dense(3, use_bias=False, name="part")(left)
    network = network_of(import_keras().Model(row, [layers.Dense(2, name="head")(whole), part]))
    samples = samples_for(network, tmp_path)
    kernel = network.model.get_layer("left").kernel
    kernel.assign(100 * kernel.numpy())  # so that no channel of it goes
    before = network.model.get_layer("part").kernel.numpy()
    network.prune(samples, measure="macs", target=network.macs - 40)
    assert network.model.get_layer("left").units == 6
    assert network.model.get_layer("right").units < 10
    assert np.array_equal(network.model.get_layer("part").kernel.numpy(), before)


def merged_into_the_batch() -> Any:
    keras, layers = import_keras(), import_keras().layers
    sound = keras.Input((8, 4))
    rows = keras.ops.reshape(layers.Conv1D(16, 1, name="before")(sound), (-1, 16))
    rows = layers.Dense(16, activation="relu", name="inside")(rows)
    after = layers.Conv1D(8, 1, name="after")(keras.ops.reshape(rows, (-1, 8, 16)))
    return keras.Model(sound, layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(after)))


def test_positions_that_lie_in_the_batch_belong_to_their_input(tmp_path: Path) -> None:
    network = network_of(merged_into_the_batch())
    assert network.macs == 8 * (4 * 16 + 16 * 16 + 16 * 8) + 8 * 3
    network = halved(merged_into_the_batch(), tmp_path)
    assert all(np.allclose(one, other, atol=1e-5) for one, other in answers(network, tmp_path))


def adapted() -> Any:
    """Inputs are normalized by statistics that the layer was shown."""
    keras, layers, row = import_keras(), import_keras().layers, import_keras().Input((6,))
    normalization = layers.Normalization(axis=-1)
    normalization.adapt(np.random.default_rng(0).random((64, 6)) * 9 + 5)
    return keras.Model(row, layers.Dense(3)(layers.Dense(16, activation="relu")(normalization(row))))


def called_by_keyword() -> Any:
    keras, layers, photo = import_keras(), import_keras().layers, import_keras().Input((8, 8, 3))
    backbone = keras.Sequential([keras.Input((8, 8, 8)), layers.Conv2D(8, 3, activation="relu")])
    pooled = layers.GlobalAveragePooling2D()(backbone(inputs=layers.Conv2D(8, 3, padding="same")(inputs=photo)))
    return keras.Model(photo, layers.Dense(3)(inputs=pooled))


def of_a_class_of_ones_own() -> Any:
    """A layer that is a Dense, with a configuration of its own; what it reads and makes stays."""
    keras = import_keras()

    @keras.saving.register_keras_serializable("edgekit-test")
    class Own(keras.layers.Dense):  # type: ignore[misc,name-defined]
        def __init__(self, size: int, **options: Any) -> None:
            super().__init__(size, activation="relu", **options)

        def get_config(self) -> dict[str, Any]:
            return {"size": self.units, "name": self.name}

    answer = row = keras.Input((6,))
    for layer in (keras.layers.Dense(32, activation="relu"), keras.layers.Dense(8), Own(8), keras.layers.Dense(3)):
        answer = layer(answer)
    return keras.Model(row, answer)


def in_half_precision(policy: str) -> Any:
    keras, layers, photo = import_keras(), import_keras().layers, import_keras().Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="relu", dtype=policy)(photo)
    x = layers.Conv2D(8, 1, activation="swish", dtype=policy)(layers.DepthwiseConv2D(3, dtype=policy)(x))
    return keras.Model(photo, layers.Dense(3, dtype="float32")(layers.GlobalAveragePooling2D(dtype=policy)(x)))


@pytest.mark.parametrize(
    "build",
    [adapted, called_by_keyword, of_a_class_of_ones_own, lambda: in_half_precision("mixed_bfloat16")],
    ids=["adapted", "called by keyword", "of a class of one's own", "bfloat16"],
)
def test_a_network_is_halved_and_answers_from_its_file(build: Any, tmp_path: Path) -> None:
    network = halved(build(), tmp_path)
    tolerance = 1e-5 if network.model.layers[1].compute_dtype == "float32" else 0.1
    assert all(np.allclose(one, other, atol=tolerance) for one, other in answers(network, tmp_path))


def test_a_network_of_half_precision_is_trained_on_rounded_numbers(tmp_path: Path) -> None:
    def tune(model: Any, steps: int) -> None:
        photos = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)
        model.compile("sgd", "mse")
        model.fit(photos, 2 * model.predict(photos, verbose=0), epochs=steps, verbose=0)

    network = network_of(in_half_precision("mixed_float16"))
    network.train(tune, 1)
    assert 0 < network.distance(samples_for(network, tmp_path)) < 1


def test_what_the_user_asked_of_weights_and_activations_goes_along() -> None:
    from edgekit_converters.compress.keras_graph import flat

    keras, layers, photo = import_keras(), import_keras().layers, import_keras().Input((8, 8, 3))
    most, little = keras.constraints.MaxNorm(1.0), keras.regularizers.L2(0.1)
    options = {"depthwise_constraint": most, "pointwise_regularizer": little, "activity_regularizer": little}
    answer = layers.SeparableConv2D(4, 3, activation="relu", name="deep", **options)(photo)
    made = flat(keras.Model(photo, layers.Flatten(name="all")(answer)), ["all"])
    assert made.get_layer("deep_depthwise").depthwise_constraint.max_value == 1.0
    assert made.get_layer("deep").kernel_regularizer.l2 == pytest.approx(0.1)
    assert made.get_layer("deep_activation").activity_regularizer.l2 == pytest.approx(0.1)


def test_the_photos_to_try_a_removal_on_are_not_all_black() -> None:
    keras, layers, photo = import_keras(), import_keras().layers, import_keras().Input((8, 8, 3), dtype="uint8")
    hidden = layers.Conv2D(8, 3, name="hidden")(layers.Rescaling(1 / 255)(photo))
    network = network_of(keras.Model(photo, layers.Dense(3)(layers.Flatten()(hidden))))
    (example,) = network._examples
    assert example.dtype == np.uint8
    assert example.std() > 50
