"""The same network for smaller photos, judged against the original with photos of its own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, UsageError
from edgekit.presets import preset
from edgekit.spec import Spec, TensorSpec
from edgekit_converters.input_size import open_at, own_size, parse_sides, scaled, sides_below
from edgekit_converters.request import Request
from edgekit_converters.sources import InputHint, open_source
from edgekit_converters.sources.base import SourceOptions

TINY = f"{Path(__file__).parents[1] / 'fixtures' / 'tiny.py'}:build"
TINY_AT_32 = Request(TINY, Path(), source=SourceOptions(inputs=(InputHint((1, 3, 32, 32)),)))


def test_a_factory_is_built_with_another_input() -> None:
    photos = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    small = np.ascontiguousarray(photos[:, :, ::2, ::2])
    with open_source(TINY, TINY_AT_32.source) as original, open_at(TINY_AT_32, original, (16, 16)) as resized:
        assert resized.inputs[0].shape == (None, 3, 16, 16)
        (answer,) = resized.run({resized.inputs[0].name: small}).values()
        # Convolutions and a global pool: the same weights on a quarter of the pixels see nearly the same colours.
        tiled = np.tile(small, (1, 1, 2, 2))
        (wanted,) = original.run({original.inputs[0].name: tiled}).values()
        assert answer.shape == (2, 4)
        assert np.linalg.norm(answer - wanted) < 0.2 * np.linalg.norm(wanted)


def keras_network(*, pooled: bool) -> Any:
    from edgekit_converters.sources._quiet import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    taken = keras.Input((16, 16, 3), name="photo")
    seen = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(taken)
    flat = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(seen)) if pooled else layers.Flatten()(seen)
    return keras.Model(taken, layers.Dense(3)(flat))


def test_a_keras_network_keeps_its_weights() -> None:
    photos = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    model = keras_network(pooled=True)
    request = Request(model, Path())
    with open_source(model) as original, open_at(request, original, (8, 8)) as resized:
        assert resized.inputs[0] == TensorSpec("photo", (None, 8, 8, 3), "float32", "NHWC")
        (answer,) = resized.run({"photo": photos}).values()
        (wanted,) = original.run({"photo": np.tile(photos, (1, 2, 2, 1))}).values()
        assert np.linalg.norm(answer - wanted) < 0.2 * np.linalg.norm(wanted)
        assert np.abs(answer).max() > 0.01


def test_a_network_that_is_tied_to_its_size_is_refused() -> None:
    model = keras_network(pooled=False)
    with (
        open_source(model) as original,
        pytest.raises(ModelRefused, match="not made: the model takes no 8x8 photos"),
    ):
        open_at(Request(model, Path()), original, (8, 8))


def test_photos_are_shrunk_in_the_same_measure_before_the_crop() -> None:
    said = preset("imagenet")
    assert said.preprocess is not None
    found = scaled(said, (224, 224), (168, 168)).preprocess
    assert found is not None
    assert (said.preprocess.size, found.size) == ((256, 256), (192, 192))
    assert scaled(preset("unit"), (224, 224), (168, 168)) == preset("unit")


@pytest.mark.parametrize("size", [(160, 192), (192, 160)])
def test_the_shorter_side_stays_longer_than_what_is_cut_out(size: tuple[int, int]) -> None:
    found = scaled(preset("imagenet"), (224, 224), size).preprocess
    assert found is not None
    assert found.size == (219, 219)  # 256 * 192 / 224


def test_only_classifiers_of_photos_of_one_size_are_varied() -> None:
    photo = TensorSpec("photo", (None, 3, 32, 48), "float32", "NCHW")
    assert own_size(Spec("image-classification", (photo,))) == (32, 48)
    assert own_size(Spec("object-detection", (photo,))) is None
    assert own_size(Spec("image-classification", (TensorSpec("p", (None, 3, None, 48), "float32", "NCHW"),))) is None
    assert own_size(Spec("image-classification", (TensorSpec("x", (None, 8)),))) is None


def test_smaller_sizes_lie_on_the_grid_of_the_layers() -> None:
    assert sides_below((224, 224))[:3] == ((208, 208), (192, 192), (176, 176))
    assert sides_below((224, 224))[-1] == (112, 112)
    assert sides_below((32, 32)) == ((28, 28), (24, 24), (20, 20), (16, 16))
    assert sides_below((96, 128))[:2] == ((88, 120), (80, 104))
    assert sides_below((4, 4)) == ()


def test_sides_are_read_as_one_or_two_numbers() -> None:
    assert (parse_sides("160"), parse_sides("160x120")) == ((160, 160), (160, 120))
    for word in ("0", "160x", "x160", "1.5", "-8", "160x120x3"):
        with pytest.raises(UsageError, match="--resolution"):
            parse_sides(word)
