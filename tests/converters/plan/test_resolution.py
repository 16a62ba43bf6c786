"""The same network for smaller photos, judged against the original with photos of its own size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.errors import ModelRefused
from edgekit.presets import preset
from edgekit.spec import Spec, TensorSpec
from edgekit_converters.plan.resolution import open_at, own_size, scaled
from edgekit_converters.request import Request
from edgekit_converters.sources import InputHint, open_source
from edgekit_converters.sources.base import SourceOptions
from tests.converters.plan.conftest import Plan

TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"
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


def test_only_classifiers_of_photos_of_one_size_are_varied() -> None:
    photo = TensorSpec("photo", (None, 3, 32, 48), "float32", "NCHW")
    assert own_size(Spec("image-classification", (photo,))) == (32, 48)
    assert own_size(Spec("object-detection", (photo,))) is None
    assert own_size(Spec("image-classification", (TensorSpec("p", (None, 3, None, 48), "float32", "NCHW"),))) is None
    assert own_size(Spec("image-classification", (TensorSpec("x", (None, 8)),))) is None


def test_a_plan_tries_a_smaller_input_and_leaves_out_one_that_loses_too_much(
    plan: Plan, colour_photos: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny.plan"
    rows = "".join(f"{photo},{number % 4}\n" for number, photo in enumerate(colour_photos))
    (tmp_path / "eval.csv").write_text(f"file,label\n{rows}")
    code, out, said = plan(
        TINY, "--preset", "unit", "--input-shape", "1,3,32,32", "--eval", str(tmp_path / "eval.csv"),
        "--to", "onnx", "--recipe", "fp32", "--engine", "onnxruntime", "--threads", "1", "--rounds", "1",
        "--seconds", "0.01", "--own-resolution", "--resolution", "16", "--resolution", "2x1", "--resolution", "1x1",
        "--budget", "drop=0%", "--json", "-o", str(folder),
    )  # fmt: skip
    assert code == 0, said
    rows_of = {tuple(row["resolution"] or ()): row for row in json.loads(out)["variants"]}
    small = rows_of[16, 16]
    assert small["error"] is None
    assert small["metric"]["original"] == 1.0
    assert small["latency_ms"] < rows_of[()]["latency_ms"]
    # Its answers are near the original's, not equal: they were compared with those at 32 x 32.
    assert 1e-4 < small["relative_l2"] < 1
    assert rows_of[()]["relative_l2"] < 1e-4
    bundle = Bundle(folder / small["bundle"])
    assert bundle.spec.inputs[0].shape == (None, 3, 16, 16)
    assert any("judged against the original, with photos of 32x32" in note for note in bundle.manifest.notes)
    assert bundle.artifacts[0].golden.worst.relative_l2 < 1e-4  # `verify` asks for the resized network's own answers
    assert (folder / "chosen.bundle").is_dir()
    assert rows_of[1, 1]["error"] == "not tried: 2x1 loses too much already"
    assert rows_of[2, 1]["error"].startswith("not made: the smaller input alone loses too much: accuracy dropped by ")
