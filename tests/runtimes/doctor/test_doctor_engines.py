"""Engines are tried in child processes: what crashes, hangs or lies is reported, and the doctor lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.engine import open_engine
from edgekit_runtimes.doctor import models
from edgekit_runtimes.doctor.board import read_board
from edgekit_runtimes.doctor.engines import (
    FAILS,
    NOT_INSTALLED,
    WORKS,
    EngineState,
    engine_problems,
    gpu_problems,
    try_engines,
)
from tests.runtimes.doctor import write_models
from tests.runtimes.doctor.trees import JETSON_ORIN, PI_5, host_of

Install = Callable[..., None]
SECONDS = 60.0


def tried(name: str, timeout: float = SECONDS) -> EngineState:
    (state,) = try_engines(timeout, [name])
    return state


def test_the_tiny_models_are_what_their_script_writes() -> None:
    assert Path(models.__file__).read_text(encoding="utf-8") == write_models.source()


def test_both_files_give_numpys_answer(tmp_path: Path) -> None:
    for kind, order in (("onnx", (0, 1, 2, 3)), ("tflite", (0, 2, 3, 1))):
        path = tmp_path / f"tiny.{kind}"
        path.write_bytes(models.FILES[kind])
        with open_engine(path, threads=1) as engine:
            (found,) = engine.run({engine.inputs[0].name: models.picture().transpose(order)}).values()
        np.testing.assert_allclose(found, models.answer().transpose(order), rtol=1e-6)


def test_the_built_in_engines_work_here() -> None:
    states = {state.name: state for state in try_engines(SECONDS, ["litert", "onnxruntime"])}
    assert (states["litert"].state, states["litert"].formats) == (WORKS, ("tflite",))
    cpu = states["onnxruntime:cpu"]
    assert (cpu.state, cpu.formats) == (WORKS, ("onnx",))
    assert cpu.version.startswith("1.")
    assert cpu.seconds > 0
    assert engine_problems(list(states.values())) == []


def test_every_registered_engine_is_tried(fake_engines: Install) -> None:
    fake_engines("honest", "absent")
    states = {state.name: state for state in try_engines(SECONDS)}
    assert {"litert", "onnxruntime:cpu", "honest", "absent"} <= set(states)
    assert (states["honest"].state, states["honest"].version) == (WORKS, "7.1")
    assert (states["absent"].state, states["absent"].remedy) == (NOT_INSTALLED, "pip install absent")
    assert not [problem for problem in engine_problems(list(states.values())) if "absent" in problem.what]


@pytest.mark.parametrize(
    ("name", "timeout", "reason"),
    [
        ("liar", SECONDS, "it gives wrong answers for a tiny model"),
        ("crashing", SECONDS, "a tiny model crashed the runtime (SIGSEGV)"),
        ("hanging", 2.0, "a tiny model gave no answer within 2 s"),
        ("import_crash", SECONDS, "its import crashed (SIGSEGV)"),
        ("import_hang", 2.0, "its import did not end within 2 s"),
        ("import_error", SECONDS, "ZeroDivisionError: at import"),
    ],
)
def test_a_broken_engine_is_a_report(fake_engines: Install, name: str, timeout: float, reason: str) -> None:
    fake_engines(name)
    state = tried(name, timeout)
    assert (state.state, state.reason) == (FAILS, reason)
    blocking, warning = engine_problems([state])
    assert (blocking.severity, blocking.mend.split()[0]) == ("blocking", "pip")
    assert (warning.severity, warning.what) == (
        "warning",
        f"engine {name} is installed and does not run: {reason}",
    )


def test_each_provider_of_the_library_is_tried_for_itself(fake_engines: Install) -> None:
    fake_engines("choosy")
    good, bad = try_engines(SECONDS, ["choosy"])
    assert (good.name, good.state) == ("choosy:good", WORKS)
    assert (bad.name, bad.state, bad.reason) == ("choosy:bad", FAILS, "libbad.so is not there")
    (problem,) = engine_problems([good, bad])
    assert problem.mend == "sudo apt install libbad"


def test_an_engine_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *(item for item in sys.path if item)]))
    state = tried("onnxruntime")
    assert (state.state, state.remedy) == (NOT_INSTALLED, "pip install 'edgekit-ai[onnxruntime]'")
    (problem,) = engine_problems([state])
    assert (problem.severity, problem.what) == ("blocking", "no engine runs on this machine")


def test_part_of_an_engine_is_a_warning() -> None:
    state = EngineState("openvino", WORKS, ("onnx",), "2026", 1.0, reason="a tiny model crashed the runtime (SIGSEGV)")
    (problem,) = engine_problems([state])
    assert problem.severity == "warning"
    assert problem.what == "engine openvino is installed and runs in part: a tiny model crashed the runtime (SIGSEGV)"
    assert problem.mend == "pip install --force-reinstall openvino"


def test_a_jetson_whose_onnx_runtime_has_no_gpu(tmp_path: Path) -> None:
    jetson = read_board(host_of(tmp_path / "jetson", JETSON_ORIN))
    cpu, cuda = EngineState("onnxruntime:cpu", WORKS, ("onnx",)), EngineState("onnxruntime:cuda", FAILS)
    litert = EngineState("litert", WORKS, ("tflite",))
    (problem,) = gpu_problems([litert, cpu], jetson)
    assert problem.what.startswith("ONNX Runtime here was built without CUDA, and this is a Jetson")
    assert "NVIDIA's package index for the JetPack of this board" in problem.mend
    assert gpu_problems([litert], jetson) == []  # whoever runs no .onnx misses nothing
    assert gpu_problems([litert, cpu, cuda], jetson) == []  # there, and what is wrong with it is told by its own trial
    assert gpu_problems([litert, cpu], read_board(host_of(tmp_path / "pi", PI_5))) == []


def test_a_provider_that_does_not_load_is_told_with_its_library_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor says of a provider what a run would."""
    from edgekit_runtimes.doctor import engines
    from edgekit_runtimes.engines.nvidia_faults import fault

    class Broken:
        def __init__(self, *arguments: object, **options: object) -> None:
            raise fault(
                "cuda",
                "CUDAExecutionProvider cannot run",
                "libcudnn.so.9: cannot open shared object file",
                jetson=False,
            )

    monkeypatch.setattr(engines, "EngineProcess", Broken)
    monkeypatch.setattr(engines, "_about", lambda name, timeout: {"providers": ["cuda"], "formats": ["onnx"]})
    (state,) = try_engines(SECONDS, ["onnxruntime"])
    assert "libcudnn.so.9" in state.reason
    _, problem = engine_problems([state])
    assert problem.mend == "pip install 'onnxruntime-gpu[cuda,cudnn]'"
