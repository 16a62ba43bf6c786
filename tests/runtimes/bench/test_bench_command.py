"""`edgekit bench` as a user runs it: real models, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from tests.conftest import CommandRunner
from tests.runtimes.bench.conftest import TreeMaker

SHORT = ("--seconds", "0.05", "--runs", "5", "--warmup", "3", "--threads", "1")
THROTTLED = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"

Bench = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run the command in this process; measuring goes to child processes all the same."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["bench", *map(str, words)])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_in_a_shell(edgekit_command: CommandRunner, person_bundle: Bundle) -> None:
    done = edgekit_command("bench", person_bundle.path, *SHORT)
    assert done.returncode == 0
    heading, row, *rest = done.stdout.splitlines()
    assert heading.split()[:3] == ["artifact", "engine", "threads"]
    assert row.split()[:4] == ["model.fp32.tflite", "litert", version("ai-edge-litert"), "1"]
    assert row.rstrip().endswith("valid")
    assert rest[-1].startswith("machine: ")


def measured(bench: Bench, *words: str | Path) -> list[dict[str, Any]]:
    code, out, _ = bench(*words, "--json", "-")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)["measurements"]
    return found


def test_what_is_measured_hangs_together(bench: Bench, person_bundle: Bundle) -> None:
    rows = measured(bench, person_bundle.path, *SHORT, "--all")
    assert [(row["artifact"], row["recipe"]) for row in rows] == [
        ("model.fp32.tflite", "fp32"),
        ("model.int8.tflite", "int8"),
    ]
    for row in rows:
        latency, memory = row["latency_ms"], row["memory_bytes"]
        assert row["inputs"] == "a golden sample"
        assert 0 < latency["minimum"] <= latency["p50"] <= latency["p90"] <= latency["p99"]
        assert latency["minimum"] <= latency["mean"]
        assert latency["count"] >= 5
        assert latency["count"] * latency["mean"] > 25  # of the 50 ms asked for, the calls themselves
        assert row["per_second"] == pytest.approx(1000 / latency["mean"])
        # Opening again spares the import of the library; the first run lays memory out.
        assert row["load_ms"] > row["load_again_ms"] > 0
        assert memory["before"] + memory["added_by_loading"] == memory["loaded"] <= memory["peak"]
        assert memory["added_by_loading"] > 1_000_000
        assert row["machine"]["after"]["busy_seconds"] > row["machine"]["before"]["busy_seconds"]


def test_memory_is_that_of_the_artifact_alone(bench: Bench, models: Path) -> None:
    """Neither this process nor an artifact that was measured before shows in the peak."""
    ballast = b"x" * 300_000_000
    (row,) = measured(bench, models / "ad01_int8.tflite", *SHORT)
    assert len(ballast) > row["memory_bytes"]["peak"]


def test_bare_files_run_on_random_numbers_with_a_row_for_each_number_of_threads(bench: Bench, models: Path) -> None:
    rows = measured(bench, models / "FastestDet.onnx", *SHORT, "--threads", "1,2")
    assert [(row["engine"], row["threads"], row["inputs"]) for row in rows] == [
        ("onnxruntime", 1, "random numbers"),
        ("onnxruntime", 2, "random numbers"),
    ]


def test_engine_and_recipe_choose(bench: Bench, person_bundle: Bundle, detector_bundle: Bundle) -> None:
    (row,) = measured(bench, person_bundle.path, *SHORT, "--recipe", "int8")
    assert row["artifact"] == "model.int8.tflite"
    (row,) = measured(bench, detector_bundle.path, *SHORT, "--engine", "onnxruntime")
    assert row["artifact"] == "model.fp32.onnx"


def test_end_to_end_with_a_photo(bench: Bench, person_bundle: Bundle, photos: list[Path]) -> None:
    code, out, _ = bench(person_bundle.path, photos[0], *SHORT)
    assert code == 0
    assert f"from {photos[0]} to a result, medians:" in out
    assert "encode ms" in out
    (row,) = measured(bench, person_bundle.path, photos[0], *SHORT)
    means = {part: latency["mean"] for part, latency in row["end_to_end_ms"].items()}
    assert means["whole"] == pytest.approx(means["encode"] + means["inference"] + means["decode"], rel=0.01)
    assert means["encode"] > means["decode"]  # a JPEG is decoded and resized


def test_operators_are_shown_for_both_engines(bench: Bench, models: Path) -> None:
    code, out, _ = bench(models / "vww_96_int8.tflite", *SHORT, "--operators")
    assert code == 0
    assert "operators by LiteRT 2." in out
    assert any(line.startswith("Convolution (NHWC, QC8) DWConv ") for line in out.splitlines())
    code, out, _ = bench(models / "FastestDet.onnx", *SHORT, "--operators")
    assert code == 0
    assert "operators by ONNX Runtime 1." in out


def test_a_comparison_names_the_faster_one(bench: Bench, models: Path) -> None:
    big, small = models / "mobilenet_v2_1.0_224_quant.tflite", models / "vww_96_int8.tflite"
    code, out, _ = bench(big, "--compare", small, *SHORT)
    assert code == 0
    first, second, verdict = out.splitlines()
    assert first.startswith(f"A: {big}")
    assert second.startswith(f"B: {small}")
    assert verdict.startswith("A/B: ")
    assert verdict.endswith("threads 1: B is faster")


def test_two_recipes_of_a_bundle_are_compared(bench: Bench, person_bundle: Bundle) -> None:
    code, out, _ = bench(person_bundle.path, "--compare", "int8", *SHORT, "--json", "-")
    (found,) = json.loads(out)["comparisons"]
    assert code == 0
    assert (found["a"]["recipe"], found["b"]["recipe"]) == ("fp32", "int8")
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["pairs"] >= 10


def test_a_throttled_machine_makes_the_run_invalid(bench: Bench, models: Path, tree: TreeMaker, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    throttled = tree({THROTTLED: "50005\n"})
    code, out, err = bench(models / "ad01_int8.tflite", *SHORT, "--root", throttled, "--json", report)
    assert code == 4
    assert out.splitlines()[1].rstrip().endswith("INVALID")
    assert "clock 1500 to 2400 MHz; governor ondemand; cpu-thermal 61 °C before" in out
    assert "get_throttled 0x50005" in out
    assert "the machine was throttled, the times are invalid: ad01_int8.tflite: under-voltage (get_throttled" in err
    (row,) = json.loads(report.read_text(encoding="utf-8"))["measurements"]
    assert row["valid"] is False
    assert row["invalid"] == ["under-voltage (get_throttled bit 0)", "throttled (get_throttled bit 2)"]


def test_a_cool_machine_with_a_slow_governor_is_valid_with_a_warning(
    bench: Bench, models: Path, tree: TreeMaker
) -> None:
    code, _, err = bench(models / "ad01_int8.tflite", *SHORT, "--root", tree())
    assert code == 0
    assert "warning: the CPU frequency governor is ondemand" in err


def test_a_comparison_on_a_throttled_machine_is_invalid(bench: Bench, models: Path, tree: TreeMaker) -> None:
    model = models / "ad01_int8.tflite"
    code, out, err = bench(model, "--compare", model, *SHORT, "--root", tree({THROTTLED: "4\n"}))
    assert code == 4
    assert out.rstrip().endswith("INVALID")
    assert "ad01_int8.tflite and ad01_int8.tflite: throttled" in err


def test_a_plot_is_a_picture(bench: Bench, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    assert bench(models / "ad01_int8.tflite", *SHORT, "--plot", path)[0] == 0
    from edgekit.images import read_image

    picture = read_image(path)
    assert picture.shape[1:] == (1210, 3)
    assert picture.std() > 5


def test_a_plot_without_matplotlib_names_the_extra(
    bench: Bench, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = bench(models / "ad01_int8.tflite", *SHORT, "--plot", tmp_path / "plot.png")
    assert (code, out) == (5, "")
    assert "pip install 'edgekit-ai[plot]'" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing.tflite"], 3, "nothing.tflite does not exist; expected a bundle, or a .tflite or .onnx file"),
        (["nothing"], 3, "nothing does not exist"),
        (["{model}", "--threads", "0"], 2, "--threads 0; expected a number from 1"),
        (["{model}", "--threads", "1,x"], 2, "--threads 1,x; expected a number from 1"),
        (["{model}", "--seconds", "-1"], 2, "Invalid value for '--seconds'"),
        (["{model}", "--recipe", "int8"], 2, "--recipe int8 for the bare file"),
        (["{model}", "photo.jpg"], 2, "INPUT photo.jpg for the bare file"),
        (["{model}", "--engine", "onnxruntime"], 3, "cannot run on onnxruntime"),
        (["{model}", "--engine", "abacus"], 5, "no engine named 'abacus'"),
        (["{model}", "--plot", "plot.jpg"], 2, "expected a file name that ends in .png"),
        (["{model}", "--compare", "{model}", "--operators"], 2, "--operators together with --compare"),
        (["{model}", "--compare", "nothing.onnx"], 3, "nothing.onnx does not exist"),
        (["{bundle}", "--recipe", "fp16"], 2, "has no recipe 'fp16'; expected fp32, int8"),
        (["{bundle}", "nothing.jpg"], 3, "nothing.jpg"),
        (["{model}", "--json", "{model}/x.json"], 5, "cannot write"),
    ],
)
def test_faults(  # noqa: PLR0917  # half of them are the parameters
    bench: Bench, person_bundle: Bundle, models: Path, words: list[str], code: int, said: str
) -> None:
    names = {"model": models / "ad01_int8.tflite", "bundle": person_bundle.path}
    found, _, err = bench(*SHORT[:6], *(word.format(**names) for word in words))
    assert found == code
    assert said in err
    assert "Traceback" not in err


def test_a_damaged_artifact_is_refused_before_it_is_opened(bench: Bench, own_person_bundle: Path) -> None:
    data = bytearray((own_person_bundle / "model.fp32.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    (own_person_bundle / "model.fp32.tflite").write_bytes(data)
    code, out, err = bench(own_person_bundle, *SHORT)
    assert (code, out) == (3, "")
    assert "model.fp32.tflite is damaged: SHA-256" in err


def test_a_file_that_is_no_model_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "noise.tflite").write_bytes(b"no model" * 100)
    code, out, err = bench(tmp_path / "noise.tflite", *SHORT)
    assert (code, out) == (3, "")
    assert "LiteRT cannot load" in err


def test_an_old_report_survives_a_run_that_fails(bench: Bench, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("old", encoding="utf-8")
    assert bench(tmp_path / "nothing.tflite", *SHORT, "--json", report)[0] == 3
    assert report.read_text(encoding="utf-8") == "old"


def test_missing_engines_are_listed_and_the_rest_is_measured(
    bench: Bench, person_bundle: Bundle, detector_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(":")]))
    code, out, err = bench(detector_bundle.path, *SHORT, "--all")
    assert (code, out) == (5, "")
    assert "pip install 'edgekit-ai[onnxruntime]'" in err
    assert bench(person_bundle.path, *SHORT)[0] == 0


def _children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_a_killed_measuring_process_is_an_error_of_the_model(bench: Bench, models: Path) -> None:
    others, ended = _children(), threading.Event()

    def kill() -> None:
        while not ended.is_set():
            for pid in _children() - others:
                os.kill(pid, signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        code, out, err = bench(models / "ad01_int8.tflite", "--seconds", "60")
    finally:
        ended.set()
        killer.join()
    assert (code, out) == (3, "")
    assert "ad01_int8.tflite was killed (SIGKILL); expected enough memory for the model" in err


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _has_open(pid: str, model: str) -> bool:
    """Whether a process has a model's file in its memory: it is being measured."""
    try:
        return model in Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_ends_the_measuring_process_too(models: Path, number: signal.Signals) -> None:
    script = "from edgekit.cli import main; main(['bench', *__import__('sys').argv[1:]])"
    command = [sys.executable, "-c", script, str(models / "ad01_int8.tflite"), "--seconds", "600"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (found := children.read_text().split()) or not _has_open(found[0], "ad01_int8.tflite"):
        assert parent.poll() is None
    parent.send_signal(number)
    out, err = parent.communicate(timeout=20)
    if number == signal.SIGINT:
        assert (parent.returncode, out, err.strip()) == (130, "", "interrupted; nothing was published")
    deadline = time.monotonic() + 20
    while _runs(found[0]):
        assert time.monotonic() < deadline


def test_no_framework_is_imported(models: Path) -> None:
    script = (
        "import sys\nfrom edgekit.cli import main\n"
        "for name in ('tensorflow', 'torch', 'keras', 'jax', 'onnx'): sys.modules[name] = None\n"
        "main(['bench', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", script, str(models / "ad01_int8.tflite"), *SHORT, "--operators"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
