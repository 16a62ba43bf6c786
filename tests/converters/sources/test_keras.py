from __future__ import annotations

import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused, ModelRefused, UsageError
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.sources.keras import KerasSource

Array = NDArray[Any]
Edit = Callable[[dict[str, Any]], None]


def random(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def small(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="photo"),
            layers.Conv2D(4, 3, name="conv"),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="score"),
        ]
    )


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():  # Keras says that .h5 is its legacy format
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def edit_h5(path: Path, edit: Edit) -> Path:
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def add_member(path: Path, member: str | zipfile.ZipInfo, content: bytes) -> Path:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_answers_as_the_live_one(small: Any, tmp_path: Path, suffix: str) -> None:
    path = save(small, tmp_path / f"net{suffix}")
    photo = random(3, 8, 8, 3)
    with open_source(path) as source:
        assert isinstance(source, KerasSource)
        assert (source.framework, source.name, source.path) == ("keras", "net", path)
        assert [(item.shape, item.dtype, item.layout) for item in source.inputs] == [
            ((None, 8, 8, 3), "float32", "NHWC")
        ]
        assert [(item.name, item.shape) for item in source.outputs] == [("score", (None, 2))]
        assert source.parameters == small.count_params()
        assert source.size_bytes == path.stat().st_size
        answer = source.run({source.inputs[0].name: photo})
    np.testing.assert_allclose(answer["score"], small(photo), rtol=1e-5, atol=1e-6)


def test_feeds_are_checked(small: Any) -> None:
    with open_source(small) as source:
        name = source.inputs[0].name
        with pytest.raises(DataRefused, match=r"arrays for \['other'\]"):
            source.run({"other": random(1, 8, 8, 3)})
        with pytest.raises(DataRefused, match=r"has shape \[1, 8, 9, 3\]; expected \['any', 8, 8, 3\]"):
            source.run({name: random(1, 8, 9, 3)})


class TestCode:
    """Fault 11: code inside of the file."""

    @pytest.fixture
    def marker(self, tmp_path: Path) -> Path:
        return tmp_path / "the-code-ran"

    def lambda_layer(self, keras: Any, marker: Path) -> Any:
        text = str(marker)
        return keras.layers.Lambda(lambda x: (__import__("pathlib").Path(text).touch(), x)[1], name="sneaky")

    @pytest.mark.parametrize("suffix", [".keras", ".h5"])
    @pytest.mark.parametrize("nested", ["plain", "submodel", "wrapper"])
    def test_a_lambda_is_refused_by_name_and_never_runs(
        self, keras: Any, marker: Path, tmp_path: Path, suffix: str, nested: str
    ) -> None:
        layer = self.lambda_layer(keras, marker)
        if nested == "submodel":
            layer = keras.Sequential([keras.Input((4, 3)), layer], name="inner")
        if nested == "wrapper":
            layer = keras.layers.TimeDistributed(layer, name="each")
        path = save(keras.Sequential([keras.Input((4, 3)), layer], name="net"), tmp_path / f"net{suffix}")
        marker.unlink()
        with pytest.raises(ModelRefused, match=r"layer '[\w/]*sneaky' is a Keras Lambda") as caught:
            open_source(path)
        assert caught.value.exit_code == 3
        assert not marker.exists()

    @pytest.mark.parametrize("suffix", [".keras", ".h5"])
    def test_a_custom_layer_is_explained(self, keras: Any, tmp_path: Path, suffix: str) -> None:
        @keras.saving.register_keras_serializable(package="tests")
        class Doubled(keras.layers.Layer):  # type: ignore[misc]
            def call(self, x: Any) -> Any:
                return x * 2

        path = save(keras.Sequential([keras.Input((3,)), Doubled(name="doubled")]), tmp_path / f"net{suffix}")
        with open_source(path) as source:  # registered: it works
            np.testing.assert_array_equal(
                source.run({source.inputs[0].name: random(1, 3)})["doubled"], random(1, 3) * 2
            )
        del keras.saving.get_custom_objects()["tests>Doubled"]
        with pytest.raises(ModelRefused, match=r"needs a custom object:.*Doubled"):
            open_source(path)

    def test_a_damaged_file_is_refused(self, small: Any, tmp_path: Path, cut_short: Callable[[Path], str]) -> None:
        for suffix in (".keras", ".h5"):
            pattern = cut_short(path := save(small, tmp_path / f"net{suffix}"))
            with pytest.raises(ModelRefused, match=pattern):
                open_source(path)

    def test_a_flipped_byte_in_the_weights_is_refused(self, small: Any, tmp_path: Path) -> None:
        path = save(small, tmp_path / "net.keras")
        with zipfile.ZipFile(path) as archive:
            start = archive.getinfo("model.weights.h5").header_offset
        content = bytearray(path.read_bytes())
        content[start + 3000] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelRefused, match="CRC"):
            open_source(path)

    @pytest.mark.parametrize("attack", ["slip", "link", "bomb"])
    def test_archive_attacks_are_refused(self, small: Any, elsewhere: Path, attack: str) -> None:
        path = save(small, elsewhere / "net.keras")
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        members: dict[str, tuple[str | zipfile.ZipInfo, bytes]] = {
            "slip": ("assets/../../slipped", b"x"),
            "link": (link, b"/etc/passwd"),
            "bomb": ("assets/zeros", bytes(65 << 20)),
        }
        add_member(path, *members[attack])
        before = {item.name for item in elsewhere.parent.iterdir()}
        with pytest.raises(ModelRefused, match=r"outside|symbolic link|bomb") as caught:
            open_source(path)
        assert caught.value.exit_code == 3
        assert [item.name for item in elsewhere.iterdir()] == ["net.keras"]
        assert {item.name for item in elsewhere.parent.iterdir()} == before

    def test_an_h5_link_to_another_file_is_refused(self, small: Any, tmp_path: Path) -> None:
        import h5py

        path = save(small, tmp_path / "net.h5")
        with h5py.File(path, "r+") as file:
            file["model_weights/more"] = h5py.ExternalLink("/etc/passwd", "/")
        with pytest.raises(ModelRefused, match="model_weights/more is a link"):
            open_source(path)

    def test_an_h5_bomb_is_refused(self, small: Any, tmp_path: Path) -> None:
        import h5py

        path = save(small, tmp_path / "net.h5")
        with h5py.File(path, "r+") as file:
            file.create_dataset("model_weights/zeros", (1 << 28,), "float32", compression="gzip")
        with pytest.raises(ModelRefused, match=r"1,073,741,824 bytes, a decompression bomb"):
            open_source(path)

    def test_weights_without_a_model_are_explained(self, small: Any, tmp_path: Path) -> None:
        with warnings.catch_warnings():  # Keras's variables do not know numpy 2's copy argument
            warnings.simplefilter("ignore", DeprecationWarning)
            small.save_weights(tmp_path / "net.weights.h5")
        with pytest.raises(ModelRefused, match="holds weights but no model"):
            open_source(tmp_path / "net.weights.h5")


