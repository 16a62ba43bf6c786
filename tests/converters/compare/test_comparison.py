"""The whole comparison on a small network."""

import json
import math
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import Bundle, write_manifest
from edgekit.engine import open_engine
from edgekit.errors import DataRefused, ModelRefused, UsageError
from edgekit_converters.compare import CompareRequest, Comparison, compare
from edgekit_converters.compare.table import headline
from edgekit_converters.compare.trace import open_trace
from edgekit_converters.sources import SourceOptions
from edgekit_converters.specs import parse_hint, partial_spec
from edgekit_converters.targets import export

from .conftest import LABELS, TINY, artifact, renamed, rewritten_weights

FORMATS = ("tflite", "onnx")


@pytest.fixture(scope="session", params=FORMATS)
def int8(request: pytest.FixtureRequest, bundle: Bundle, photos: Path) -> Comparison:
    return compare(CompareRequest(bundle.path, "int8", format=request.param, data=photos))


def test_int8_is_compared_layer_by_layer(int8: Comparison) -> None:
    assert int8.outputs.samples == 40
    assert int8.outputs.metric is not None
    assert int8.outputs.metric.value == 1.0
    assert int8.conversion is not None
    assert int8.conversion.worst.relative_l2 < 1e-5
    assert not int8.conversion_failed
    assert int8.traced is not None
    assert int8.traced.samples == 32
    stored = {layer.dtype for layer in int8.layers}
    assert stored >= {"int8" if int8.format == "tflite" else "uint8"}
    for layer in int8.layers:
        assert 0 <= layer.relative_l2 < 0.02
        assert layer.own is not None
        assert layer.inherited is not None
        # The two parts add up as vectors: none is longer than the sum of the others.
        assert layer.relative_l2 <= layer.own + layer.inherited + 1e-6


def test_what_only_moves_data_adds_nothing(int8: Comparison) -> None:
    moved = [layer for layer in int8.layers if layer.operator in ("PAD", "Reshape") and layer.dtype != "float32"]
    relevant = [layer for layer in moved if layer.operator == "PAD"]
    assert all((layer.own or 0.0) < 1e-6 < layer.relative_l2 for layer in relevant)
    assert int8.carriers[0].at_output is not None


def test_the_last_layer_has_the_error_of_the_outputs(bundle: Bundle, int8: Comparison) -> None:
    assert int8.layers[-1].relative_l2 == pytest.approx(int8.outputs.worst.relative_l2, rel=0.35)


def test_the_json_form_is_json(int8: Comparison) -> None:
    raw = json.loads(json.dumps(int8.to_dict(), allow_nan=False))
    assert raw["alignment"]["layers_aligned"] == 3
    assert raw["error_starts_in"] is None
    assert raw["carriers"][0] == int8.carriers[0].name
    assert len(raw["layers"]) == len(int8.layers)


@pytest.mark.parametrize("kind", FORMATS)
def test_golden_samples_and_the_originals_own_answers_are_the_default(bundle: Bundle, kind: str) -> None:
    found = compare(CompareRequest(bundle.path, artifact(bundle, kind, "fp16")))
    recorded = next(item for item in bundle.artifacts if (item.format, item.recipe) == (kind, "fp16"))
    assert found.origin == "golden samples of the bundle"
    assert found.outputs.worst.relative_l2 == pytest.approx(recorded.golden.worst.relative_l2, rel=1e-3)
    assert found.outputs.samples == recorded.golden.samples


@pytest.mark.parametrize("kind", FORMATS)
def test_the_layer_that_was_damaged_is_named(bundle: Bundle, kind: str, tmp_path: Path) -> None:
    damaged = rewritten_weights(artifact(bundle, kind, "fp32"), tmp_path / f"damaged.{kind}", {1: lambda w: w * 1.5})
    found = compare(CompareRequest(bundle.path, damaged))
    start = found.start
    assert start is not None
    place = found.layers.index(start)
    assert start.own == pytest.approx(start.relative_l2, rel=1e-3)
    assert start.inherited == pytest.approx(0.0, abs=1e-5)
    assert all(layer.relative_l2 < 1e-4 for layer in found.layers[:place])
    assert all((layer.own or 0.0) < 1e-4 for layer in found.layers[place + 1 :])
    assert found.carriers[0] is start
    # Nothing else is wrong, so what this layer does to the outputs is what is wrong with them.
    assert start.at_output == pytest.approx(found.outputs.worst.relative_l2, rel=0.02)
    assert found.where() == start.name


