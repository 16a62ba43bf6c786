"""Which engines and execution providers really run here: each is tried with a tiny model in a child process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import BUILT_IN, FORMAT_SUFFIXES, engine_names
from edgekit.errors import EdgeKitError, MissingExtra
from edgekit.isolate import EngineProcess
from edgekit_runtimes.doctor import models
from edgekit_runtimes.doctor.board import JETSON, Board
from edgekit_runtimes.doctor.host import Problem
from edgekit_runtimes.engines.nvidia_faults import wrong_build
from edgekit_runtimes.engines.providers import NVIDIA

WORKS, NOT_INSTALLED, FAILS = "works", "not installed", "fails"
TOLERANCE = 1e-2
"""Relative to the largest value: a provider that computes in half precision passes."""

_ABOUT = "import sys; sys.path[:] = [p for p in sys.path if p]; from edgekit_runtimes.doctor.about import main; main()"
_PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class EngineState:
    """How an engine, or one of its execution providers, fared.

    Attributes:
        name: As ``--engine`` takes it: ``litert``, ``onnxruntime:cpu``.
        state: ``works``, ``not installed`` or ``fails``.
        formats: Formats that ran.
        version: Of the engine's library; empty when it was not loaded.
        seconds: Wall time from the start of the child to its answer.
        reason: Why it does not work, or cannot run one of its formats; empty otherwise.
        remedy: What to do about it; empty where nothing is wrong.
    """

    name: str
    state: str
    formats: tuple[str, ...] = ()
    version: str = ""
    seconds: float = 0.0
    reason: str = ""
    remedy: str = ""


def try_engines(timeout: float, names: Sequence[str] | None = None) -> Iterator[EngineState]:
    """Try every engine and provider, one after the other.

    Args:
        timeout: Seconds that each step of each may take.
        names: Engines; by default all that are registered.
    """
    for name in names if names is not None else sorted({*engine_names(), *BUILT_IN}):
        started = time.monotonic()
        about = _about(name, timeout)
        if isinstance(about, EngineState):
            yield replace(about, seconds=time.monotonic() - started)
            continue
        for provider in about["providers"] or [""]:
            yield _tried(f"{name}:{provider}" if provider else name, about["formats"], timeout)


def engine_problems(states: Sequence[EngineState]) -> list[Problem]:
    """Name what keeps engines from running."""
    problems = [
        Problem(
            "warning",
            f"engine {state.name} is installed and {'runs in part' if state.state == WORKS else 'does not run'}: "
            f"{state.reason}",
            "what needs it does not run on this machine",
            state.remedy or _reinstall(state.name),
        )
        for state in states
        if state.state == FAILS or (state.state == WORKS and state.reason)
    ]
    if not any(state.state == WORKS for state in states):
        problems.insert(
            0,
            Problem(
                "blocking",
                "no engine runs on this machine",
                "no bundle can run here",
                "pip install 'edgekit-ai[litert]' (or 'edgekit-ai[onnxruntime]')",
            ),
        )
    return problems


def _about(name: str, timeout: float) -> Mapping[str, Any] | EngineState:
    """Ask for an engine's formats and providers in a child; return its state when it cannot say."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ABOUT, name], check=False, capture_output=True, text=True, errors="replace",
            timeout=timeout, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return EngineState(name, FAILS, reason=f"its import did not end within {timeout:g} s")
    if done.returncode < 0:
        return EngineState(name, FAILS, reason=f"its import crashed ({signal.Signals(-done.returncode).name})")
    try:
        about: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or [f"its import ended with exit code {done.returncode}"]
        return EngineState(name, FAILS, reason=lines[-1])
    if "error" in about:
        kind, received, remedy = about["error"]
        missing = kind == MissingExtra.__name__
        return EngineState(name, NOT_INSTALLED if missing else FAILS, reason=received, remedy=remedy or "")
    return about


def _tried(name: str, formats: Sequence[str], timeout: float) -> EngineState:
    """Run the tiny model in every format of an engine."""
    started = time.monotonic()
    ran, version, refusal = [], "", None
    with tempfile.TemporaryDirectory(prefix="edgekit-doctor-") as folder:
        for kind in formats:
            path = Path(folder) / f"probe{FORMAT_SUFFIXES[kind]}"
            path.write_bytes(models.FILES[kind])
            try:
                version = _run(path, name, timeout)
                ran.append(kind)
            except EdgeKitError as error:
                refusal = _refused(name, path, error)
    seconds = time.monotonic() - started
    if refusal is None:
        return EngineState(name, WORKS, tuple(ran), version, seconds)
    state = WORKS if ran else refusal.state
    return replace(refusal, state=state, formats=tuple(ran), version=version, seconds=seconds)


def _refused(name: str, path: Path, error: EdgeKitError) -> EngineState:
    reason = " ".join(error.received.replace(str(path), "a tiny model").split())
    if isinstance(error, MissingExtra):
        return EngineState(name, NOT_INSTALLED, reason=reason, remedy=error.remedy or "")
    # What an error says of its file (copy it again) is of no use: the file is ours.
    remedy = error.remedy if error.exit_code == 5 and error.remedy else ""
    return EngineState(name, FAILS, reason=reason, remedy=remedy)


def _run(path: Path, name: str, timeout: float) -> str:
    """Run the tiny model once; return the version of the engine's library. Raises EdgeKitError when it does not run."""
    with EngineProcess(path, name, threads=1, timeout=timeout) as engine:
        channels_last = path.suffix == FORMAT_SUFFIXES["tflite"]
        picture, wanted = (array.transpose(0, 2, 3, 1) if channels_last else array for array in _pair())
        outputs = engine.run({engine.inputs[0].name: picture})
        found = next(iter(outputs.values()))
        if found.shape != wanted.shape or not np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max():
            raise EdgeKitError("it gives wrong answers for a tiny model")
        return engine.version


def _pair() -> tuple[Any, Any]:
    return models.picture(), models.answer()


def _reinstall(name: str) -> str:
    package = _PACKAGES.get(name.partition(":")[0])
    if package is None:
        return f"install the package that brings engine {name!r} again, or remove it"
    return f"pip install --force-reinstall {package}"


def gpu_problems(states: Sequence[EngineState], board: Board) -> list[Problem]:
    """Name a Jetson whose ONNX Runtime was built without its GPU."""
    found = {state.name.partition(":")[2] for state in states if state.name.startswith("onnxruntime:")}
    if board.kind != JETSON or not found or found & set(NVIDIA):
        return []
    wrong, mend = wrong_build(jetson=True)
    what = "ONNX Runtime here was built without CUDA, and this is a Jetson"
    return [
        Problem(
            "warning", f"{what}: {wrong}" if wrong else what, ".onnx files run on the processor, not on the GPU", mend
        )
    ]
