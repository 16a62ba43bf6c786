"""`.onnx` files: real ones against published figures, hand-made ones operator by operator, damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekit.errors import ModelRefused
from edgekit_converters.inspection import inspect_artifact

Write = Callable[..., Path]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def test_a_real_detector(realpack: Path) -> None:
    """FastestDet is published with 0.24 M parameters; its layers at 352 x 352 come to 121.5 M MACs."""
    found = inspect_artifact(realpack / "models" / "ref" / "FastestDet.onnx")
    assert (found.macs, found.parameters) == (121_491_744, 240_305)
    assert (found.version, found.producer) == ("IR 6, opset 11", "pytorch 1.11.0")
    assert [(info.name, info.shape, info.dtype) for info in found.inputs] == [("input.1", (1, 3, 352, 352), "float32")]
    assert found.outputs[0].shape == (1, 85, 22, 22)
    assert found.operators[0].name == "Conv"
    assert found.operators[0].count == 70
    assert sum(part.bytes for part in found.parts) == found.bytes


@pytest.mark.parametrize(("file", "macs"), [("light_resnet50.onnx", 4.089e9), ("light_vgg19.onnx", 19.632e9)])
def test_networks_with_published_macs(file: str, macs: float) -> None:
    """ResNet-50 (version with the stride in the 3 x 3 convolution) and VGG-19 at 224 x 224, as commonly reported."""
    assert inspect_artifact(LIGHT / file).macs == pytest.approx(macs, rel=1e-3)


NODES: list[tuple[str, Any, dict[str, Any], dict[str, Any], int]] = [
    # id, node, input shapes, weights, MACs
    (
        "grouped Conv",
        helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1]),
        {"x": (1, 4, 8, 8)},
        {"w": zeros(6, 2, 3, 3)},
        64 * 6 * 2 * 9,
    ),
    (
        "ConvTranspose",
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        {"x": (1, 3, 4, 4)},
        {"w": zeros(3, 5, 2, 2)},
        16 * 3 * 5 * 4,
    ),
    ("Gemm", helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), {"x": (7, 3)}, {"w": zeros(7, 5)}, 3 * 5 * 7),
    ("MatMul", helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": (2, 3, 7), "z": (2, 7, 5)}, {}, 2 * 3 * 5 * 7),
    (
        "LSTM",
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6, direction="bidirectional"),
        {"x": (9, 1, 4)},
        {"w": zeros(2, 24, 4), "r": zeros(2, 24, 6)},
        9 * 2 * 24 * (4 + 6),
    ),
    (
        "Einsum",
        helper.make_node("Einsum", ["x", "z"], ["y"], equation="bhqd,bhkd->bhqk"),
        {"x": (1, 2, 5, 8), "z": (1, 2, 7, 8)},
        {},
        2 * 5 * 7 * 8,
    ),
    (
        "ConvInteger",
        helper.make_node("ConvInteger", ["x", "w"], ["y"]),
        {"x": (1, 4, 8, 8)},
        {"w": zeros(6, 4, 1, 1, dtype=np.int8)},
        64 * 24,
    ),
]


@pytest.mark.parametrize(("node", "inputs", "weights", "macs"), [case[1:] for case in NODES], ids=[c[0] for c in NODES])
def test_macs_of_one_operator(onnx_file: Write, node: Any, inputs: Any, weights: Any, macs: int) -> None:
    kinds = {"x": TensorProto.UINT8, "y": TensorProto.INT32} if node.op_type == "ConvInteger" else {}
    found = inspect_artifact(onnx_file([node], inputs, {"y": None}, weights, kinds))
    assert found.macs == macs
    assert found.notes == ()


def test_a_dynamic_batch_counts_as_one(onnx_file: Write) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    found = inspect_artifact(onnx_file([node], {"x": ("N", 7)}, {"y": ("N", 5)}, {"w": zeros(7, 5)}))
    assert found.macs == 35
    assert found.inputs[0].shape == (None, 7)


def test_an_unknown_length_makes_a_lower_bound(onnx_file: Write) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    found = inspect_artifact(onnx_file([node], {"x": (1, "T", 7)}, {"y": (1, "T", 5)}, {"w": zeros(7, 5)}))
    assert found.macs == 0
    assert found.notes == ("MACs are a lower bound: 1 x MatMul has a shape that is known only when it runs",)


def qdq_nodes() -> list[Any]:
    return [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["bf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["yf"]),
        helper.make_node("QuantizeLinear", ["yf", "sy", "zy"], ["y"]),
    ]


def test_qdq_is_int8_per_channel_with_quantized_ends(onnx_file: Write) -> None:
    weights = {
        "sx": np.float32(0.5), "zx": np.uint8(128), "w": zeros(6, 4, 3, 3, dtype=np.int8),
        "sw": np.full(6, 0.1, np.float32), "zw": zeros(6, dtype=np.int8), "b": zeros(6, dtype=np.int32),
        "sb": np.full(6, 0.05, np.float32), "zb": zeros(6, dtype=np.int32), "sy": np.float32(0.25), "zy": np.uint8(3),
    }  # fmt: skip
    kinds = {"x": TensorProto.UINT8, "y": TensorProto.UINT8}
    found = inspect_artifact(onnx_file(qdq_nodes(), {"x": (1, 4, 8, 8)}, {"y": (1, 6, 6, 6)}, weights, kinds))
    assert [(row.activations, row.weights, row.granularity) for row in found.precisions] == [
        ("uint8", "int8", "per channel")
    ]
    assert found.parameters == 6 * 4 * 9 + 6  # weights and the int32 bias, not the scales
    assert (found.inputs[0].scale, found.inputs[0].zero_point) == (0.5, 128)
    assert (found.outputs[0].scale, found.outputs[0].zero_point) == (0.25, 3)
    assert {part.name: part.bytes for part in found.parts}["scales and zero points"] == 4 + 1 + 24 + 6 + 24 + 24 + 4 + 1


def test_operators_in_another_order_are_sorted_and_noted(onnx_file: Write) -> None:
    nodes = [helper.make_node("MatMul", ["h", "w"], ["y"]), helper.make_node("Relu", ["x"], ["h"])]
    found = inspect_artifact(onnx_file(nodes, {"x": (1, 7)}, {"y": ("N", 5)}, {"w": zeros(7, 5)}))
    assert found.macs == 35
    assert found.notes == ("operators are not in topological order, as ONNX asks for: some tools refuse the file",)


def test_operators_in_a_circle_are_refused(onnx_file: Write) -> None:
    nodes = [helper.make_node("MatMul", ["h", "w"], ["y"]), helper.make_node("Relu", ["y"], ["h"])]
    with pytest.raises(ModelRefused, match="in a cycle"):
        inspect_artifact(onnx_file(nodes, {"x": (1, 7)}, {"y": (1, 5)}, {"w": zeros(7, 5)}))


def test_operators_outside_the_standard_are_flagged(onnx_file: Write) -> None:
    nodes = [
        helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft"),
        helper.make_node("Telepathy", ["y"], ["z"]),
    ]
    found = inspect_artifact(
        onnx_file(nodes, {"x": (1, 4, 8, 8)}, {"z": None, "y": (1, 6, 8, 8)}, {"w": zeros(6, 4, 1, 1)})
    )
    assert set(found.custom_operators) == {"Telepathy", "com.microsoft::FusedConv"}
    assert found.macs == 64 * 24
    assert "MACs of operators outside the standard set are not counted: Telepathy" in found.notes


def test_operators_inside_branches_count(onnx_file: Write) -> None:
    def branch(name: str) -> Any:
        weight = onnx.numpy_helper.from_array(zeros(7, 5), f"w-{name}")
        output = helper.make_tensor_value_info(f"y-{name}", TensorProto.FLOAT, (1, 5))
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", weight.name], [output.name])], name, [], [output], [weight]
        )

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("then"), else_branch=branch("else"))
    path = onnx_file([node], {"x": (1, 7), "c": ()}, {"y": (1, 5)}, {}, {"c": TensorProto.BOOL})
    found = inspect_artifact(path)
    assert {row.name: row.count for row in found.operators} == {"If": 1, "MatMul": 2}
    assert found.parameters == 70


@pytest.mark.parametrize("cut", ["empty", "half", "last byte"])
def test_truncated_files_are_refused_with_name_and_size(realpack: Path, tmp_path: Path, cut: str) -> None:
    data = (realpack / "models" / "ref" / "FastestDet.onnx").read_bytes()
    length = {"empty": 0, "half": len(data) // 2, "last byte": len(data) - 1}[cut]
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[:length])
    with pytest.raises(ModelRefused, match=rf"cut\.onnx.*\({length:,} bytes\)"):
        inspect_artifact(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_text("<html>404 not found</html>")
    with pytest.raises(ModelRefused, match="truncated or damaged"):
        inspect_artifact(path)


def test_weights_with_missing_bytes_are_refused(onnx_file: Write) -> None:
    path = onnx_file([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 7)}, {"y": (1, 5)}, {"w": zeros(7, 5)})
    model = onnx.load(str(path))
    model.graph.initializer[0].raw_data = b"\0" * 100
    onnx.save(model, str(path))
    with pytest.raises(ModelRefused, match="'w' has 100 bytes instead of 140"):
        inspect_artifact(path)


@pytest.fixture
def external(onnx_file: Write) -> Callable[[str], Path]:
    """Write a model whose only weight is said to lie in the file of a given name."""

    def write(location: str) -> Path:
        path = onnx_file(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 7)}, {"y": (1, 5)}, {"w": zeros(7, 5)}
        )
        model = onnx.load(str(path))
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_external_data_beside_the_model_is_counted(external: Callable[[str], Path]) -> None:
    path = external("weights.bin")
    path.with_name("weights.bin").write_bytes(b"\0" * 144)
    found = inspect_artifact(path)
    parts = {part.name: part.bytes for part in found.parts}
    assert found.bytes == path.stat().st_size + 144
    assert (parts["weights float32"], parts["padding of external data"]) == (140, 4)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "..\\weights.bin", ""])
def test_external_data_outside_the_folder_is_refused(external: Callable[[str], Path], location: str) -> None:
    path = external(location)
    path.parent.with_name("weights.bin").write_bytes(b"\0" * 140)
    with pytest.raises(ModelRefused, match="points outside the model's folder"):
        inspect_artifact(path)


def test_external_data_behind_links_is_refused(external: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    target.mkdir()
    (target / "weights.bin").write_bytes(b"\0" * 140)
    path = external("weights.bin")
    (tmp_path / "weights.bin").symlink_to(target / "weights.bin")
    with pytest.raises(ModelRefused, match="link or no regular file"):
        inspect_artifact(path)
    path = external("folder/weights.bin")
    (tmp_path / "folder").symlink_to(target)
    with pytest.raises(ModelRefused, match="link or no regular file"):
        inspect_artifact(path)


def test_external_data_too_short_or_missing_is_refused(external: Callable[[str], Path]) -> None:
    path = external("weights.bin")
    with pytest.raises(ModelRefused, match="cannot be read"):
        inspect_artifact(path)
    path.with_name("weights.bin").write_bytes(b"\0" * 139)
    with pytest.raises(ModelRefused, match="too short \\(139 bytes, 140 needed\\)"):
        inspect_artifact(path)
