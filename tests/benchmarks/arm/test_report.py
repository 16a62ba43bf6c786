"""The arithmetic of the tables."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.bundle import Artifact
from edgekit.engine import Array
from edgekit.parity import Parity
from tests.benchmarks.arm.report import HERE, Measured, Row, answers_table, input_difference, measured, summary

MACHINES = {"x86": "x86", "pi5": "Pi 5", "pi4": "Pi 4"}


def answers(index: list[int], scores: list[list[float]]) -> dict[str, Array]:
    return {"index": np.array(index), "seconds": np.ones(len(index)), "logits": np.array(scores, np.float32)}


def row(recipe: str, **alike: float) -> Row:
    nothing = Parity(0, ())
    artifact = Artifact(
        file=f"m.{recipe}.onnx", format="onnx", recipe=recipe, bytes=1, inputs=(), outputs=(), parity=nothing,
        golden=nothing, latency_ms=1.0, degraded=None,
    )  # fmt: skip
    found = {name: Measured(100, 0.95, share, 0.0123, "pass") for name, share in {HERE: 1.0, **alike}.items()}
    return Row("net", "onnxruntime", artifact, found)


def test_a_board_is_compared_on_the_inputs_that_it_answered() -> None:
    original = {"logits": np.array([[1, 0], [0, 1], [1, 0]], np.float32)}
    here = answers([0, 1, 2], [[2, 0], [0, 2], [0, 4]])
    there = answers([0, 2], [[2, 0], [3, 2]])
    found = measured("logits", original, here, there, "pass")
    assert (found.inputs, found.agreement, found.alike) == (2, 1.0, 0.5)
    assert found.difference == pytest.approx(3 / 4)  # of the largest output on x86


def test_inputs_that_x86_has_not_answered_are_no_comparison() -> None:
    here, there = answers([0, 2], [[1, 0], [1, 0]]), answers([1], [[1, 0]])
    with pytest.raises(ValueError, match="not answered the same inputs"):
        measured("logits", {"logits": np.eye(3, 2)}, here, there, "pass")


def test_int8_that_strays_is_named() -> None:
    rows = [row("int8", pi5=1.0, pi4=0.98), row("fp32", pi5=0.5, pi4=0.5), row("int8", pi5=0.99, pi4=1.0)]
    assert [found.strays for found in rows] == [["pi4"], [], []]
    assert summary(rows).endswith("at least 98 % of 100 inputs alike on every machine; below 99 %: net, onnxruntime.")
    assert summary(rows[2:]).endswith("below 99 %: none.")


def test_what_is_equal_everywhere_is_said_once() -> None:
    line = answers_table([row("int8", pi5=1.0, pi4=0.98)], MACHINES).splitlines()[-1]
    assert line == "| net | onnxruntime | int8 | 100 | 95 | 100, 98 | 0.01 | pass |"


def test_encoded_inputs_are_compared_by_their_largest_entry() -> None:
    here, there = {"image": np.array([[0.0, 4.0]])}, {"image": np.array([[1.0, 4.0]])}
    assert input_difference(here, there) == (0.25, 0.125)
