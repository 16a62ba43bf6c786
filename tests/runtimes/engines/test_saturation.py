"""Int8 sums are exact on CPUs that have VNNI and on those that have not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.engine import Array, open_engine
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.saturation import PROBE, X64_QUANT_PRECISION, int8_saturates

Arrays = dict[str, NDArray[np.float32]]
Answers = dict[str, Arrays]
Files = dict[str, Path]
Answerer = Callable[[list[tuple[Path, Path]]], Answers]

ACTIVATIONS = ("uint8", "int8")
PERSON_DETECTORS = ("vww_96_int8.tflite", "vww_96_float.tflite")


class QdqNetwork:
    """Two convolutions and a dense layer in QDQ form, ``[1, 3, 8, 8]`` to ``[1, 10]``.

    Scales are powers of two and sums stay below 2^24, so that any float arithmetic computes it exactly. Inputs and
    weights are large: most pairs of products do not fit into 16 bits.

    Args:
        activations: ``uint8`` (U8S8) or ``int8`` (S8S8).
    """

    def __init__(self, activations: str) -> None:
        self._dtype = np.dtype(activations)
        self._middle = 128 if activations == "uint8" else 0
        self._random = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        tensor = self._rounded("x", self._middle - 128)
        tensor = self._layer("Conv", tensor, (16, 3, 3, 3), 2.0**-11)
        tensor = self._layer("Conv", tensor, (16, 16, 3, 3), 2.0**-10)
        self._nodes.append(helper.make_node("Flatten", [tensor], ["flat"]))
        tensor = self._layer("Gemm", self._rounded("flat", self._middle), (10, 256), 2.0**-11)
        value = helper.make_tensor_value_info
        inputs, outputs = value("x", TensorProto.FLOAT, [1, 3, 8, 8]), value(tensor, TensorProto.FLOAT, [1, 10])
        graph = helper.make_graph(self._nodes, "network", [inputs], [outputs], self._constants)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)

    def _constant(self, values: Array) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _rounded(self, tensor: str, zero_point: int) -> str:
        """Round to whole numbers that 8 bits hold."""
        how = [self._constant(np.asarray(1, np.float32)), self._constant(np.asarray(zero_point, self._dtype))]
        self._nodes.append(helper.make_node("QuantizeLinear", [tensor, *how], [f"{tensor}_stored"]))
        self._nodes.append(helper.make_node("DequantizeLinear", [f"{tensor}_stored", *how], [f"{tensor}_rounded"]))
        return f"{tensor}_rounded"

    def _layer(self, kind: str, tensor: str, shape: tuple[int, ...], scale: float) -> str:
        weights = self._random.integers(64, 128, shape) * self._random.choice([-1, 1], shape)
        how = [np.full(shape[0], scale, np.float32), np.zeros(shape[0], np.int8)]
        stored = [self._constant(values) for values in (weights.astype(np.int8), *how)]
        name = f"layer_{len(self._nodes)}"
        self._nodes.append(helper.make_node("DequantizeLinear", stored, [f"{name}_weights"], axis=0))
        options = {"transB": 1} if kind == "Gemm" else {}
        self._nodes.append(helper.make_node(kind, [tensor, f"{name}_weights"], [name], **options))
        return self._rounded(name, self._middle)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bright pictures in whole numbers."""
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(path, x=np.random.default_rng(1).integers(128, 256, (4, 3, 8, 8)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The network with uint8 and with int8 activations."""
    folder = tmp_path_factory.mktemp("networks")
    for activations in ACTIVATIONS:
        onnx.save(QdqNetwork(activations).model, folder / f"{activations}.onnx")
    return {activations: folder / f"{activations}.onnx" for activations in ACTIVATIONS}


@pytest.fixture(scope="module")
def exact(networks: Files, pictures: Path) -> Arrays:
    """The networks' answers as ONNX defines them."""
    with np.load(pictures) as data:
        samples = data["x"]
    evaluators = {activations: ReferenceEvaluator(str(path)) for activations, path in networks.items()}
    return {
        activations: np.concatenate([evaluator.run(None, {"x": sample[None]})[0] for sample in samples])
        for activations, evaluator in evaluators.items()
    }


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, person_golden: dict[str, Array]) -> Path:
    """Photos for the person detectors."""
    path = tmp_path_factory.mktemp("people") / "people.npz"
    np.savez(path, image=person_golden["image"])
    return path


@pytest.fixture(scope="module")
def emulated(haswell: Answerer, networks: Files, pictures: Path) -> Answers:
    """What the networks answer on a CPU with AVX2 but without VNNI."""
    return haswell([(path, pictures) for path in networks.values()])


@pytest.fixture(scope="module")
def emulated_detectors(haswell: Answerer, models: Path, people: Path) -> Answers:
    """What the person detectors answer there."""
    return haswell([(models / name, people) for name in PERSON_DETECTORS])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What ONNX Runtime is told about the precision of each file that is opened."""
    told: list[str | None] = []
    genuine = onnxruntime.InferenceSession

    def session(model: str | bytes, options: Any, **rest: Any) -> Any:
        if isinstance(model, str):
            try:
                told.append(options.get_session_config_entry(X64_QUANT_PRECISION))
            except RuntimeError:  # not told
                told.append(None)
        return genuine(model, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return told


class OtherRuntime:
    """Stands in for ONNX Runtime on another CPU.

    Args:
        total: Its sum of the probe's four products; ``None``: it has no such operator.
    """

    SessionOptions = SimpleNamespace

    def __init__(self, total: int | None) -> None:
        self._total = total

    def InferenceSession(self, *_: object, **__: object) -> OtherRuntime:
        """Open the probe."""
        if self._total is None:
            raise RuntimeError("MatMulInteger is not in this build")
        return self

    def run(self, _: list[str], feeds: Arrays) -> list[NDArray[np.int32]]:
        """Run the probe."""
        return [np.full((len(feeds["a"]), 1), self._total, np.int32)]


def test_the_probe_is_a_product_that_saturates() -> None:
    model = onnx.load_from_string(PROBE)
    onnx.checker.check_model(model, full_check=True)
    (node,), (weights,) = model.graph.node, model.graph.initializer
    assert (node.op_type, list(node.input), list(node.output)) == ("MatMulInteger", ["a", "b"], ["y"])
    np.testing.assert_array_equal(numpy_helper.to_array(weights), np.full((4, 1), 127, np.int8))
    (total,) = ReferenceEvaluator(model).run(None, {"a": np.full((1, 4), 255, np.uint8)})
    assert total == 4 * 255 * 127


@pytest.mark.parametrize(("total", "saturates"), [(4 * 255 * 127, False), (2 * 32767, True), (None, True)])
def test_sums_are_exact_fast_or_slow_as_the_probe_tells(total: int | None, saturates: bool) -> None:
    assert int8_saturates(OtherRuntime(total)) is saturates


@pytest.mark.parametrize("saturates", [True, False])
def test_slow_instructions_only_where_fast_ones_saturate(
    monkeypatch: pytest.MonkeyPatch, networks: Files, opened: list[str | None], saturates: bool
) -> None:
    monkeypatch.setattr("edgekit_runtimes.engines.onnxruntime.int8_saturates", lambda _: saturates)
    with OnnxRuntimeEngine(networks["uint8"], threads=1) as engine:
        assert engine.x64_quant_precision is saturates
    assert opened == (["1"] if saturates else [None])


@pytest.mark.parametrize("wanted", [True, False])
def test_the_instructions_can_be_chosen(networks: Files, opened: list[str | None], wanted: bool) -> None:
    with OnnxRuntimeEngine(networks["uint8"], threads=1, x64_quant_precision=wanted) as engine:
        assert engine.x64_quant_precision is wanted
    assert opened == (["1"] if wanted else [None])


def answers_here(path: Path, samples: Path) -> Array:
    """Run samples one by one on this CPU; return the only output."""
    with open_engine(path, threads=1) as engine, np.load(samples) as data:
        (source,), (result,), (name,) = engine.inputs, engine.outputs, data.files
        rows = [engine.run({source.name: sample[None]})[result.name] for sample in data[name]]
    return np.concatenate(rows)


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_int8_is_exact_here(networks: Files, pictures: Path, exact: Arrays, activations: str) -> None:
    np.testing.assert_array_equal(answers_here(networks[activations], pictures), exact[activations])


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_int8_is_exact_without_vnni(emulated: Answers, exact: Arrays, activations: str) -> None:
    (fast,) = emulated[f"{activations}.onnx.fast"].values()
    assert np.linalg.norm(fast - exact[activations]) > 0.1 * np.linalg.norm(exact[activations])  # it would saturate
    (answers,) = emulated[f"{activations}.onnx"].values()
    np.testing.assert_array_equal(answers, exact[activations])


@pytest.mark.parametrize("name", PERSON_DETECTORS)
def test_litert_answers_the_same_without_vnni(
    emulated_detectors: Answers, models: Path, people: Path, name: str
) -> None:
    (answers,) = emulated_detectors[name].values()
    tolerance = 0 if "int8" in name else 1e-5
    np.testing.assert_allclose(answers, answers_here(models / name, people), rtol=0, atol=tolerance)
