"""The measuring process: does one job, writes one JSON object, ends.

Started by `edgekit_runtimes.bench.process`; not a command for people. A fresh process for each configuration gives
its own peak memory and a load time that nothing before it made shorter.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError
from edgekit_runtimes.bench.job import Effort, Target


def main() -> None:
    """Read the job on standard input, do it, and write the answer to what was standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code that prints cannot break the answer
    threading.Thread(target=_end_with_parent, args=(answers.fileno(),), daemon=True).start()
    job = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"result": _JOBS[job["kind"]](job)}
    except EdgeKitError as error:
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == EdgeKitError.__module__)
        answer = {"error": [kind, error.received, error.expected, error.remedy]}
    except Exception as error:  # whatever an engine lets slip reaches the parent as text
        answer = {"slip": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    json.dump(answer, answers)
    answers.flush()
    os._exit(0)  # skips the destructors of native libraries, some of which crash


def _end_with_parent(answers: int) -> None:
    """Exit when nobody is left to read the answer, in the middle of a long run too."""
    poll = select.poll()
    poll.register(answers, 0)  # an error is always reported
    poll.poll()
    os._exit(0)


def _engine(job: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit_runtimes.bench.measure import measure_engine

    return measure_engine(Target.from_dict(job["target"]), job["threads"], Effort(**job["effort"]), job["item"])


def _pipeline(job: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit_runtimes.bench.measure import measure_pipeline

    return measure_pipeline(Target.from_dict(job["target"]), job["threads"], Effort(**job["effort"]), job["item"])


def _compare(job: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit_runtimes.bench.measure import interleave

    a, b = Target.from_dict(job["target"]), Target.from_dict(job["other"])
    return interleave(a, b, job["threads"], Effort(**job["effort"]), job["seed"])


def _operators(job: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit_runtimes.bench.operators import profile

    return profile(Target.from_dict(job["target"]), job["threads"], job["effort"]["runs"]).to_dict()


def _peak(job: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit_runtimes.bench.roofline.measure import measure_peak

    return measure_peak(Target.from_dict(job["target"]), job["threads"], Path(job["root"]))


_JOBS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "engine": _engine,
    "pipeline": _pipeline,
    "compare": _compare,
    "operators": _operators,
    "peak": _peak,
}
