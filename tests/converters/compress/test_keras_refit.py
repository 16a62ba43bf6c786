"""Which channels of a Keras network matter, and how the layers that read them make up for those that are gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.engine import Array
from edgekit_converters.compress.channels import saliency
from edgekit_converters.sources._quiet import import_keras

EXAMPLE = np.random.default_rng(9).standard_normal((2, 8, 8, 3), np.float32)
BATCHES = [[np.random.default_rng(seed).standard_normal((32, 8, 8, 3), np.float32)] for seed in range(4)]


def network() -> Any:
    """Channel 5 doubles channel 2, channel 6 is not read, channel 0 is read most."""
    from edgekit_converters.compress.keras_graph import flat

    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    made = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="first"),
            layers.Conv2D(4, 3, padding="same", name="second"),
            layers.Flatten(name="answer"),
        ]
    )
    kernel, bias = made.get_layer("first").get_weights()
    kernel[..., 5], bias[5] = 2 * kernel[..., 2], 2 * bias[2]
    made.get_layer("first").set_weights([kernel, bias])
    kernel, bias = made.get_layer("second").get_weights()
    kernel[:, :, 6] = 0
    kernel[:, :, 0] *= 10
    made.get_layer("second").set_weights([kernel, bias])
    return flat(made, ["answer"])


def scores(model: Any) -> Array:
    from edgekit_converters.compress.keras_channels import Channels
    from edgekit_converters.compress.keras_statistics import gather

    (item,) = Channels(model, [EXAMPLE]).sets()
    return saliency([item], gather(model, ["second"], tensors()))["first"]


def tensors() -> list[list[Any]]:
    keras = import_keras()
    return [[keras.ops.convert_to_tensor(array) for array in batch] for batch in BATCHES]


def test_a_channel_matters_as_much_as_the_answers_depend_on_it() -> None:
    found = scores(network())
    assert found[6] == 0
    assert found.argmax() == 0
    assert found[0] > 5 * max(found[1:])


def test_a_channel_that_never_changes_does_not_matter() -> None:
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., 3], bias[3] = 0, 5
    model.get_layer("first").set_weights([kernel, bias])
    found = scores(model)
    assert found[3] < 1e-6 * found[0]


def test_a_layer_that_is_used_at_several_scales_counts_once_for_each_input() -> None:
    from edgekit_converters.compress.keras_graph import flat
    from edgekit_converters.compress.keras_statistics import gather

    keras = import_keras()
    layers = keras.layers
    photo = keras.Input((8, 8, 3))
    head = layers.Conv2D(4, 1, name="head")
    large = layers.Conv2D(8, 3, activation="relu", name="large")(photo)
    small = layers.Conv2D(8, 3, strides=2, activation="relu", name="small")(large)
    answer = layers.GlobalAveragePooling2D()(head(large)) + layers.GlobalAveragePooling2D()(head(small))
    effects = gather(flat(keras.Model(photo, answer), ["add"]), ["head", "small"], tensors())
    assert [effects[layer].shape for layer in ("head", "small")] == [(128, 8), (128, 8)]


def layer_cases() -> list[tuple[str, dict[str, Any], tuple[int, ...]]]:
    return [
        ("Conv2D", {"kernel_size": 3, "padding": "same", "dilation_rate": 2}, (9, 8, 5)),
        ("Conv2D", {"kernel_size": (3, 2), "strides": (2, 1)}, (9, 8, 5)),
        ("Conv2D", {"kernel_size": 1, "strides": 2}, (9, 8, 5)),
        ("Conv1D", {"kernel_size": 3, "padding": "same"}, (9, 5)),
        ("Conv1D", {"kernel_size": 3, "padding": "causal", "dilation_rate": 2}, (9, 5)),
        ("Dense", {}, (4, 5)),
    ]


@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    layer_cases(),
    ids=["same", "strides", "strided point", "one axis", "causal", "dense"],
)
def test_what_a_layer_reads_times_its_weights_is_what_it_gives(
    kind: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    from edgekit_converters.compress.keras_repair import taps

    layer = getattr(import_keras().layers, kind)(7, **options)
    read = np.random.default_rng(0).random((2, *shape), np.float32)
    given = np.reshape(layer(read), (-1, 7))
    assert np.allclose(taps(read, layer) @ layer.kernel.numpy().reshape(-1, 7) + layer.bias, given, atol=1e-5)


def test_least_squares_restores_what_the_rest_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit_converters.compress import keras_repair
    from edgekit_converters.compress.keras_channels import Channels

    monkeypatch.setattr(keras_repair, "_AT_ONCE", 40 * 64 * 54)  # two pieces a batch
    original = network()
    model = Channels(original, [EXAMPLE]).removed({"first": [5, 6]})
    unseen = np.random.default_rng(99).standard_normal((8, 8, 8, 3), np.float32)

    def error() -> float:
        wanted, given = np.asarray(original(unseen)), np.asarray(model(unseen))
        return float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted))

    before = error()
    kept, read = {"second": np.arange(4)}, {"second": np.array([0, 1, 2, 3, 4, 7])}
    keras_repair.repair(model, original, ["second"], tensors, kept=kept, read=read)
    assert before > 0.05
    assert error() < 0.1 * before


def test_a_layer_without_a_bias_gets_one_for_its_refit() -> None:
    from edgekit_converters.compress.keras_channels import Channels
    from edgekit_converters.compress.keras_graph import copied
    from edgekit_converters.compress.keras_repair import repair

    plain = copied(network(), lambda layer: {"use_bias": False} if layer.name == "second" else {})
    model = Channels(plain, [EXAMPLE]).removed({"first": [0, 1]})
    assert not np.any(model.get_layer("second").bias)
    kept, read = {"second": np.arange(4)}, {"second": np.arange(2, 8)}
    repair(model, plain, ["second"], tensors, kept=kept, read=read)
    assert np.all(np.asarray(model.get_layer("second").bias) != 0)


def test_the_distance_is_the_one_of_pytorch() -> None:
    """The same answers, of which one holds class scores, and the same layer in between."""
    import torch
    from torch import nn

    from edgekit_converters.compress.keras_distillation import Distance
    from edgekit_converters.compress.keras_graph import flat
    from edgekit_converters.compress.torch_distillation import Distance as TorchDistance
    from edgekit_converters.sources._torch_graph import Exportable

    keras, random = import_keras(), np.random.default_rng(0)
    row = keras.Input((6,))
    kerases, torches = [], []
    for width in (8, 5):
        made = keras.Model(row, keras.layers.Dense(3, name="last")(keras.layers.Dense(width, name="first")(row)))
        made.set_weights([random.standard_normal(weight.shape).astype(np.float32) for weight in made.weights])
        twin = nn.Sequential(nn.Linear(6, width), nn.Linear(width, 3))
        with torch.no_grad():
            for weight, array in zip(twin.parameters(), made.get_weights(), strict=True):
                weight.copy_(torch.from_numpy(array.T))
        kerases.append(flat(made, ["last"]))
        torches.append(Exportable(twin, [""]).eval())
    kept = np.array([0, 1, 2, 3, 6])
    rows = random.standard_normal((16, 6)).astype(np.float32)
    tensors = [keras.ops.convert_to_tensor(rows)]
    own = Distance(kerases[0], ["first"], {"first": kept}, 0)(kerases[1], tensors, tensors)
    theirs = TorchDistance(torches[0], ["model.0"], 0)
    with torch.no_grad():
        same = (torch.from_numpy(rows),)
        wanted = theirs(torches[1], same, same, {"model.0": torch.from_numpy(kept)})
    assert float(own) > 0.1
    assert np.isclose(float(own), float(wanted), rtol=1e-4)


def test_a_layer_on_places_in_a_row_is_not_compared_with_the_row_of_a_larger_photo() -> None:
    from edgekit_converters.compress.keras_distillation import Distance
    from edgekit_converters.compress.keras_graph import flat

    keras, layers = import_keras(), import_keras().layers
    row = [layers.Reshape((-1, 5)), layers.Dense(6, name="inside"), layers.GlobalAveragePooling1D()]
    row += [layers.Dense(3, name="last")]
    made = []
    for side in (8, 4):
        answer = photo = keras.Input((side, side, 3))
        for layer in (layers.Conv2D(5, 1, name="grid"), *row):
            answer = layer(answer)
        made.append(flat(keras.Model(photo, answer), ["last"]))
    photos = [[keras.ops.convert_to_tensor(BATCHES[0][0][:8, :side, :side])] for side in (8, 4)]
    kept = {"grid": np.arange(5), "inside": np.arange(6)}

    def distance(*names: str) -> float:
        return float(Distance(made[0], names, kept, None)(made[1], photos[1], photos[0]))

    assert distance("inside") == distance()
    assert distance("grid", "inside") == distance("grid") > distance()
    same = float(Distance(made[0], ["inside"], kept, None)(made[0], photos[0], photos[0]))
    assert same == 0.0
