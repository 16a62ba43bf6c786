"""Operator profiles: both engines' own formats, and real models."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.measurement import profiled_runs
from edgekit_runtimes.bench.operators import Node, Profile, by_kind, profile
from edgekit_runtimes.bench.process import run_job
from edgekit_runtimes.bench.profile_litert import read_summary
from edgekit_runtimes.bench.profile_onnxruntime import read_trace

SUMMARY = """
============== Run Order ==============
 [node type]  [start]  [first]  [avg ms]  [%]  [cdf%]  [mem KB] [times called]   [Name]
  Delegate/Convolution (NHWC, F32) IGEMM  0.000  0.021   0.021  25.000%  25.000%  0.000    20   [Delegate]:0
  Delegate/Fully Connected (NC, F32) GEMM  0.000  0.005   0.005  70.000%  95.000%  0.000    20   [Delegate]:1
  SOFTMAX  0.000  0.000   0.000   5.000%  100.000%  0.000    40   [Identity]:30

============== Top by Computation Time ==============
 [node type]  [start]  [first]  [avg ms]  [%]  [cdf%]  [mem KB] [times called]   [Name]
  Delegate/Fully Connected (NC, F32) GEMM  0.000  0.005   0.005  70.000%  70.000%  0.000    20   [Delegate]:1

Timings (microseconds): count=20 first=200 curr=2000 min=1 max=2 avg=10 std=0
Memory (bytes): count=0
"""


def test_types_add_up_and_the_most_expensive_is_first() -> None:
    kinds = by_kind([Node("a", "Conv", 1.0), Node("b", "Relu", 0.5), Node("c", "Conv", 0.5)])
    assert [(kind.kind, kind.nodes, kind.milliseconds, kind.share) for kind in kinds] == [
        ("Conv", 2, 1.5, 0.75),
        ("Relu", 1, 0.5, 0.25),
    ]
    assert by_kind([Node("a", "Conv", 0.0)])[0].share == 0


def test_litert_summary() -> None:
    found = read_summary(SUMMARY, "LiteRT", runs=20, run_ms=0.2)
    assert [(node.name, node.kind) for node in found.nodes] == [
        ("delegate node 0", "Convolution (NHWC, F32) IGEMM"),
        ("delegate node 1", "Fully Connected (NC, F32) GEMM"),
        ("identity node 30", "SOFTMAX"),  # a row that was called twice in each run
        ("identity node 30", "SOFTMAX"),
    ]
    assert [node.milliseconds for node in found.nodes] == pytest.approx([0.025, 0.07, 0.0025, 0.0025])
    assert found.operators_ms == pytest.approx(0.1)


def test_a_litert_summary_of_another_form_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match="profiler cannot be used here: its summary has another form"):
        read_summary("something else", "LiteRT", 1, 1.0)


def event(cat: str, name: str, ts: int, dur: int, kind: str = "") -> dict[str, object]:
    return {"cat": cat, "name": name, "ts": ts, "dur": dur, "args": {"op_name": kind}}


def test_onnxruntime_trace_without_the_warm_up_and_without_containers() -> None:
    trace = [
        {"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 50},
        event("Session", "model_run", 100, 900),
        event("Node", "conv1_kernel_time", 110, 800, "Conv"),
        event("Session", "model_run", 1000, 300),
        event("Node", "conv1_fence_before", 1005, 1, "Conv"),
        event("Node", "conv1_kernel_time", 1010, 200, "Conv"),
        event("Node", "loop_kernel_time", 1210, 60, "Loop"),
        event("Node", "add_kernel_time", 1215, 50, "Add"),
        event("Session", "model_run", 2000, 200),
        event("Node", "conv1_kernel_time", 2010, 100, "Conv"),
    ]
    found = read_trace(trace, "ORT", skip=1)
    assert found == Profile("ORT", 2, 0.25, (Node("conv1", "Conv", 0.15), Node("add", "Add", 0.025)))
    assert Profile.from_dict(found.to_dict()) == found
    with pytest.raises(EnvironmentFault, match="recorded no operators"):
        read_trace(trace[:1], "ORT", skip=0)


@pytest.mark.parametrize(
    ("name", "threads", "worst", "kinds"),
    [
        ("deeplabv3_mnv2_dm05_pascal_quant.tflite", 1, "Fully Connected", {"Resize Bilinear", "ARG_MAX", "Add"}),
        ("FastestDet.onnx", 1, "Conv", {"Transpose", "Concat", "Softmax"}),
    ],
)
def test_the_operators_of_a_real_model_are_most_of_a_run(
    models: Path, name: str, threads: int, worst: str, kinds: set[str]
) -> None:
    before = set(Path(tempfile.gettempdir()).glob("*trace*.json")) | set(Path.cwd().glob("*.json"))
    answer = run_job("operators", Target(models / name), threads=threads, effort=Effort(runs=5))
    found = Profile.from_dict(answer.result)
    assert sum(kind.share for kind in found.kinds()) == pytest.approx(1)
    assert 0.6 * found.run_ms < found.operators_ms < 1.02 * found.run_ms
    listed = [kind.kind for kind in found.kinds()]
    assert listed[0].startswith(worst)
    assert all(any(kind.startswith(part) for kind in listed) for part in kinds)
    assert set(Path(tempfile.gettempdir()).glob("*trace*.json")) | set(Path.cwd().glob("*.json")) == before


def test_an_engine_without_a_profiler_is_refused(models: Path) -> None:
    with pytest.raises(UsageError, match=r"--operators with engine 'other'; expected litert for ad01_int8.tflite"):
        profile(Target(models / "ad01_int8.tflite", engine="other"), 1, 1)


@pytest.mark.parametrize(("seconds", "runs"), [(0.0001, 1000), (0.01, 100), (0.5, 5)])
def test_fast_artifacts_are_profiled_longer(seconds: float, runs: int) -> None:
    assert profiled_runs(Effort(runs=5), [seconds] * 3) == runs
