from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.sources.savedmodel import SavedModelSource


@pytest.fixture(scope="module")
def tf() -> Any:
    from edgekit_converters.sources._quiet import import_tensorflow

    return import_tensorflow()


@pytest.fixture(scope="module")
def original(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signatures; the first has two inputs and two outputs."""

    class Net(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], name="rows"), tf.TensorSpec([None, 2], name="shift")])  # type: ignore[untyped-decorator]
        def score(self, rows: Any, shift: Any) -> Any:
            return {"score": rows @ self.weight + shift, "double": rows * 2}

        @tf.function(input_signature=[tf.TensorSpec([None, None, 3], name="grid")])  # type: ignore[untyped-decorator]
        def total(self, grid: Any) -> Any:
            return {"total": tf.reduce_sum(grid, axis=2)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
        def read(self, text: Any) -> Any:
            return {"length": tf.strings.length(text)}

    class Writer(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([1], name="x")])  # type: ignore[untyped-decorator]
        def write(self, x: Any) -> Any:
            tf.io.write_file("the-graph-wrote", "x")
            return {"y": x}

    net, writer, folder = Net(), Writer(), tmp_path_factory.mktemp("saved") / "net"
    signatures = {"serving_default": net.score, "total": net.total, "read": net.read}
    tf.saved_model.save(net, str(folder), signatures=signatures)
    tf.saved_model.save(writer, str(folder.with_name("writer")), signatures={"serving_default": writer.write})
    tf.saved_model.save(tf.Module(), str(folder.with_name("bare")))
    return folder


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    folder = tmp_path / "net"
    shutil.copytree(original, folder)
    return folder


def test_a_signature_answers_by_name(saved: Path) -> None:
    with open_source(saved) as source:
        assert isinstance(source, SavedModelSource)
        assert (source.framework, source.name, source.signature) == ("savedmodel", "net", "serving_default")
        assert {item.name: item.shape for item in source.inputs} == {"rows": (None, 3), "shift": (None, 2)}
        assert {item.name: item.shape for item in source.outputs} == {"score": (None, 2), "double": (None, 3)}
        assert source.parameters == 6
        assert source.size_bytes == sum(item.stat().st_size for item in saved.rglob("*") if item.is_file())
        answer = source.run({"rows": np.ones((2, 3), np.float32), "shift": np.full((2, 2), 0.5, np.float32)})
    np.testing.assert_array_equal(answer["score"], [[9.5, 12.5]] * 2)
    np.testing.assert_array_equal(answer["double"], np.full((2, 3), 2))


def test_another_signature_is_chosen_and_its_open_dimensions_closed(saved: Path) -> None:
    options = SourceOptions(signature="total", inputs=(InputHint((1, 4, 3)),))
    with open_source(saved, options) as source:
        assert source.inputs[0].shape == (None, 4, 3)
        np.testing.assert_array_equal(source.run({"grid": np.ones((1, 4, 3), np.float32)})["total"], [[3, 3, 3, 3]])


def test_an_unknown_signature_lists_those_there_are(saved: Path) -> None:
    with pytest.raises(UsageError, match="no signature 'other' in net; expected read, serving_default, total"):
        open_source(saved, SourceOptions(signature="other"))


def test_a_string_input_is_explained(saved: Path) -> None:
    with pytest.raises(ModelRefused, match="'text' is a string tensor"):
        open_source(saved, SourceOptions(signature="read"))


def test_without_signatures_it_is_refused(original: Path) -> None:
    with pytest.raises(ModelRefused, match="bare has no signatures") as caught:
        open_source(original.with_name("bare"))
    assert "model.export(folder)" in str(caught.value.remedy)


def test_a_graph_that_touches_files_is_refused(original: Path, elsewhere: Path) -> None:
    with pytest.raises(ModelRefused, match="uses WriteFile"):
        open_source(original.with_name("writer"))
    assert list(elsewhere.iterdir()) == []


def test_a_model_of_tensorflow_1_is_explained(tf: Any, tmp_path: Path) -> None:
    folder, v1 = tmp_path / "old", tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3])
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * 2})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    with pytest.raises(ModelRefused, match="without objects"):
        open_source(folder)


@pytest.mark.parametrize("name", ["variables/variables.index", "variables/variables.data-00000-of-00001"])
def test_a_missing_variables_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ModelRefused, match=r"net \([\d,]+ bytes\) has no complete variables folder") as caught:
        open_source(saved)
    assert caught.value.exit_code == 3


def test_a_damaged_graph_is_refused(saved: Path, cut_short: Callable[[Path], str]) -> None:
    pattern = cut_short(saved / "saved_model.pb")
    with pytest.raises(ModelRefused, match=pattern):
        open_source(saved)


def test_a_link_out_of_the_folder_is_refused(saved: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.bin"
    path = saved / "variables/variables.data-00000-of-00001"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(ModelRefused, match="is a link out of the folder"):
        open_source(saved)


def test_an_asset_outside_of_the_folder_is_refused(saved: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((saved / "saved_model.pb").read_bytes())
    asset = proto.meta_graphs[0].asset_file_def.add()
    asset.filename, asset.tensor_info.name = "../../secret", "asset:0"
    (saved / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelRefused, match=r"asset '\.\./\.\./secret' lies outside"):
        open_source(saved)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ModelRefused, match=r"holds photo\.jpg"):
        open_source(tmp_path)


def test_state_of_an_old_optimizer_is_left_out_and_said(realpack: Path) -> None:
    path = realpack / "models/savedmodel/kws_ref_model"
    with open_source(path) as source:
        assert isinstance(source, SavedModelSource)
        copy = source.folder
        assert copy != path
        assert source.path == path
        assert source.notes == ("76 tensors of the optimizer's state left out, of no use after training",)
    assert not copy.exists()


@pytest.mark.parametrize("file", ["variables.index", "variables.data-00000-of-00001"])
def test_cut_variables_are_refused_with_the_folder_s_size(
    saved: Path, file: str, cut_short: Callable[[Path], str]
) -> None:
    cut_short(saved / "variables" / file)
    with pytest.raises(ModelRefused, match=r"^net \([\d,]+ bytes\) cannot be read"):
        open_source(saved)


def test_without_a_default_the_choice_is_the_users(tf: Any, tmp_path: Path) -> None:
    net = tf.Module()
    net.one = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([1], name="x")])  # type: ignore[untyped-decorator]
    def add(x: Any) -> Any:
        return {"y": x + net.one}

    tf.saved_model.save(net, str(tmp_path / "two"), signatures={"first": add, "second": add})
    with pytest.raises(UsageError, match=r"no signature 'serving_default' in two; expected first, second"):
        open_source(tmp_path / "two")
    tf.saved_model.save(net, str(tmp_path / "single"), signatures={"only": add})
    with open_source(tmp_path / "single") as source:
        assert isinstance(source, SavedModelSource)
        assert source.signature == "only"


def test_a_dtype_that_contradicts_the_signature_is_refused(saved: Path) -> None:
    with pytest.raises(UsageError, match="dtype int32 for 'rows'; expected float32"):
        open_source(saved, SourceOptions(inputs=(InputHint((1, 3), "rows", "int32"),)))


def test_a_keras_export_answers_as_the_model(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.export(tmp_path / "net", verbose=False)
    rows = np.ones((2, 3), np.float32)
    with open_source(tmp_path / "net") as source:
        (answer,) = source.run({source.inputs[0].name: rows}).values()
        assert source.parameters == 8
    np.testing.assert_allclose(answer, model(rows), rtol=1e-6)
