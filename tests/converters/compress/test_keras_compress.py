"""The compression of a Keras model end to end: what is written, what is refused, what is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.errors import InputRefused, ModelRefused, UsageError
from edgekit_converters.compress.compressor import compress
from edgekit_converters.compress.record import Record, record_path
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.sources import open_source
from edgekit_converters.sources._quiet import import_keras
from tests.converters.compress.conftest import request


@pytest.fixture(scope="module")
def small_keras(
    tiny_keras: Path, colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Record]:
    """The tiny network at half of its MACs, and what was done to it. Not to be changed by a test."""
    output = tmp_path_factory.mktemp("small") / "small.keras"
    return output, compress(asked(tiny_keras, colour_photos, output))[0]


def asked(model: Any, photos: list[Path], output: Path, **changed: Any) -> CompressRequest:
    return request(photos[0].parent, output, model=model, **{"target": 0.5, **changed})


def colours() -> Any:
    photos = np.full((3, 32, 32, 3), 0.1, np.float32)
    photos[range(3), :, :, range(3)] += 0.6
    return photos


def test_the_macs_that_were_asked_for_are_left_in_multiples(small_keras: tuple[Path, Record]) -> None:
    output, record = small_keras
    assert record.macs[0] == 8 * 27 * 256 + 8 * 72 * 64 + 32
    assert record.macs[1] <= 0.5 * record.macs[0]
    assert not any("left as they are" in note for note in record.notes)
    with open_source(output) as source:
        filters = [layer.filters for layer in source.model.layers if hasattr(layer, "filters")]  # type: ignore[attr-defined]
        assert all(count % 2 == 0 for count in filters)
        assert source.parameters == record.parameters[1] < record.parameters[0]
        assert [(tensor.name, tensor.shape) for tensor in source.inputs] == [("photo", (None, 32, 32, 3))]
        assert source.run({"photo": colours()})["colour"].argmax(1).tolist() == [0, 1, 2]


def test_the_record_tells_every_step(small_keras: tuple[Path, Record]) -> None:
    raw = json.loads(record_path(small_keras[0]).read_text())
    assert raw["original"] == "tiny.keras"
    assert [step["kind"] for step in raw["steps"]] == ["prune", "recover"]
    assert raw["steps"][-1]["macs"] == raw["macs"][1]
    assert raw["steps"][-1]["agreement"] == 1.0
    assert raw["steps"][0]["removed"].keys() <= {"first", "second"}


def test_smaller_photos_save_what_channels_need_not(
    tiny_keras: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "shrunk.keras"
    options: dict[str, Any] = {"target": 0.24, "steps": 6, "resolutions": ((16, 16),)}
    record, _ = compress(asked(tiny_keras, colour_photos, output, **options))
    assert record.photo == ((32, 32), (16, 16))
    assert [step.kind for step in record.steps] == ["resize", "prune", "recover"]
    assert record.steps[-1].agreement == 1.0
    assert record.macs[1] <= 0.24 * record.macs[0]
    with open_source(output) as source:
        assert source.inputs[0].shape == (None, 16, 16, 3)
        assert source.original_size == (32, 32)
        assert source.run({"photo": colours()[:, ::2, ::2]})["colour"].argmax(1).tolist() == [0, 1, 2]
    arguments: dict[str, Any] = {"to": ("tflite",), "preset": "unit", "evaluation": colour_photos[0].parent}
    judged = edgekit.convert(output, tmp_path / "judged.bundle", original=tiny_keras, **arguments)
    assert 1e-4 < judged.artifacts[0].parity.worst.relative_l2 < 0.5
    assert judged.spec.inputs[0].shape == (None, 16, 16, 3)


def test_artifacts_are_judged_against_the_original(
    small_keras: tuple[Path, Record], tiny_keras: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"to": ("tflite",), "preset": "unit", "evaluation": colour_photos[0].parent}
    judged = edgekit.convert(small_keras[0], tmp_path / "judged.bundle", original=tiny_keras, **arguments)
    assert judged.artifacts[0].parity.worst.relative_l2 > 1e-4
    assert judged.artifacts[0].degraded is None
    assert judged.manifest.source["original"]["parameters"] == small_keras[1].parameters[0]


def test_learning_brings_the_network_closer(tiny_keras: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    record, _ = compress(asked(tiny_keras, colour_photos, tmp_path / "small.keras", target=0.3, steps=40, rate=0.01))
    pruned, recovered = record.steps
    assert pruned.loss is not None
    assert recovered.loss is not None
    assert recovered.loss < 0.9 * pruned.loss


def test_an_interrupt_keeps_the_best_so_far(
    tiny_keras: Path, colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit_converters.compress.keras_network import KerasNetwork

    real = KerasNetwork.learn

    def until_interrupted(network: KerasNetwork, *arguments: Any, **options: Any) -> Iterator[float]:
        for number, loss in enumerate(real(network, *arguments, **options)):
            if number == 6:
                network.restore([-weight for weight in network.model.get_weights()])
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(KerasNetwork, "learn", until_interrupted)
    record, _ = compress(asked(tiny_keras, colour_photos, tmp_path / "small.keras", steps=100, rate=1e-4))
    assert record.interrupted
    assert record.steps[-1].steps == 6
    assert record.steps[-1].agreement == 1.0


TUNING = """
import keras
import numpy as np

def tune(model, steps):
    x = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(x, 1.1 * model.predict(x, verbose=0), batch_size=8, epochs=steps, verbose=0)

def stop(model, steps):
    model.set_weights([-weight for weight in model.get_weights()])
    raise KeyboardInterrupt

def fail(model, steps):
    raise ValueError("no data")

