"""`edgekit doctor` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit_runtimes.doctor import report as reports
from edgekit_runtimes.doctor import software
from edgekit_runtimes.doctor.engines import NOT_INSTALLED, WORKS, EngineState
from edgekit_runtimes.doctor.host import Host
from edgekit_runtimes.doctor.page import lines_of
from edgekit_runtimes.doctor.report import examine
from edgekit_runtimes.doctor.software import Software, import_fault, read_software, software_problems
from tests.runtimes.doctor.trees import JETSON_ORIN, PI_4, PI_COMMANDS, host_of

Capture = pytest.CaptureFixture[str]
GOOD = EngineState("litert", WORKS, ("tflite",), "2.3.0", 0.4)
ABSENT = EngineState("onnxruntime", NOT_INSTALLED, reason="not here", remedy="pip install 'edgekit-ai[onnxruntime]'")


def doctor(capsys: Capture, *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", *map(str, words)])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the engines fare as told, without trying them; OpenCV is not imported again either."""

    def fare(*states: EngineState) -> None:
        def tried(_: float) -> Iterator[EngineState]:
            yield from states

        monkeypatch.setattr(reports, "try_engines", tried)
        monkeypatch.setattr(software, "import_fault", lambda _: None)

    return fare


def test_a_whole_machine_in_a_shell(person_bundle: Bundle) -> None:
    command = [sys.executable, "-m", "edgekit.cli", "doctor", str(person_bundle.path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][:5] == [
        "Machine", "Packages", "Cameras", "Engines", "Bundle",
    ]  # fmt: skip
    assert any(line.startswith("  litert ") and "works: 2." in line for line in lines)
    assert any(line.startswith("  onnxruntime:cpu ") and "works: 1." in line for line in lines)
    # Which engine is the fastest depends on the machine, and on the plug-ins that are installed.
    assert any(line.strip().startswith(f"edgekit run {person_bundle.path} --engine ") for line in lines)


def test_json_for_programs(capsys: Capture, engines: Callable[..., None], person_bundle: Bundle) -> None:
    engines(GOOD, ABSENT)
    code, out, err = doctor(capsys, person_bundle.path, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(found) == {
        "board", "cpu", "memory", "heat", "cameras", "software", "engines", "advice", "problems",
    }  # fmt: skip
    assert [(engine["name"], engine["state"]) for engine in found["engines"]] == [
        ("litert", "works"),
        ("onnxruntime", "not installed"),
    ]
    assert found["advice"]["run"]["engine"] == "litert"
    assert {trial["verdict"] for trial in found["advice"]["trials"]} == {"suits"}
    assert found["software"]["versions"]["numpy"]


def test_without_an_engine_the_code_is_5(capsys: Capture, engines: Callable[..., None]) -> None:
    engines(ABSENT)
    code, out, err = doctor(capsys)
    assert code == 5
    assert err.startswith("error: no engine runs on this machine\n  remedy: pip install 'edgekit-ai[litert]'")
    assert "  blocking: no engine runs on this machine" in out.splitlines()
    assert "    mend:  pip install 'edgekit-ai[litert]' (or 'edgekit-ai[onnxruntime]')" in out.splitlines()


def test_a_bundle_that_no_engine_runs_is_5_also_where_another_engine_works(
    capsys: Capture, engines: Callable[..., None], detector_bundle: Bundle
) -> None:
    engines(GOOD, ABSENT)
    code, out, _ = doctor(capsys, detector_bundle.path)
    assert code == 5
    assert "no engine that works here runs .onnx files" in out


def test_warnings_alone_keep_0(
    capsys: Capture, engines: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engines(GOOD)
    pi = host_of(tmp_path, PI_4, commands=PI_COMMANDS)
    monkeypatch.setattr("edgekit_runtimes.doctor.host.Host", lambda: pi)
    code, out, _ = doctor(capsys)
    assert code == 0
    assert "  board          Raspberry Pi 4 Model B Rev 1.5" in out.splitlines()
    assert "  throttling     now under-voltage, throttled; since the start under-voltage, throttled" in out.splitlines()
    assert "  warning: the supply voltage is too low" in out.splitlines()


@pytest.mark.parametrize("name", ["manifest.json", "model.int8.tflite"])
def test_a_damaged_bundle_is_3(capsys: Capture, own_person_bundle: Path, name: str) -> None:
    data = bytearray((own_person_bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own_person_bundle / name).write_bytes(data)
    code, out, err = doctor(capsys, own_person_bundle)
    assert (code, out) == (3, "")
    assert f"{name} is damaged: SHA-256 " in err


def test_the_codes_are_in_the_help(capsys: Capture) -> None:
    code, out, _ = doctor(capsys, "--help")
    assert code == 0
    assert all(f"{number} when" in " ".join(out.split()) for number in (0, 3, 5))


def test_the_worst_comes_first(engines: Callable[..., None], tmp_path: Path) -> None:
    engines(ABSENT)
    found = examine(host_of(tmp_path, JETSON_ORIN, cores=6), timeout=1.0)
    assert [problem.severity for problem in found.problems] == ["blocking", "hint"]
    text = "\n".join(lines_of(found))
    assert text.index("blocking:") < text.index("hint:")
    assert "  Jetson Linux   L4T 36.4.3" in text


def test_progress_names_what_is_tried(engines: Callable[..., None]) -> None:
    engines(GOOD, ABSENT)
    told: list[str] = []
    examine(Host(), timeout=1.0, progress=told.append)
    assert [line for line in told if line.startswith("tried")] == ["tried litert", "tried onnxruntime"]


def test_versions_are_those_installed() -> None:
    from importlib.metadata import version

    found = read_software(lambda _: None)
    assert found.versions["numpy"] == version("numpy")
    assert found.versions["ai-edge-litert"] == version("ai-edge-litert")
    assert "click" not in found.versions
    assert software_problems(found) == []


@pytest.mark.parametrize(
    ("names", "mend"),
    [
        (
            ("opencv-python", "opencv-python-headless"),
            "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
        ),
        (
            ("onnxruntime", "onnxruntime-gpu"),
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ),
    ],
)
def test_packages_that_overwrite_each_other_are_told(names: tuple[str, ...], mend: str) -> None:
    (problem,) = software_problems(Software(dict.fromkeys(names, "1.0"), None))
    assert (problem.severity, problem.mend) == ("warning", mend)
    assert "both installed" in problem.what


def test_an_opencv_that_cannot_be_imported_keeps_pictures_from_running() -> None:
    fault = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    (problem,) = software_problems(Software({"opencv-python": "5.0"}, fault))
    assert problem.severity == "blocking"
    assert "libGL.so.1" in problem.what
    assert "pip uninstall -y opencv-python " in problem.mend


def test_modules_are_imported_in_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    (tmp_path / "crashing_module.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_fault("json") is None
    assert import_fault("broken_module") == "ImportError: libGL.so.1: cannot open shared object file"
    assert import_fault("crashing_module") == "its import crashed (SIGSEGV)"
