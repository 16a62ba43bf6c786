"""Which variants are worth making."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.metrics import Proportion
from edgekit.parity import OutputParity, Parity
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.quality import quality_miss
from edgekit_converters.plan.variants import Miss, Piece, Variant, smaller_sides, thread_counts, unpromising

INT8 = Variant(Piece("tflite", "int8"), "litert", 1, size_bytes=4_000_000, agreement=0.98, drop_points=0.5)


def test_mixed_and_int16_are_made_only_where_int8_is_not_good_enough() -> None:
    for recipe in ("mixed", "int8-int16"):
        assert unpromising(recipe, None, INT8, Budget()) == "not made: int8 keeps the answers and is smaller and faster"
        assert unpromising(recipe, None, replace(INT8, quality=Miss("drop", 3.0, 1.0)), Budget()) is None
        assert unpromising(recipe, None, replace(INT8, error="not made"), Budget()) is None
        assert unpromising(recipe, None, None, Budget()) is None


def test_what_must_be_too_large_is_not_made() -> None:
    budget = Budget(size_mb=5.0)
    assert unpromising("fp16", 14_000_000, None, budget) == (
        "not made: it would be at least 6.3 MB, a part of fp32's 14 MB"
    )
    assert unpromising("int8", 14_000_000, None, budget) is None
    assert unpromising("int8", 40_000_000, None, budget) is not None
    assert unpromising("fp32", 40_000_000, None, budget) is None  # the others are measured by it


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6))])
def test_threads_double_up_to_the_cores(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def test_smaller_inputs_are_three_quarters_and_half() -> None:
    assert smaller_sides((224, 224)) == ((192, 192), (176, 176), (112, 112))
    assert smaller_sides((96, 160)) == ((88, 144), (72, 120), (48, 80))
    assert smaller_sides((16, 16)) == ((12, 12), (8, 8))
    assert smaller_sides((8, 8)) == ()


def parity(right: int, agree: int, relative_l2: float = 0.001, *, labelled: bool = True) -> Parity:
    known = {"metric": Proportion(right, 100), "reference_metric": Proportion(90, 100)} if labelled else {}
    output = OutputParity("scores", relative_l2, 1 - relative_l2**2 / 2, 1.0)
    return Parity(100, (output,), Proportion(agree, 100, "top-1 agreement"), **known)


def test_quality_is_judged_by_the_metric_where_there_is_one() -> None:
    piece = Piece("onnx", "int8")
    assert quality_miss(piece, parity(88, 90), 2.0) is None
    assert quality_miss(piece, parity(87, 99), 2.0) == Miss("drop", 100 * (0.9 - 0.87), 2.0)


def test_without_labels_five_points_of_agreement_stand_for_a_point() -> None:
    piece = Piece("onnx", "int8")
    assert quality_miss(piece, parity(0, 95, labelled=False), 1.0) is None
    assert quality_miss(piece, parity(0, 94, labelled=False), 1.0) == Miss("agreement", 94.0, 95.0)


def test_a_float_artifact_must_be_close_at_its_own_input_size_only() -> None:
    far = parity(90, 100, relative_l2=0.3)
    assert quality_miss(Piece("onnx", "fp16"), far, 1.0) == Miss("parity", 0.3, 0.01)
    assert quality_miss(Piece("onnx", "fp16", (16, 16)), far, 1.0) is None
    assert quality_miss(Piece("onnx", "fp16", (16, 16)), parity(88, 100), 1.0) is not None
