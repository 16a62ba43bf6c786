from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused, ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.sources.onnx import OnnxSource

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.ones((2, 3), np.float32)


def network(*, weight: NDArray[Any] = WEIGHT, batch: str | int = "batch") -> Any:
    """One matrix product: ``rows [batch, 3]`` to ``scores [batch, 4]``."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weight"], ["scores"])],
        "net",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(network().SerializeToString())
    return path


def with_external(path: Path, location: str, **entries: int) -> Path:
    """Write the network with its weight said to be at ``location``; the data file is the test's business."""
    model = network()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = weight.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return path


def test_it_answers_as_the_reference(plain: Path) -> None:
    with open_source(plain) as source:
        assert isinstance(source, OnnxSource)
        assert (source.framework, source.name, source.path) == ("onnx", "net", plain)
        assert [(item.name, item.shape, item.dtype) for item in source.inputs] == [("rows", (None, 3), "float32")]
        assert [(item.name, item.shape) for item in source.outputs] == [("scores", (None, 4))]
        assert (source.parameters, source.size_bytes, source.is_float) == (12, plain.stat().st_size, True)
        np.testing.assert_allclose(source.run({"rows": ROWS})["scores"], ROWS @ WEIGHT)


def test_it_runs_in_a_child_process_that_ends(plain: Path) -> None:
    import os

    with open_source(plain) as source:
        assert isinstance(source, OnnxSource)
        child = source.engine.pid
        assert child != os.getpid()
        assert Path(f"/proc/{child}").exists()
    assert not Path(f"/proc/{child}").exists()


def test_feeds_and_hints_are_checked(plain: Path) -> None:
    with open_source(plain) as source, pytest.raises(DataRefused, match=r"has shape \[2, 4\]"):
        source.run({"rows": np.ones((2, 4), np.float32)})
    with pytest.raises(UsageError, match=r"input shape \[1, 4\] for 'rows'"):
        open_source(plain, SourceOptions(inputs=(InputHint((1, 4)),)))
    with pytest.raises(UsageError, match="dtype int64 for 'rows'; expected float32"):
        open_source(plain, SourceOptions(inputs=(InputHint((1, 3), dtype="int64"),)))
    with open_source(plain, SourceOptions(inputs=(InputHint((5, 3)),))) as source:
        assert source.inputs[0].shape == (5, 3)


def test_a_quantized_model_is_known(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper

    model = network()
    scale, zero = np.float32(0.5), np.uint8(3)
    model.graph.initializer.extend([numpy_helper.from_array(np.array(scale), "scale")])
    model.graph.initializer.extend([numpy_helper.from_array(np.array(zero), "zero")])
    model.graph.node[0].input[0] = "back"
    nodes = [
        helper.make_node("QuantizeLinear", ["rows", "scale", "zero"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["back"]),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with open_source(tmp_path / "net.onnx") as source:
        assert isinstance(source, OnnxSource)
        assert not source.is_float
        assert source.inputs[0].dtype == "float32"


def test_a_cut_file_is_refused_with_its_size(plain: Path, cut_short: Callable[[Path], str]) -> None:
    """Fault 1."""
    pattern = cut_short(plain)
    with pytest.raises(ModelRefused, match=pattern) as caught:
        open_source(plain)
    assert caught.value.exit_code == 3
    assert "copy or save the file again" in str(caught.value.remedy)


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_a_cut_copy_of_a_real_model_is_refused(realpack: Path, tmp_path: Path, keep: float) -> None:
    content = (realpack / "models/ref/FastestDet.onnx").read_bytes()
    path = tmp_path / "FastestDet.onnx"
    path.write_bytes(content[: int(len(content) * keep) - (keep == 1)])
    with pytest.raises(ModelRefused, match=rf"FastestDet\.onnx \({path.stat().st_size:,} bytes\) cannot be read"):
        open_source(path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"not a model" * 9, "cannot be read"), (b"\x08\x08", "it holds no graph")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelRefused, match=reason):
        open_source(tmp_path / "net.onnx")


def test_an_invalid_graph_is_refused_with_the_checker_s_words(tmp_path: Path) -> None:
    model = network()
    model.graph.node[0].input[1] = "elsewhere"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match=r"onnx\.checker found.*elsewhere"):
        open_source(tmp_path / "net.onnx")


class TestExternalData:
    """Fault 12."""

    def test_a_data_file_beside_the_model_is_read(self, tmp_path: Path) -> None:
        path = with_external(tmp_path / "net.onnx", "net.data", offset=16, length=48)
        (tmp_path / "net.data").write_bytes(bytes(16) + WEIGHT.tobytes())
        with open_source(path) as source:
            assert source.size_bytes == path.stat().st_size + 64
            assert source.parameters == 12
            np.testing.assert_allclose(source.run({"rows": ROWS})["scores"], ROWS @ WEIGHT)

    @pytest.mark.parametrize("form", ["../net.data", "part/../../net.data", "absolute", "C:\\net.data", "..\\net.data"])
    def test_a_place_outside_of_the_folder_is_refused(self, tmp_path: Path, form: str) -> None:
        folder = tmp_path / "model"
        (folder / "part").mkdir(parents=True)
        (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
        location = str(tmp_path / "net.data") if form == "absolute" else form
        path = with_external(folder / "net.onnx", location)
        with pytest.raises(ModelRefused, match="lies outside of the model's folder") as caught:
            open_source(path)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_a_symbolic_link_is_refused(self, tmp_path: Path, what: str) -> None:
        folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
        folder.mkdir()
        elsewhere.mkdir()
        (elsewhere / "net.data").write_bytes(WEIGHT.tobytes())
        if what == "file":
            (folder / "net.data").symlink_to(elsewhere / "net.data")
        else:
            (folder / "data").symlink_to(elsewhere)
        path = with_external(folder / "net.onnx", "net.data" if what == "file" else "data/net.data")
        with pytest.raises(ModelRefused, match="is a symbolic link"):
            open_source(path)

    @pytest.mark.parametrize("entries", [{}, {"offset": 8, "length": 40}, {"offset": 0, "length": 4}])
    def test_a_file_that_is_too_short_is_refused(self, tmp_path: Path, entries: dict[str, int]) -> None:
        path = with_external(tmp_path / "net.onnx", "net.data", **entries)
        (tmp_path / "net.data").write_bytes(WEIGHT.tobytes()[:-1])
        needed = 48 + entries.get("offset", 0)
        with pytest.raises(ModelRefused, match=rf"has 47 bytes, {needed} are needed for 'weight'"):
            open_source(path)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelRefused, match=r"external data 'net\.data' is not there") as caught:
            open_source(with_external(tmp_path / "net.onnx", "net.data"))
        assert "together" in str(caught.value.remedy)

    def test_a_weight_inside_of_a_branch_is_checked_too(self, tmp_path: Path) -> None:
        from onnx import TensorProto, helper

        inner = network(batch=2)
        weight = inner.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = weight.EXTERNAL
        weight.external_data.add(key="location", value="/etc/passwd")
        branch = helper.make_graph(inner.graph.node, "branch", [], inner.graph.output, inner.graph.initializer)
        node = helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph(
            [node],
            "net",
            [
                helper.make_tensor_value_info("yes", TensorProto.BOOL, []),
                helper.make_tensor_value_info("rows", TensorProto.FLOAT, [2, 3]),
            ],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 4])],
        )
        (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        with pytest.raises(ModelRefused, match="'/etc/passwd' lies outside of the model's folder"):
            open_source(tmp_path / "net.onnx")
