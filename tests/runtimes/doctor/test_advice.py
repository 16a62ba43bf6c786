"""Which artifact of a bundle suits a machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bundle import Artifact, Bundle, write_golden, write_manifest
from edgekit_runtimes.doctor import advice as module
from edgekit_runtimes.doctor.advice import Advice, Trial, _patience, advice_problems, advise
from edgekit_runtimes.doctor.cpu import Cpu, int8_line
from edgekit_runtimes.doctor.engines import FAILS, WORKS, EngineState
from edgekit_runtimes.doctor.memory import Memory

Maker = Callable[..., Bundle]
LITERT = EngineState("litert", WORKS, ("tflite",), "2.3.0")
ONNXRUNTIME = EngineState("onnxruntime:cpu", WORKS, ("onnx",), "1.32.0")
VNNI = Cpu("AMD EPYC", 2, 2, None, ("avx2", "avx512_vnni"), int8_line(("avx2", "avx512_vnni"), "x86_64"))
PLENTY = Memory(8 << 30, 4 << 30, 0, 0, None, "/tmp", 1 << 34)  # noqa: S108


def advice_for(bundle: Bundle, *states: EngineState, memory: Memory = PLENTY) -> Advice:
    return advise(bundle, states, VNNI, memory, 60.0)


def test_the_fastest_here_is_advised_and_the_command_runs_it(person_bundle: Bundle) -> None:
    advice = advice_for(person_bundle, LITERT, ONNXRUNTIME)
    assert advice.best is not None
    measured = [trial.latency_ms for trial in advice.trials]
    assert all(ms is not None and ms > 0 for ms in measured)
    assert {trial.artifact.recipe for trial in advice.trials} == {"fp32", "int8"}
    assert all(trial.peak_bytes and trial.peak_bytes > trial.artifact.bytes for trial in advice.trials)
    command = f"edgekit run {person_bundle.path} --engine litert --recipe {advice.best.artifact.recipe} INPUT"
    assert advice.command(person_bundle) == command
    assert advice_problems(advice) == []


@pytest.mark.parametrize(
    ("milliseconds", "recipe", "why"),
    [
        ({"fp32": 9.0, "int8": 3.0}, "int8", f" and is the fastest here; {VNNI.int8}"),
        ({"fp32": 3.0, "int8": 9.0}, "fp32", " and is the fastest here"),
        ({"fp32": 3.0, "int8": 3.05}, "int8", f" and is the smallest of the fastest here; {VNNI.int8}"),
    ],
)
def test_speed_here_decides_and_int8_comes_with_what_the_processor_does_for_it(
    person_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, milliseconds: dict[str, float], recipe: str, why: str
) -> None:
    def tried(_: Bundle, artifact: Artifact, state: EngineState, *__: object) -> Trial:
        return Trial(artifact, state.name, milliseconds[artifact.recipe])

    monkeypatch.setattr(module, "_tried", tried)
    advice = advice_for(person_bundle, LITERT)
    assert advice.best is not None
    assert advice.best.artifact.recipe == recipe
    assert advice.why == f"it passed its gate, gives the original's answers here{why}"


def test_what_missed_its_gate_is_never_advised(person_maker: Maker, tmp_path: Path) -> None:
    bundle = person_maker(tmp_path / "a", degraded=[None, "agreement is 50.0 %"])
    advice = advice_for(bundle, LITERT)
    assert advice.best is not None
    assert advice.best.artifact.recipe == "fp32"
    assert advice.trials[1].against == "missed its gate at conversion: agreement is 50.0 %"
    assert advice.trials[1].latency_ms is None
    assert "the only one that suits" in advice.why


def test_when_all_missed_it_a_new_conversion_is_advised(person_maker: Maker, tmp_path: Path) -> None:
    advice = advice_for(person_maker(tmp_path / "a", degraded=["off by one", "off by two"]), LITERT)
    (problem,) = advice_problems(advice)
    assert advice.best is None
    assert (problem.severity, "off by one" in problem.what) == ("warning", True)
    assert problem.mend.startswith("convert the model again")


def test_other_answers_than_the_originals_are_never_advised(own_person_bundle: Path) -> None:
    bundle = Bundle(own_person_bundle)
    inputs, outputs = bundle.golden()
    write_golden(own_person_bundle, inputs, {"scores": outputs["scores"][::, ::-1] + 0.3})
    write_manifest(own_person_bundle, bundle.manifest)
    advice = advice_for(Bundle(own_person_bundle), LITERT)
    assert advice.best is None
    assert all(trial.against.startswith("output 'scores' has relative L2") for trial in advice.trials)
    assert [problem.severity for problem in advice_problems(advice)] == ["warning"]


def test_without_an_engine_the_extra_is_named(person_bundle: Bundle) -> None:
    broken = replace(LITERT, state=FAILS, formats=())
    advice = advice_for(person_bundle, broken, ONNXRUNTIME)
    (problem,) = advice_problems(advice)
    assert (problem.severity, problem.mend) == ("blocking", "pip install 'edgekit-ai[litert]'")
    with pytest.raises(ValueError, match="no artifact suits"):
        advice.command(person_bundle)


def test_a_file_larger_than_the_memory_is_not_opened(person_bundle: Bundle) -> None:
    advice = advice_for(person_bundle, LITERT, memory=replace(PLENTY, available=100_000))
    assert [trial.latency_ms for trial in advice.trials] == [None, None]
    assert "0 MB are available" in advice.trials[0].against
    assert advice_problems(advice)[0].severity == "blocking"


def test_an_engine_that_fails_on_the_artifact_is_told(person_bundle: Bundle) -> None:
    advice = advice_for(person_bundle, LITERT, EngineState("abacus", WORKS, ("tflite",)))
    assert advice.best is not None
    failed = [trial for trial in advice.trials if trial.engine == "abacus"]
    assert [trial.against for trial in failed] == ["no engine named 'abacus'"] * 2


def test_the_command_runs_what_was_measured(person_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that runs both formats, `edgekit run` takes the file that was faster at conversion."""
    fast = replace(person_bundle.artifacts[0], file="model.fp32.onnx", format="onnx", latency_ms=0.5)
    bundle = Bundle(person_bundle.path)
    bundle.manifest = replace(bundle.manifest, artifacts=(*bundle.artifacts, fast))
    milliseconds = {"model.fp32.tflite": 1.0, "model.int8.tflite": 2.0, "model.fp32.onnx": 3.0}

    def tried(_: Bundle, artifact: Artifact, state: EngineState, *__: object) -> Trial:
        return Trial(artifact, state.name, milliseconds[artifact.file])

    monkeypatch.setattr(module, "_tried", tried)
    advice = advice_for(bundle, EngineState("openvino", WORKS, ("onnx", "tflite")))
    assert [trial.artifact.file for trial in advice.trials if not trial.against] == [
        "model.int8.tflite",
        "model.fp32.onnx",
    ]
    (turned_down,) = (trial for trial in advice.trials if trial.against)
    assert turned_down.against == "with this engine and recipe, edgekit run takes model.fp32.onnx"


def test_tensorrt_may_take_minutes_to_build_its_engine() -> None:
    assert _patience("onnxruntime:tensorrt:1", 30.0) >= 600.0
    assert _patience("onnxruntime:cuda", 30.0) == 30.0
    assert _patience("onnxruntime:tensorrt", 7200.0) == 7200.0