class TestLegacy:
    """Files that Keras 1 and 2 wrote, made here from a Keras 3 file by writing what they wrote."""

    def check(self, small: Any, path: Path, note: str) -> None:
        photo = random(2, 8, 8, 3)
        with open_source(path) as source:
            assert any(note in line for line in source.notes), source.notes
            answer = source.run({source.inputs[0].name: photo})["score"]
        np.testing.assert_allclose(answer, small(photo), rtol=1e-5, atol=1e-6)

    def test_groups_of_a_depthwise_convolution(self, small: Any, tmp_path: Path) -> None:
        def edit(config: dict[str, Any]) -> None:
            config["config"]["layers"][2]["config"]["groups"] = 1

        self.check(small, edit_h5(save(small, tmp_path / "net.h5"), edit), "groups=1 left out")

    def test_an_argument_with_an_effect_is_refused(self, small: Any, tmp_path: Path) -> None:
        def edit(config: dict[str, Any]) -> None:
            config["config"]["layers"][2]["config"]["groups"] = 2

        with pytest.raises(ModelRefused, match="groups"):
            open_source(edit_h5(save(small, tmp_path / "net.h5"), edit))

    def test_a_sequential_without_input_layer(self, small: Any, tmp_path: Path) -> None:
        def edit(config: dict[str, Any]) -> None:
            first, *others = config["config"]["layers"]
            others[0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]
            config["config"] = others

        self.check(small, edit_h5(save(small, tmp_path / "net.h5"), edit), "input layer made from batch_input_shape")

    def test_the_same_in_a_keras_archive(self, small: Any, tmp_path: Path) -> None:
        path, old = tmp_path / "net.keras", save(small, tmp_path / "new.keras")
        with zipfile.ZipFile(old) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    config["config"]["layers"][2]["config"]["groups"] = 1
                    content = json.dumps(config).encode()
                target.writestr(name, content)
        self.check(small, path, "groups=1 left out")


@pytest.fixture
def parts(keras: Any) -> tuple[Any, ...]:
    left, right = keras.Input((3,), name="right_first"), keras.Input((4,), name="a_second")
    one = keras.layers.Dense(2, name="one")(left)
    two = keras.layers.Dense(2, name="two")(right)
    return left, right, one, two