def ruin(model, steps):
    model.set_weights([np.nan * weight for weight in model.get_weights()])
"""


def test_users_train_on_rounded_weights_and_the_float_ones_are_kept(
    tiny_keras: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    tuning = tmp_path / "tuning.py"
    tuning.write_text(TUNING)

    def train(function: str) -> Record:
        options: dict[str, Any] = {"steps": 0, "train": f"{tuning}:{function}", "train_steps": 3}
        return compress(asked(tiny_keras, colour_photos, tmp_path / "small.keras", **options))[0]

    record = train("tune")
    assert [step.kind for step in record.steps] == ["prune", "train-quantized"]
    assert record.steps[1].relative_l2 != record.steps[0].relative_l2
    record = train("stop")
    assert record.interrupted
    with open_source(tmp_path / "small.keras") as source:
        assert source.run({"photo": colours()})["colour"].argmax(1).tolist() == [0, 1, 2]
    with pytest.raises(InputRefused, match=r"tuning\.py:fail failed: ValueError: no data"):
        train("fail")
    with pytest.raises(ModelRefused, match="the model gives NaN after --train"):
        train("ruin")


def test_the_fake_quantized_forward_has_256_levels_and_leaves_no_trace() -> None:
    import tensorflow

    from edgekit_converters.compress.keras_fake_quantization import fake_quantized

    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((64,)), layers.Dense(4, use_bias=False, name="dense")])
    model = keras.Model(model.inputs[0], model.outputs[0])
    before = model.get_layer("dense").kernel.numpy()
    rounding = fake_quantized(model)
    rounded = rounding(np.eye(64, dtype=np.float32)).numpy()
    steps = rounded / (abs(before).max(0) / 127)
    assert np.allclose(steps, steps.round(), atol=1e-2)
    assert 1e-5 < abs(rounded - before).max() <= 0.51 * abs(before).max() / 127
    with tensorflow.GradientTape() as tape:
        total = tensorflow.reduce_sum(rounding(np.ones((2, 64), np.float32)))
    (gradient,) = tape.gradient(total, rounding.trainable_weights)
    assert np.allclose(gradient, 2.0, atol=0.02)
    assert np.array_equal(rounding.get_layer("dense").kernel.numpy(), before)
    assert np.array_equal(model(np.eye(64, dtype=np.float32)).numpy(), before)


def test_what_a_layer_reads_is_rounded_to_256_levels_of_a_running_range() -> None:
    from edgekit_converters.compress.keras_fake_quantization import fake_quantized

    keras = import_keras()
    tensor = keras.Input((4,))
    model = keras.Model(tensor, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(tensor))
    rounding = fake_quantized(model)
    rows = np.array([[-1, 0, 0, 0], [3, 0, 0, 0], [0.3, 0, 0, 0], [0.003, 0, 0, 0]], np.float32)
    answers, step = rounding(rows)[:, 0] / (4 / 255), 4 / 255
    assert np.allclose(answers, np.round(answers), atol=1e-3)
    assert np.allclose(answers * step, rows[:, 0], atol=0.6 * step)
    assert answers[3] == 0
    beyond = np.array([[100, 0, 0, 0]], np.float32)
    assert np.isclose(rounding(beyond)[0, 0], 3 + 0.01 * 97, atol=0.02)  # the range follows slowly


class Unseen:
    """Makes a model that calls its layers in Python."""

    def __new__(cls) -> Any:
        keras = import_keras()

        class Subclassed(keras.Model):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__(name="unseen")
                self.inside, self.last = keras.layers.Dense(32), keras.layers.Dense(4)

            def call(self, inputs: Any) -> Any:
                return self.last(self.inside(keras.ops.reshape(inputs, (-1, 3072))))

        made = Subclassed()
        made(np.zeros((1, 32, 32, 3), np.float32))
        return made


def without_channels() -> Any:
    keras = import_keras()
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])


def of_any_size() -> Any:
    keras = import_keras()
    layers = [keras.layers.Conv2D(8, 3), keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((None, None, 3)), *layers, keras.layers.Dense(4)])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (Unseen, ModelRefused, "unseen is a subclassed model.*no graph"),
        (without_channels, ModelRefused, "no channels that can be removed"),
        (of_any_size, ModelRefused, "--input-shape 1,224,224,3"),
    ],
    ids=["subclassed", "nothing to remove", "open dimensions"],
)
def test_what_cannot_be_done_is_refused(
    colour_photos: list[Path], tmp_path: Path, build: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compress(asked(build(), colour_photos, tmp_path / "small.keras"))
    assert list(tmp_path.iterdir()) == []


def test_the_result_is_a_keras_file(tiny_keras: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a file that ends in \.keras for this model"):
        compress(asked(tiny_keras, colour_photos, tmp_path / "small.pt2"))


def test_a_size_is_a_share_of_the_parameters(tiny_keras: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "small.keras"
    record, _ = compress(asked(tiny_keras, colour_photos, output, goal="size", target=700, steps=0))
    assert record.goal == "0.0007 MB as int8: 83 % of the parameters"
    assert record.parameters[1] <= 700


def test_a_latency_is_measured_before_anything_is_removed(
    edgekit_command: Callable[..., CompletedProcess[str]], tiny_keras: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments = ["compress", tiny_keras, "--preset", "unit", "--data", colour_photos[0].parent, "--round-to", "2"]
    arguments += ["--target-latency", "10s", "--recipe", "int8", "--steps", "0", "-o", tmp_path / "small.keras"]
    done = edgekit_command(*arguments)
    assert done.returncode == 4, done.stderr
    assert re.search(r"error: the model takes \d+\.\d\d ms; expected more than 10000 ms", done.stderr)
    assert list(tmp_path.iterdir()) == []
