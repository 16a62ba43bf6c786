"""`.tflite` files: real ones against published figures, hand-made ones operator by operator, damaged ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused
from edgekit_converters.inspection import inspect_artifact

Write = Callable[..., Path]

# MACs: MLPerf Tiny (Banbury et al. 2021) gives 12.5 M, 7.5 M, 2.7 M and 0.26 M; MobileNetV2 (Sandler et al. 2018)
# 300 M with 1,000 classes: 300,774,272, and 1,280 more for the 1,001st class of this file.
KNOWN = {
    "ad01_int8.tflite": (264_192, 265_864, "int8"),
    "kws_ref_model.tflite": (2_656_768, 22_604, "int8"),
    "mobilenet_v2_1.0_224_quant.tflite": (300_775_552, 3_489_097, "uint8"),
    "pretrainedResnet.tflite": (12_501_632, 77_706, "float32"),
    "vww_96_int8.tflite": (7_489_664, 210_850, "int8"),
}


@pytest.mark.parametrize("file", sorted(KNOWN))
def test_real_models_have_their_published_macs(realpack: Path, file: str) -> None:
    macs, parameters, dtype = KNOWN[file]
    found = inspect_artifact(realpack / "models" / "ref" / file)
    assert (found.macs, found.parameters) == (macs, parameters)
    assert found.weights[0].dtype == dtype
    assert found.precisions[0].activations == dtype
    assert sum(row.macs for row in found.operators) == macs
    assert sum(part.bytes for part in found.parts) == found.bytes
    assert found.custom_operators == ()


def test_quantized_input_and_attached_labels_of_a_real_model(realpack: Path) -> None:
    found = inspect_artifact(realpack / "models" / "ref" / "mobilenet_v2_1.0_224_quant.tflite")
    (info,) = found.inputs
    assert (info.shape, info.dtype, info.scale, info.zero_point) == ((1, 224, 224, 3), "uint8", 0.0078125, 128)
    assert {row.name: row.count for row in found.operators} == {
        "CONV_2D": 36, "DEPTHWISE_CONV_2D": 17, "ADD": 10, "AVERAGE_POOL_2D": 1, "RESHAPE": 1, "SOFTMAX": 1,
    }  # fmt: skip
    assert "files attached behind the model: imagenet_labels.txt" in found.notes
    assert found.metadata["min_runtime_version"] == "1.5.0"


def test_granularity_and_dynamic_batch(realpack: Path) -> None:
    found = inspect_artifact(realpack / "models" / "ref" / "vww_96_int8.tflite")
    assert found.inputs[0].shape == (None, 96, 96, 3)
    rows = {row.granularity: row.operators for row in found.precisions}
    assert rows == {"per channel": 27, "per tensor": 1}


OPERATORS: list[tuple[str, list[tuple[Any, ...]], list[int], tuple[int, ...], int]] = [
    # name, input tensors (shape, stored), which are inputs, output shape, MACs
    ("CONV_2D", [((1, 8, 8, 3), 0), ((16, 3, 3, 3), 1)], [0, 1], (1, 4, 4, 16), 4 * 4 * 16 * 27),
    ("DEPTHWISE_CONV_2D", [((1, 8, 8, 6), 0), ((1, 3, 3, 6), 1)], [0, 1], (1, 8, 8, 6), 64 * 6 * 9),
    ("FULLY_CONNECTED", [((-1, 10), 0), ((4, 10), 1)], [0, 1, -1], (-1, 4), 40),
    ("TRANSPOSE_CONV", [((4,), 1), ((5, 2, 2, 3), 1), ((1, 4, 4, 3), 0)], [0, 1, 2], (1, 8, 8, 5), 16 * 3 * 5 * 4),
    ("BATCH_MATMUL", [((2, 3, 7), 0), ((2, 7, 5), 0)], [0, 1], (2, 3, 5), 2 * 3 * 5 * 7),
    ("CONV_3D", [((1, 4, 4, 4, 2), 0), ((2, 2, 2, 2, 3), 1)], [0, 1], (1, 2, 2, 2, 3), 24 * 16),
    (
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [((1, 9, 4), 0), *[((6, 4), 1)] * 4, *[((6, 6), 1)] * 4, ((6,), 1), ((1, 6), 0)],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        (1, 9, 6),
        9 * 4 * (6 * 4 + 6 * 6),
    ),
]


@pytest.mark.parametrize("case", OPERATORS, ids=[case[0] for case in OPERATORS])
def test_macs_of_one_operator(tflite_file: Write, t: Any, op: Any, case: tuple[str, Any, list[int], Any, int]) -> None:
    name, tensors, inputs, output, macs = case
    made = [
        t(f"t{i}", shape, values=np.zeros(shape, np.float32) if stored else None)
        for i, (shape, stored) in enumerate(tensors)
    ]
    path = tflite_file([*made, t("y", output)], [op(name, inputs, [len(made)])], [0], [len(made)])
    found = inspect_artifact(path)
    assert found.macs == macs
    assert found.notes == ()


def test_custom_and_flex_operators_are_flagged(tflite_file: Write, t: Any, op: Any) -> None:
    tensors = [t("x", (1, 4)), t("y", (1, 4)), t("z", (1, 4))]
    found = inspect_artifact(tflite_file(tensors, [op("FlexErf", [0], [1]), op("my_detection", [1], [2])], [0], [2]))
    assert found.custom_operators == ("FlexErf", "my_detection")
    assert any("Flex delegate" in note and "FlexErf" in note for note in found.notes)
    assert any("not counted: FlexErf, my_detection" in note for note in found.notes)


def test_float16_weights_are_seen_through_their_dequantization(tflite_file: Write, t: Any, op: Any) -> None:
    weights = t("w16", (4, 10), "FLOAT16", np.zeros((4, 10), np.float16))
    tensors = [t("x", (1, 10)), weights, t("w", (4, 10)), t("y", (1, 4))]
    path = tflite_file(tensors, [op("DEQUANTIZE", [1], [2]), op("FULLY_CONNECTED", [0, 2], [3])], [0], [3])
    found = inspect_artifact(path)
    assert [(row.activations, row.weights) for row in found.precisions] == [("float32", "float16")]
    assert [(row.dtype, row.elements, row.bytes) for row in found.weights] == [("float16", 40, 80)]


def test_int32_is_a_weight_only_where_it_is_a_quantized_bias(tflite_file: Write, t: Any, op: Any) -> None:
    tensors = [
        t("x", (1, 2), "INT8", scales=(0.5,)),
        t("w", (3, 2), "INT8", np.zeros((3, 2), np.int8), scales=(0.1, 0.2, 0.3)),
        t("b", (3,), "INT32", np.zeros(3, np.int32), scales=(0.05, 0.1, 0.15)),
        t("y", (1, 3), "INT8", scales=(0.25,), zero_points=(-7,)),
        t("shape", (2,), "INT32", np.array([3, 1], np.int32)),
        t("z", (3, 1), "INT8", scales=(0.25,), zero_points=(-7,)),
    ]
    operators = [op("FULLY_CONNECTED", [0, 1, 2], [3]), op("RESHAPE", [3, 4], [5])]
    found = inspect_artifact(tflite_file(tensors, operators, [0], [5]))
    assert found.parameters == 6 + 3
    assert {part.name: part.bytes for part in found.parts}["shapes and indices"] == 8
    assert (found.outputs[0].scale, found.outputs[0].zero_point) == (0.25, -7)


def test_unknown_lengths_and_loops_make_a_lower_bound(tflite_file: Write, t: Any, op: Any) -> None:
    tensors = [
        t("x", (1, -1, 4)),
        t("w", (3, 4), values=np.zeros((3, 4), np.float32)),
        t("y", (1, -1, 3)),
        t("z", (1,)),
    ]
    path = tflite_file(tensors, [op("FULLY_CONNECTED", [0, 1], [2]), op("WHILE", [2], [3])], [0], [3])
    found = inspect_artifact(path)
    assert found.macs == 0
    assert any("1 x FULLY_CONNECTED" in note and "lower bound" in note for note in found.notes)
    assert any("WHILE" in note and "counted once" in note for note in found.notes)


@pytest.mark.parametrize("cut", ["empty", "head", "half", "last byte"])
@pytest.mark.parametrize("file", ["ad01_int8.tflite", "mobilenet_v2_1.0_224_quant.tflite", "kws_ref_model.tflite"])
def test_truncated_files_are_refused_with_name_and_size(realpack: Path, tmp_path: Path, file: str, cut: str) -> None:
    data = (realpack / "models" / "ref" / file).read_bytes()
    length = {"empty": 0, "head": 16, "half": len(data) // 2, "last byte": len(data) - 1}[cut]
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[:length])
    with pytest.raises(ModelRefused, match=rf"cut\.tflite.*\({length:,} bytes\)"):
        inspect_artifact(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage.tflite"
    path.write_bytes(random.Random(7).randbytes(4096))
    with pytest.raises(ModelRefused, match="lacks the identifier TFL3"):
        inspect_artifact(path)


def test_damaged_offsets_end_in_a_refusal_and_never_hang(realpack: Path, tmp_path: Path) -> None:
    """Every outcome but a summary or a refusal is a fault: an exception of another kind fails the test."""
    data = (realpack / "models" / "ref" / "kws_ref_model.tflite").read_bytes()
    dice, path, refused, started = random.Random(3), tmp_path / "mutant.tflite", 0, time.monotonic()
    for _ in range(150):
        mutant = bytearray(data)
        for _ in range(dice.choice([1, 3, 30])):
            at = 4 * dice.randrange(len(mutant) // 4)
            mutant[at : at + 4] = dice.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\x10\0", b"\0\0\0\0"])
        path.write_bytes(mutant)
        try:
            inspect_artifact(path)
        except ModelRefused:
            refused += 1
    assert refused > 30
    assert time.monotonic() - started < 60


def test_a_small_file_cannot_ask_for_endless_work(tflite_file: Write, t: Any, op: Any) -> None:
    """Many tensors that share one long name would be copied over and over."""
    tensors = [t("n" * 50_000, (1, 4))] * 200
    path = tflite_file(tensors, [op("RELU", [0], [1])], [0], [1], share_strings=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelRefused, match="vectors are longer than the file"):
        inspect_artifact(path)