@pytest.mark.parametrize("kind", FORMATS)
def test_a_trained_model_and_somebody_elses_file(bundle: Bundle, photos: Path, kind: str, tmp_path: Path) -> None:
    request = CompareRequest(
        TINY if kind == "tflite" else artifact(bundle, "onnx", "fp32"),
        renamed(artifact(bundle, kind, "int8"), tmp_path / f"other.{kind}"),
        data=photos,
        spec=partial_spec("unit", None),
        source=SourceOptions(inputs=(parse_hint("1,3,32,32"),)),
        labels=LABELS,
        layer_samples=4,
    )
    found = compare(request)
    assert found.outputs.reference_metric is not None
    assert found.outputs.reference_metric.value == 1.0
    assert found.conversion is not None
    assert found.conversion.worst.relative_l2 < 1e-5
    assert found.traced is not None
    assert found.traced.found.aligned == 3
    assert found.traced.samples == 4
    assert all(layer.relative_l2 < 0.02 for layer in found.layers)


def test_artifacts_of_two_formats_are_compared_by_their_outputs(bundle: Bundle, photos: Path) -> None:
    original = artifact(bundle, "onnx", "fp32")
    request = CompareRequest(original, artifact(bundle, "tflite", "int8"), data=photos, spec=partial_spec("unit", None))
    found = compare(request)
    assert not found.layers
    assert found.outputs.agreement is not None
    assert found.outputs.agreement.value == 1.0
    assert any("cannot be aligned" in note for note in found.notes)


def test_made_up_inputs_are_called_so(bundle: Bundle) -> None:
    file = artifact(bundle, "onnx", "fp32")
    found = compare(CompareRequest(file, file, spec=partial_spec("unit", None)))
    assert found.origin == "made-up inputs"
    assert any("made up" in note for note in found.notes)
    assert found.outputs.worst.relative_l2 == 0.0
    assert found.where() is None


def test_a_quantized_original_has_layers_but_no_parts(bundle: Bundle) -> None:
    file = artifact(bundle, "tflite", "int8")
    found = compare(CompareRequest(file, file, spec=partial_spec("unit", None)))
    assert found.layers
    assert all(layer.own is None and layer.relative_l2 == 0.0 for layer in found.layers)
    assert any("quantized itself" in note for note in found.notes)


def test_an_artifact_that_gives_nan_is_infinitely_far(bundle: Bundle, tmp_path: Path) -> None:
    def broken(weights: Any) -> Any:
        weights[:] = np.nan
        return weights

    file = rewritten_weights(artifact(bundle, "onnx", "fp32"), tmp_path / "nan.onnx", {1: broken})
    found = compare(CompareRequest(bundle.path, file))
    assert found.start is not None
    assert found.start.relative_l2 == math.inf
    assert found.layers.index(found.start) > 1
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["outputs"]["outputs"][0]["relative_l2"] is None


def test_integers_are_read_through_their_scale(bundle: Bundle) -> None:
    for kind in FORMATS:
        path = artifact(bundle, kind, "int8")
        feeds, _ = bundle.golden()
        array = next(iter(feeds.values()))[:1]
        trace = open_trace(path)
        with open_engine(path) as engine:
            name = engine.inputs[0].name
            fed = {name: array.transpose(0, 2, 3, 1) if kind == "tflite" else array}
            answer = engine.run(fed)[engine.outputs[0].name]
        last = trace.activations[-1]
        np.testing.assert_allclose(trace.watch(fed, [last.tensor])[last.tensor], answer, rtol=0.05, atol=0.05)
        inside = next(item for item in trace.activations if item.grid is not None and item.operator != "input")
        assert inside.grid is not None
        steps = trace.watch(fed, [inside.tensor])[inside.tensor] / inside.grid.scale
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        assert not trace.is_float