class TestForms:
    """Several inputs and outputs, dictionaries, subclasses."""

    def test_lists_keep_their_order(self, keras: Any, parts: tuple[Any, ...]) -> None:
        left, right, one, two = parts
        model = keras.Model([left, right], [two, one])
        with open_source(model) as source:
            assert [item.name for item in source.inputs] == ["right_first", "a_second"]
            assert [item.name for item in source.outputs] == ["two", "one"]
            feeds = {"right_first": random(2, 3), "a_second": random(2, 4)}
            answer = source.run(feeds)
        two_expected, one_expected = model([feeds["right_first"], feeds["a_second"]])
        np.testing.assert_allclose(answer["one"], one_expected, rtol=1e-5)
        np.testing.assert_allclose(answer["two"], two_expected, rtol=1e-5)

    def test_dictionaries_give_their_keys(self, keras: Any, parts: tuple[Any, ...]) -> None:
        left, right, one, two = parts
        model = keras.Model({"right_first": left, "a_second": right}, {"z": one, "boxes": {"y": two, "x": one}})
        feeds = {"right_first": random(2, 3), "a_second": random(2, 4)}
        with open_source(model) as source:
            assert [item.name for item in source.inputs] == ["a_second", "right_first"]
            assert [item.name for item in source.outputs] == ["boxes_x", "boxes_y", "z"]
            answer = source.run(feeds)
        expected = model(feeds)
        np.testing.assert_allclose(answer["z"], expected["z"], rtol=1e-5)
        np.testing.assert_allclose(answer["boxes_y"], expected["boxes"]["y"], rtol=1e-5)

    @pytest.fixture
    def subclassed(self, keras: Any) -> Any:
        class Net(keras.Model):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.dense = keras.layers.Dense(3)

            def call(self, rows: Any, training: bool = False) -> Any:
                return {"score": self.dense(rows), "parts": [rows * 2, rows * 3]}

        return Net()

    def test_a_subclassed_model_needs_its_shape(self, subclassed: Any) -> None:
        with pytest.raises(UsageError, match=r"does not say its input shapes.*rows") as caught:
            open_source(subclassed)
        assert "--input-shape" in str(caught.value.remedy)

    def test_a_subclassed_model_with_a_shape(self, subclassed: Any) -> None:
        with open_source(subclassed, SourceOptions(inputs=(InputHint((1, 5)),))) as source:
            self.check_subclassed(source, subclassed)

    def test_a_subclassed_model_that_was_called(self, subclassed: Any) -> None:
        subclassed(random(1, 5))
        with open_source(subclassed) as source:
            self.check_subclassed(source, subclassed)

    def check_subclassed(self, source: Source, model: Any) -> None:
        assert [(item.name, item.shape) for item in source.inputs] == [("rows", (None, 5))]
        assert {item.name for item in source.outputs} == {"score", "parts_0", "parts_1"}
        rows = random(2, 5)
        answer = source.run({"rows": rows})
        np.testing.assert_allclose(answer["score"], model(rows)["score"], rtol=1e-5)
        np.testing.assert_allclose(answer["parts_1"], rows * 3, rtol=1e-6)

    def test_open_dimensions_are_closed_by_the_hint(self, keras: Any) -> None:
        layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3), keras.layers.GlobalMaxPooling2D()]
        model = keras.Sequential(layers)
        with open_source(model) as source:
            assert source.inputs[0].shape == (None, None, None, 3)
        with open_source(model, SourceOptions(inputs=(InputHint((1, 8, 9, 3)),))) as source:
            assert source.inputs[0].shape == (None, 8, 9, 3)
        with pytest.raises(UsageError, match=r"input shape \[1, 8, 9, 4\]"):
            open_source(model, SourceOptions(inputs=(InputHint((1, 8, 9, 4)),)))

    def test_integer_inputs_keep_their_dtype(self, keras: Any) -> None:
        model = keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(10, 4)])
        with open_source(model) as source:
            assert source.inputs[0].dtype == "int32"
            assert source.inputs[0].layout is None
            answer = source.run({source.inputs[0].name: np.zeros((2, 6), np.int64)})
        assert next(iter(answer.values())).shape == (2, 6, 4)


def run_tflite(path: Path, *feeds: Array) -> Array:
    with open_source(path) as source:
        batches = [source.run({source.inputs[0].name: feed}) for feed in feeds]
    return np.concatenate([next(iter(batch.values())) for batch in batches])


@pytest.mark.parametrize(
    ("name", "converted", "parameters"),
    [("vww_96.h5", "vww_96_float.tflite", 221_794), ("pretrainedResnet.h5", "pretrainedResnet.tflite", 78_666)],
)
def test_mlperf_tiny_models_answer_as_their_own_conversions(
    realpack: Path, name: str, converted: str, parameters: int
) -> None:
    with open_source(realpack / "models/keras" / name) as source:
        assert source.parameters == parameters
        height, width = source.inputs[0].height_width
        scale = 1 if "vww" in name else 255  # trained on 0..1 and on 0..255
        photos = random(4, height, width, 3) * scale
        answer = next(iter(source.run({source.inputs[0].name: photos}).values()))
    reference = run_tflite(realpack / "models/ref" / converted, *photos[:, None])
    np.testing.assert_allclose(answer, reference, rtol=1e-3, atol=1e-4)


def test_the_anomaly_detector_reconstructs_its_input_shape(realpack: Path) -> None:
    with open_source(realpack / "models/keras/ad01.h5") as source:
        assert source.outputs[0].shape == (None, 640)
        answer = source.run({source.inputs[0].name: random(2, 640)})
    assert np.isfinite(next(iter(answer.values()))).all()
