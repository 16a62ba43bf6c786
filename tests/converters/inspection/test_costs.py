"""Weights, bytes moved and peak activations: small graphs by hand, real files against LiteRT's own arena."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekit_converters.inspection import inspect_artifact
from edgekit_converters.inspection.costs import Flow, Step, account, eight_bit, folded, tensor_bytes
from edgekit_converters.quantize.tflite_graph import read_flatbuffer

SIZES = {"x": 100, "a": 400, "b": 400, "c": 30, "w": 50, "v": 70}


def flow(*steps: Step, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("c",)) -> Flow:
    return Flow(inputs, outputs, list(steps), dict(SIZES), {"w", "v"})


def test_an_element_wise_operator_writes_over_its_input() -> None:
    conv, last = Step("1", "Conv", ("x", "w"), ("a",), macs=9), Step("3", "Conv", ("b", "v"), ("c",), macs=5)
    found = account(flow(conv, Step("2", "Relu", ("a",), ("b",)), last))
    assert (found.macs, found.weight_bytes) == (14, 50 + 70)
    assert found.peak_activation_bytes == 100 + 400
    assert found.traffic_bytes == (100 + 50 + 400) + (400 + 400) + (400 + 70 + 30)
    assert [(item.name, item.weight_bytes, item.traffic_bytes) for item in found.operators] == [
        ("1", 50, 550),
        ("3", 70, 500),
    ]


def test_what_is_needed_later_is_not_written_over() -> None:
    steps = (
        Step("1", "Conv", ("x", "w"), ("a",)),
        Step("2", "Relu", ("a",), ("b",)),
        Step("3", "Add", ("a", "b"), ("c",)),
    )
    assert account(flow(*steps)).peak_activation_bytes == 400 + 400 + 30


def test_an_operator_that_mixes_elements_needs_both() -> None:
    steps = Step("1", "Conv", ("x", "w"), ("a",)), Step("2", "Transpose", ("a",), ("b",))
    assert account(flow(*steps, outputs=("b",))).peak_activation_bytes == 800


def test_an_output_stays_to_the_end() -> None:
    steps = Step("1", "Conv", ("x", "w"), ("a",)), Step("2", "Conv", ("x", "v"), ("c",))
    assert account(flow(*steps, outputs=("a", "c"))).peak_activation_bytes == 100 + 400 + 30


def test_quantizations_are_part_of_the_operators_beside_them() -> None:
    """DequantizeLinear -> Conv -> QuantizeLinear, as ONNX writes an 8-bit convolution."""
    sizes = {"x8": 10, "x": 40, "w8": 5, "w": 20, "y": 80, "y8": 20}
    steps = [
        Step("1", "DequantizeLinear", ("x8", "s"), ("x",)),
        Step("2", "DequantizeLinear", ("w8", "s"), ("w",)),
        Step("3", "Conv", ("x", "w"), ("y",), macs=7, int8=True),
        Step("4", "QuantizeLinear", ("y", "s"), ("y8",)),
    ]
    found = account(Flow(("x8",), ("y8",), steps, sizes, {"w8"}))
    assert (found.macs, found.int8_macs, found.weight_bytes, found.traffic_bytes) == (7, 7, 5, 10 + 5 + 20)
    assert found.peak_activation_bytes == 10 + 20


def test_a_value_quantized_anew_is_work_too() -> None:
    """DequantizeLinear -> QuantizeLinear, between operators whose scales differ."""
    steps = [Step("1", "DequantizeLinear", ("x",), ("a",)), Step("2", "QuantizeLinear", ("a",), ("c",))]
    found = account(flow(*steps))
    assert (found.traffic_bytes, found.peak_activation_bytes) == (100 + 30, 100 + 30)


def test_the_time_grows_with_the_graph_and_not_with_its_square() -> None:
    """A foreign file may hold a million operators, all of whose values stay alive to the end."""

    def seconds(count: int) -> float:
        names = [f"v{number}" for number in range(count)]
        kinds = ("EXP", "DEQUANTIZE")
        steps = [Step(b, kinds[number % 2], (a,), (b,)) for number, (a, b) in enumerate(pairwise(names))]
        graph = Flow(("v0",), tuple(names[::2]), [*steps, Step("", "CONCATENATION", tuple(names), ("z",))], SIZES)
        start = time.process_time()
        account(graph)
        return time.process_time() - start

    assert min(seconds(40_000) for _ in range(2)) < 24 * min(seconds(5_000) for _ in range(3))


def test_quantizations_at_the_ends_are_work_of_their_own() -> None:
    steps = [Step("1", "QuantizeLinear", ("x",), ("c",)), Step("2", "DequantizeLinear", ("c",), ("a",))]
    kept = folded(flow(*steps, outputs=("a",)))
    assert [step.kind for step in kept.steps] == ["QuantizeLinear", "DequantizeLinear"]
    assert account(flow(*steps, outputs=("a",))).traffic_bytes == (100 + 30) + (30 + 400)


def test_of_a_table_only_rows_are_read() -> None:
    steps = Step("1", "Gather", ("table", "x"), ("c",)), Step("2", "MatMul", ("c", "w"), ("a",), macs=1)
    graph = Flow(("x",), ("a",), list(steps), {**SIZES, "table": 10_000}, {"w", "table"})
    found = account(graph)
    assert (found.weight_bytes, found.weights_read_bytes) == (10_050, 30 + 50)
    assert found.traffic_bytes == (100 + 30 + 30) + (30 + 50 + 400)


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        ("float32", (2, None), 8),
        ("int4", (3,), 2),
        ("bfloat16", (5,), 10),
        ("float8e4m3fn", (5,), 5),
        ("string", (2,), 0),
    ],
)
def test_bytes_of_a_tensor(dtype: str, shape: tuple[int | None, ...], size: int) -> None:
    assert tensor_bytes(dtype, shape) == size


def test_which_kernels_are_8_bit() -> None:
    assert eight_bit("uint8", "int8", hybrid=False)
    assert eight_bit("float32", "int8", hybrid=True)
    assert not eight_bit("float32", "int8", hybrid=False)
    assert not eight_bit("int16", "int8", hybrid=False)
    assert not eight_bit("float32", "float16", hybrid=True)


@pytest.mark.parametrize("file", ["ad01_fp32", "ad01_int8", "mobilenet_v2_1.0_224_quant", "kws_ref_model"])
def test_litert_lays_out_its_arena_with_that_many_bytes(realpack: Path, file: str) -> None:
    """LiteRT without delegates keeps the input, too, and aligns tensors; convolutions here need no im2col buffer."""
    path = realpack / "models" / "ref" / f"{file}.tflite"
    found = inspect_artifact(path)
    assert found.resources is not None
    expected = found.resources.peak_activation_bytes + sum(tensor_bytes(i.dtype, i.shape) for i in found.inputs)
    assert expected <= arena_bytes(path) <= expected + 64 * 8


def test_a_residual_network_in_both_precisions(realpack: Path) -> None:
    """ResNet-8 of MLPerf Tiny is published with 12.5 M MACs; three tensors of 32 x 32 x 16 meet where branches join."""
    whole = inspect_artifact(realpack / "models" / "ref" / "pretrainedResnet.tflite").resources
    eighth = inspect_artifact(realpack / "models" / "ref" / "pretrainedResnet_quant.tflite").resources
    assert whole is not None
    assert eighth is not None
    assert (whole.macs, whole.int8_macs, eighth.int8_macs) == (12_501_632, 0, 12_501_632)
    assert (whole.peak_activation_bytes, eighth.peak_activation_bytes) == (3 * 4 * 16_384, 3 * 16_384)
    assert 3.9 < whole.traffic_bytes / eighth.traffic_bytes < 4.1


def test_control_flow_is_not_known(control_flow: Path) -> None:
    assert inspect_artifact(control_flow).resources is None


def arena_bytes(path: Path) -> int:
    """What LiteRT's planner spans: from the first byte to the last of its tensors, weights left out."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain, num_threads=1)
    interpreter.allocate_tensors()
    model = read_flatbuffer(path)
    spans = []
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        if model.buffers[tensor.buffer].data is None:
            view = interpreter.tensor(number)()
            spans.append((view.__array_interface__["data"][0], view.nbytes))
            del view
    return int(max(start + length for start, length in spans) - min(start for start, _ in spans))


@pytest.fixture
def control_flow(tmp_path: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    branches = [
        helper.make_graph(
            [helper.make_node(kind, ["x"], ["y"])], kind, [], [helper.make_tensor_value_info("y", 1, [2])]
        )
        for kind in ("Neg", "Abs")
    ]
    node = helper.make_node("If", ["flag"], ["z"], then_branch=branches[0], else_branch=branches[1])
    graph = helper.make_graph([node], "g", [flag, value], [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])])
    path = tmp_path / "if.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_node_that_gives_nothing(tmp_path: Path) -> None:
    """Operators of other domains may have no outputs."""
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Print", ["y"], [], domain="third.party")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "print", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("third.party", 1)]
    path = tmp_path / "print.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    found = inspect_artifact(path).resources
    assert found is not None
    assert found.traffic_bytes == 3 * 16
