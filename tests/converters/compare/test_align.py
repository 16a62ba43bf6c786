"""Layers find their counterpart by name, and by weights and structure where the names are another tool's."""

from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit_converters.compare.align import Alignment, align
from edgekit_converters.compare.trace import float_name, open_trace

from .conftest import artifact, renamed

FORMATS = ("tflite", "onnx")


def aligned(reference: Path, other: Path) -> Alignment:
    left, right = open_trace(reference), open_trace(other)
    return align(left, right, [(left.inputs[0].name, right.inputs[0].name)])


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        ("dense/MatMul", "dense/MatMul"),
        ("input_quantized", "input"),
        ("mean_dequant#12", "mean"),
        ("Identity_int8", "Identity"),
        ("conv_DequantizeLinear_Output", "conv"),
        ("conv_QuantizeLinear_Input", "conv"),
        ("_int8", "_int8"),
    ],
)
def test_names_lose_what_quantizers_add(tensor: str, name: str) -> None:
    assert float_name(tensor) == name


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("recipe", ["fp16", "dynamic-int8", "int8"])
def test_our_own_files_align_by_name(bundle: Bundle, kind: str, recipe: str) -> None:
    found = aligned(artifact(bundle, kind, "fp32"), artifact(bundle, kind, recipe))
    assert (found.layers, found.aligned) == (3, 3)
    assert set(found.ways) == {"name"}
    assert all(pair.reference.name == pair.artifact.name for pair in found.pairs if pair.how == "name")


@pytest.mark.parametrize("kind", FORMATS)
def test_files_with_other_names_align_by_weights_and_structure(bundle: Bundle, kind: str, tmp_path: Path) -> None:
    other = renamed(artifact(bundle, kind, "int8"), tmp_path / f"other.{kind}")
    by_name = aligned(artifact(bundle, kind, "fp32"), artifact(bundle, kind, "int8"))
    found = aligned(artifact(bundle, kind, "fp32"), other)
    assert found.aligned == found.layers == 3
    assert found.ways["weights"] >= 2
    wanted = [pair.reference.tensor for pair in by_name.pairs if pair.reference.weight]
    assert set(wanted) <= {pair.reference.tensor for pair in found.pairs}
    order = [pair.artifact.operator for pair in found.pairs]
    assert order == [
        pair.artifact.operator for pair in by_name.pairs if pair.reference in [p.reference for p in found.pairs]
    ]
