"""Running a job in a fresh process while watching the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit import errors
from edgekit.errors import EdgeKitError, ModelRefused
from edgekit.isolate import ChildFailure
from edgekit.notices import handed_on
from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.machine import State, Verdict, judge, read_state

# Not `python -m`, which would look for modules in the current folder first: a stray numpy.py there would run.
_START = "import sys; sys.path[:] = [p for p in sys.path if p]; from edgekit_runtimes.bench.child import main; main()"
_SAMPLE_SECONDS = 0.5
_STDERR_SHOWN = 4000


@dataclass(frozen=True)
class Answer:
    """What a measuring process found, and how the machine was meanwhile.

    Attributes:
        result: The job's result.
        states: State of the machine before, during (every half second) and after.
        machine: What that means for the times.
    """

    result: dict[str, Any]
    states: tuple[State, ...]
    machine: Verdict


def run_job(
    kind: str,
    target: Target,
    *,
    threads: int | None = None,
    effort: Effort,
    item: str | None = None,
    other: Target | None = None,
    seed: int = 0,
    root: Path = Path("/"),
) -> Answer:
    """Do one job in a fresh process.

    Args:
        kind: ``engine``, ``pipeline``, ``compare``, ``operators`` or ``peak``.
        target: The artifact.
        threads: Threads of the engine; ``None`` lets it choose.
        effort: How long to measure.
        item: A real input as on the command line.
        other: For ``compare``, the artifact to compare with.
        seed: For ``compare``, of the order in which the two are opened and called.
        root: Where the machine's ``/proc`` and ``/sys`` lie.

    Raises:
        ModelRefused: The process was killed or crashed. Errors in it arrive as the class they were raised as.
    """
    job = {
        "kind": kind,
        "target": target.to_dict(),
        "other": other.to_dict() if other else None,
        "threads": threads,
        "effort": asdict(effort),
        "item": item,
        "seed": seed,
        "root": str(root),
    }
    states, own = [read_state(root)], _own_seconds()
    result = _ask(job, target.path, states, root)
    states.append(read_state(root))
    return Answer(result, tuple(states), judge(states, _own_seconds() - own))


def _ask(job: Mapping[str, Any], path: Path, states: list[State], root: Path) -> dict[str, Any]:
    with tempfile.TemporaryFile() as said:
        with handed_on() as notices:
            child = subprocess.Popen(
                [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                start_new_session=True,  # Ctrl-C is the parent's to handle
                **notices,
            )  # fmt: skip
        try:
            answer = _wait(child, json.dumps(job).encode(), states, root)
        finally:
            child.kill()
            child.wait()
        said.seek(0)
        words = said.read()[-_STDERR_SHOWN:].decode("utf-8", "replace").strip()
    if child.returncode or not answer:
        raise _verdict(path, child.returncode) from ChildFailure(words or "the child wrote nothing")
    return _unpacked(path, json.loads(answer))


def _wait(child: subprocess.Popen[bytes], job: bytes | None, states: list[State], root: Path) -> bytes:
    while True:
        try:
            answer, _ = child.communicate(job, timeout=_SAMPLE_SECONDS)
        except subprocess.TimeoutExpired:  # noqa: PERF203  # twice a second
            job = None  # communicate keeps what it was given first
            states.append(read_state(root))
        else:
            return answer


def _unpacked(path: Path, answer: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        name, received, expected, remedy = answer["error"]
        kind: type[EdgeKitError] = getattr(errors, name) if name in errors.__all__ else EdgeKitError
        raise kind(received, expected=expected, remedy=remedy)
    if "slip" in answer:
        raise ModelRefused(f"{path} failed in its runtime: {answer['slip']}") from ChildFailure(answer["traceback"])
    result: dict[str, Any] = answer["result"]
    return result


def _verdict(path: Path, code: int) -> EdgeKitError:
    if code == -signal.SIGKILL:
        return ModelRefused(
            f"the process measuring {path} was killed (SIGKILL)",
            expected="enough memory for the model",
            remedy="close other programs or use a machine with more memory",
        )
    if code < 0:
        name = f"signal {-code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
        return ModelRefused(
            f"{path} crashed the runtime ({name})",
            remedy="copy or convert it again; a file that crashes a runtime is damaged or hostile",
        )
    return ModelRefused(f"the process measuring {path} ended with exit code {code} and no answer")


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
