"""ONNX Runtime's profiler: a JSON trace with the time of each node in each run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.bench.measure import feeds_for
from edgekit_runtimes.bench.operators import Node, Profile
from edgekit_runtimes.engines.common import thread_count
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.providers import CPU
from edgekit_runtimes.engines.saturation import X64_QUANT_PRECISION

WARMUP = 5
_KERNEL = "_kernel_time"
_ERRORS_ONLY = 3
_CONTAINERS = ("If", "Loop", "Scan")  # their time is that of the nodes inside, which are recorded too


def profile_onnx(target: Target, threads: int | None, runs: int) -> Profile:
    """Profile an ``.onnx`` file on the CPU. The trace lives in a temporary folder and is removed."""
    import onnxruntime

    feeds = feeds_for(target, threads)
    with OnnxRuntimeEngine(target.path, threads=threads) as engine:
        stored = {info.name: info.quantize(feeds[info.name]) for info in engine.inputs}
        exact = engine.x64_quant_precision
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = thread_count(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        if exact:
            options.add_session_config_entry(X64_QUANT_PRECISION, "1")
        session = onnxruntime.InferenceSession(str(target.path), options, providers=[CPU])
        for _ in range(WARMUP + runs):
            session.run(None, stored)
        trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return read_trace(trace, f"ONNX Runtime {onnxruntime.__version__}'s profiler", WARMUP)


def read_trace(trace: Sequence[Mapping[str, Any]], source: str, skip: int) -> Profile:
    """Read a trace of ONNX Runtime's profiler.

    Args:
        trace: Its events; times are in microseconds.
        source: What to call the profiler.
        skip: Runs at the start that do not count.

    Raises:
        EnvironmentFault: There are no runs or no nodes in it: a trace of another form.
    """
    whole = sorted((e["ts"], e["dur"]) for e in trace if e.get("cat") == "Session" and e["name"] == "model_run")[skip:]
    times: dict[tuple[str, str], list[float]] = {}
    kernels = [e for e in trace if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]
    for event in sorted(kernels, key=lambda event: event["ts"]):
        if whole and event["ts"] >= whole[0][0]:
            node = (event["name"].removesuffix(_KERNEL), event["args"]["op_name"])
            if node[1] not in _CONTAINERS:
                times.setdefault(node, []).append(event["dur"])
    if not times:
        raise EnvironmentFault(
            f"{source} recorded no operators",
            remedy="install the version of onnxruntime that edgekit's constraints pin",
        )
    count = len(whole)
    nodes = tuple(Node(name, kind, sum(found) / count / 1000) for (name, kind), found in times.items())
    return Profile(source, count, sum(duration for _, duration in whole) / count / 1000, nodes)
