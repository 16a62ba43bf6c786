"""Whether an artifact is slower than its float artifact."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgekit.binding import Binding
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks import Task, task_for
from edgekit_converters.measure import SLOWER, Measurement, slower_than
from edgekit_converters.store import Stored

WIDTH = 512
SPEC = Spec(
    inputs=(TensorSpec("x", (1, WIDTH), "float32"),), outputs=(TensorSpec("y", (1, WIDTH), "float32"),), task="tensors"
)
SAMPLE = Stored("one", {"x": np.ones((1, WIDTH), np.float32)}, {}, None)


def multiplying(path: Path, times: int) -> Path:
    """A file that multiplies with a matrix so many times."""
    import onnx
    from onnx import helper

    matrix = onnx.numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "matrix")
    names = ["x", *(f"t{i}" for i in range(times - 1)), "y"]
    nodes = [helper.make_node("MatMul", [a, "matrix"], [b]) for a, b in pairwise(names)]
    edges = [[helper.make_tensor_value_info(name, 1, [1, WIDTH])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", *edges, [matrix])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    return path


def measured(latency_ms: float) -> Measurement:
    parity = Parity(1, (OutputParity("y", 0.0, 1.0, 0.0),))
    x, y = (Binding(name, name, (1, WIDTH), "float32", None) for name in ("x", "y"))
    return Measurement((x,), (y,), parity, parity, latency_ms)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return task_for(SPEC, tmp_path)


def test_a_slower_artifact_is_said_to_be_slower(tmp_path: Path, task: Task) -> None:
    """The two run in turns; the latencies noted before only say that it is worth it."""
    slow, fast = multiplying(tmp_path / "slow.onnx", 60), multiplying(tmp_path / "fast.onnx", 3)
    (note,) = slower_than((slow, measured(1.0)), (fast, measured(1.0)), task=task, sample=SAMPLE)
    assert note.startswith(f"{SLOWER}: 0.")
    assert float(note.split()[3]) < 0.5
    assert slower_than((fast, measured(1.0)), (slow, measured(1.0)), task=task, sample=SAMPLE) == ()


def test_what_is_clearly_faster_is_not_run_again(tmp_path: Path, task: Task) -> None:
    files = (tmp_path / "missing.onnx", measured(0.5)), (tmp_path / "missing-too.onnx", measured(1.0))
    assert slower_than(*files, task=task, sample=SAMPLE) == ()