def test_memory_does_not_grow_with_the_samples(bundle: Bundle) -> None:
    def peak(count: int) -> int:
        data = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(count)]
        tracemalloc.start()
        compare(CompareRequest(bundle.path, "int8", format="onnx", data=data, layer_samples=count, diagnose=False))
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    peak(8)  # imports
    small, large = peak(8), peak(48)
    assert large - small < 4 * 40 * 32 * 32 * 3 / 2  # far less than even the inputs as floats would take


def test_the_error_may_start_in_the_conversion(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit_converters.compare import subject as module

    real = export

    def damaging(source: Any, kind: str, path: Path, options: Any) -> Any:
        exported = real(source, kind, path, options)
        rewritten_weights(path, path, {0: lambda w: w * 1.2})
        return exported

    monkeypatch.setattr(module, "export", damaging)
    original = artifact(bundle, "onnx", "fp32")
    found = compare(CompareRequest(original, original, spec=partial_spec("unit", None)))
    assert found.conversion_failed
    assert found.where() == "conversion"


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"artifact": "int8"}, UsageError, "has int8 as tflite and onnx"),
    ({"artifact": "int4"}, UsageError, "no artifact 'int4'"),
    ({"artifact": "int8", "format": "onnx", "threshold": 0.0}, UsageError, "--threshold 0"),
    ({"artifact": "int8", "format": "onnx", "layer_samples": 0}, UsageError, "--layer-samples 0"),
    ({"artifact": "int8", "format": "onnx", "data": "nowhere"}, DataRefused, "nowhere"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), REFUSED, ids=[case[2] for case in REFUSED])
def test_refusals(bundle: Bundle, arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        compare(CompareRequest(bundle.path, **arguments))


def test_a_file_of_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    edges = [helper.make_tensor_value_info(name, 1, [1, 3, 2, 2]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "other", edges[:1], edges[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "o.onnx")
    with pytest.raises(ModelRefused, match=r"has the inputs .* 3, 2, 2.*expected the original's"):
        compare(CompareRequest(bundle.path, tmp_path / "o.onnx"))


def test_data_needs_something_that_answers(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    only = Path(shutil.copytree(bundle.path, tmp_path / "only.bundle"))
    for item in bundle.artifacts:
        if item.recipe == "fp32":
            (only / item.file).unlink()
    kept = tuple(item for item in bundle.artifacts if item.recipe != "fp32")
    write_manifest(only, replace(bundle.manifest, artifacts=kept))
    with pytest.raises(DataRefused, match="fp32 artifact"):
        compare(CompareRequest(only, "int8", format="onnx", data=photos))
    found = compare(CompareRequest(only, "int8", format="onnx"))
    assert not found.layers
    assert any("no fp32 onnx file" in note for note in found.notes)


class _Dim:
    """Calibration data of ONNX Runtime's quantizer that is too dark."""

    def __init__(self) -> None:
        self.left = [np.random.default_rng(seed).random((1, 3, 32, 32), dtype=np.float32) / 2 for seed in range(8)]

    def get_next(self) -> Any:
        return {"input": self.left.pop()} if self.left else None


@pytest.mark.parametrize("kind", ["QDQ", "QOperator"])
def test_badly_calibrated_files_of_another_quantizer(bundle: Bundle, photos: Path, kind: str, tmp_path: Path) -> None:
    from onnxruntime import quantization

    quantization.quantize_static(
        str(artifact(bundle, "onnx", "fp32")),
        str(tmp_path / "dim.onnx"),
        _Dim(),
        quant_format=quantization.QuantFormat[kind],
        activation_type=quantization.QuantType.QUInt8,
    )
    found = compare(CompareRequest(bundle.path, tmp_path / "dim.onnx", data=photos, diagnose=False))
    assert found.traced is not None
    assert found.traced.found.aligned == 3
    layers = {layer.name: layer for layer in found.layers}
    assert set(layers) >= {"input", "relu", "relu_1", "output"}
    assert layers["input"].clipped > 0.05
    assert layers["relu"].low >= 0.0  # a fused layer is compared behind its rectifier
    assert layers["relu"].own is not None
    assert layers["relu"].own < layers["relu"].relative_l2 < 0.5
    assert any(line.startswith("cause") and "calibrate with data like this" in line for line in headline(found))
