import numpy as np
import pytest

from edgekit.engine import Array
from edgekit.errors import QualityError
from edgekit.metrics import Proportion
from edgekit.parity import DecisionScorer, Gate, OutputParity, Parity, ParityMeter, decision


def measured(reference: Array, candidate: Array, labels: list[int | None] | None = None) -> Parity:
    meter = ParityMeter(DecisionScorer("y"))
    for i in range(len(reference)):
        one = None if labels is None else [labels[i]]
        meter.update({"y": reference[i : i + 1]}, {"y": candidate[i : i + 1]}, one)
    return meter.result()


def test_numbers_equal_the_formulas() -> None:
    random = np.random.default_rng(0)
    want = random.standard_normal((7, 10)).astype(np.float32)
    got = want + 0.1 * random.standard_normal((7, 10)).astype(np.float32)
    output = measured(want, got).outputs[0]
    w, g = want.astype(float).ravel(), got.astype(float).ravel()
    assert output.relative_l2 == pytest.approx(np.linalg.norm(g - w) / np.linalg.norm(w), rel=1e-12)
    assert output.cosine == pytest.approx(w @ g / np.linalg.norm(w) / np.linalg.norm(g), rel=1e-12)
    assert output.max_error == pytest.approx(np.abs(g - w).max(), rel=1e-12)


def test_agreement_and_accuracy() -> None:
    want, got = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    got[3] = [1, 0, 0, 0]
    parity = measured(want, got, [0, 1, None, 3])
    assert parity.agreement == Proportion(3, 4, "top-1 agreement")
    assert parity.metric == Proportion(2, 3)
    assert parity.reference_metric == Proportion(3, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_wrong_infinity_or_nan_is_never_parity(bad: float) -> None:
    got = np.ones((1, 3), np.float32)
    got[0, 1] = bad
    parity = measured(np.ones((1, 3), np.float32), got)
    assert parity.worst.relative_l2 == np.inf
    assert "not finite" in (Gate(max_relative_l2=1e9).failure(parity) or "")


def test_masked_logits_of_minus_infinity_may_agree() -> None:
    same = np.array([[1.0, -np.inf, 2.0]], np.float32)
    assert measured(same, same.copy()).worst.relative_l2 == 0.0


def test_another_shape_is_never_parity() -> None:
    assert measured(np.ones((2, 3)), np.ones((2, 4))).worst.relative_l2 == np.inf


def test_zero_reference_needs_zero() -> None:
    zeros = np.zeros((1, 3), np.float32)
    assert measured(zeros, zeros).worst.relative_l2 == 0.0
    assert measured(zeros, zeros + 1).worst.relative_l2 == np.inf


def test_decision_of_one_score_is_a_probability() -> None:
    assert decision(np.array([[0.2], [0.7]])).tolist() == [0, 1]
    assert decision(np.array([[[[0.1, 3.0]]]])).tolist() == [1]


def with_accuracy(right: int, reference: int = 85, total: int = 100) -> Parity:
    output = (OutputParity("y", 0.1, 0.99, 1.0),)
    return Parity(total, output, Proportion(97, 100), Proportion(right, total), Proportion(reference, total))


def test_accuracy_decides_when_there_are_labels() -> None:
    gate = Gate.for_recipe("int8", max_drop=1.0)
    assert gate.failure(with_accuracy(84)) is None
    assert gate.failure(with_accuracy(83)) == "accuracy dropped by 2.00 points, allowed 1"


def test_agreement_decides_without_labels() -> None:
    gate = Gate.for_recipe("int8", max_drop=1.0)
    output = (OutputParity("y", 0.1, 0.99, 1.0),)
    assert gate.failure(Parity(100, output, Proportion(95, 100))) is None
    assert gate.failure(Parity(100, output, Proportion(94, 100))) == "agreement is 94.0 %, needed 95 %"


def test_float_recipes_are_held_numerically() -> None:
    assert Gate.for_recipe("fp32").max_relative_l2 == 1e-4
    assert Gate.for_recipe("fp16").max_relative_l2 == 1e-2
    with pytest.raises(QualityError, match=r"a\.tflite: output 'y' has relative L2 0\.1, allowed 0\.0001"):
        Gate.for_recipe("fp32").check(with_accuracy(85), "a.tflite")


def test_tensors_are_held_by_cosine() -> None:
    gate = Gate.for_recipe("int8")
    outputs = (OutputParity("a", 0.1, 0.99, 1.0), OutputParity("b", 0.3, 0.95, 1.0))
    assert gate.failure(Parity(5, outputs)) == "output 'b' has cosine 0.9500, needed 0.98"


def test_json_form_round_trips() -> None:
    parity = with_accuracy(80)
    assert Parity.from_dict(parity.to_dict()) == parity
