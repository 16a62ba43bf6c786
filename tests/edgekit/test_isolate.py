"""Engines in a child process: same answers, and a crash that kills only the child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.engine import open_engine
from edgekit.errors import DataRefused, MissingExtra, ModelRefused
from edgekit.isolate import ChildFailure, EngineProcess

RANDOM = np.random.default_rng(5)
RESHAPE_SHAPE_AT = 25548
"""Where kws_ref_model.tflite names the shape of a reshape; -1 there means "left out", and the runtime follows it."""
RESHAPE_SHAPE = (2).to_bytes(4, "little")


@pytest.fixture(scope="session")
def models(realpack: Path) -> Path:
    return realpack / "models" / "ref"


@pytest.fixture
def child(models: Path) -> Iterator[EngineProcess]:
    with EngineProcess(models / "kws_ref_model.tflite", threads=1) as process:
        yield process


@pytest.fixture
def keyword() -> dict[str, np.ndarray]:
    return {"input_1": RANDOM.normal(0, 20, (1, 49, 10, 1)).astype(np.float32)}


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_answers_are_those_of_the_engine(models: Path, child: EngineProcess, keyword: dict[str, np.ndarray]) -> None:
    with open_engine(models / "kws_ref_model.tflite", threads=1) as engine:
        assert (child.name, child.version) == (engine.name, engine.version)
        assert (child.inputs, child.outputs) == (engine.inputs, engine.outputs)
        np.testing.assert_array_equal(child.run(keyword)["Identity"], engine.run(keyword)["Identity"])


def test_large_arrays_and_onnx(models: Path) -> None:
    feeds = {"input.1": RANDOM.random((1, 3, 352, 352), np.float32)}
    with EngineProcess(models / "FastestDet.onnx") as child, open_engine(models / "FastestDet.onnx") as engine:
        np.testing.assert_array_equal(child.run(feeds)["758"], engine.run(feeds)["758"])


def test_times_and_memory_are_those_of_the_child(child: EngineProcess, keyword: dict[str, np.ndarray]) -> None:
    ballast = np.ones(60_000_000)  # 480 MB in the parent, which must not count
    start = time.perf_counter()
    times = child.latency(keyword, 7)
    whole = time.perf_counter() - start
    assert len(times) == 7
    assert 0 < sum(times) < whole
    child.run(keyword)
    assert child.seconds is not None
    assert 0 < child.seconds < 1
    assert child.peak_rss is not None
    assert 10_000_000 < child.peak_rss < 300_000_000
    assert ballast.size


def test_a_model_that_crashes_its_runtime_kills_only_the_child(models: Path, tmp_path: Path) -> None:
    data = bytearray((models / "kws_ref_model.tflite").read_bytes())
    assert data[RESHAPE_SHAPE_AT : RESHAPE_SHAPE_AT + 4] == RESHAPE_SHAPE
    data[RESHAPE_SHAPE_AT : RESHAPE_SHAPE_AT + 4] = b"\xff" * 4
    path = tmp_path / "hostile.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match=r"hostile\.tflite crashed the runtime \(SIGSEGV\)"):
        EngineProcess(path)


def test_a_crash_in_the_middle_of_a_run_kills_only_the_child(
    child: EngineProcess, keyword: dict[str, np.ndarray]
) -> None:
    threading.Timer(0.2, os.kill, (child.pid, signal.SIGSEGV)).start()
    with pytest.raises(ModelRefused, match=r"crashed the runtime \(SIGSEGV\)") as caught:
        child.latency(keyword, 10_000_000)
    assert isinstance(caught.value.__cause__, ChildFailure)
    with pytest.raises(ModelRefused, match="SIGSEGV"):
        child.run(keyword)


def test_a_child_killed_for_memory_is_told_apart(child: EngineProcess, keyword: dict[str, np.ndarray]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ModelRefused, match=r"was killed \(SIGKILL\); expected enough memory"):
        child.run(keyword)


def test_a_run_that_takes_too_long_is_ended(models: Path, keyword: dict[str, np.ndarray]) -> None:
    with EngineProcess(models / "kws_ref_model.tflite", timeout=3) as child:
        child.timeout = 0.2
        with pytest.raises(ModelRefused, match=r"gave no answer within 0\.2 s"):
            child.latency(keyword, 10_000_000)
        assert not alive(child.pid)


@pytest.mark.parametrize("cut", [0, 1000])
def test_refusals_arrive_as_they_were_raised(models: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((models / "kws_ref_model.tflite").read_bytes()[:cut])
    with pytest.raises(ModelRefused) as here:
        open_engine(path)
    with pytest.raises(ModelRefused) as there:
        EngineProcess(path)
    assert str(there.value) == str(here.value)


def test_a_missing_library_arrives_as_a_missing_extra(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"edgekit-ai\[onnxruntime\]"):
        EngineProcess(models / "FastestDet.onnx")


def test_wrong_feeds_are_refused_and_the_child_goes_on(child: EngineProcess, keyword: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataRefused, match="has shape"):
        child.run({"input_1": np.zeros((1, 2, 3, 4), np.float32)})
    with pytest.raises(DataRefused, match="no array for input"):
        child.latency({}, 1)
    assert child.run(keyword)["Identity"].shape == (1, 12)


def test_modules_in_the_current_folder_are_not_imported(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.chdir(tmp_path)
    EngineProcess(models / "kws_ref_model.tflite").close()


def test_no_child_outlives_its_end(models: Path) -> None:
    with EngineProcess(models / "kws_ref_model.tflite") as child:
        assert alive(child.pid)
    assert not alive(child.pid)
    with pytest.raises(RuntimeError, match="closed"):
        child.run({"input_1": np.zeros((1, 49, 10, 1), np.float32)})


def test_no_child_outlives_a_parent_that_is_killed(models: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\nfrom edgekit.isolate import EngineProcess\n"
        "child = EngineProcess(Path(sys.argv[1]))\nprint(child.pid, flush=True)\n"
        "child.latency({'input_1': np.zeros((1, 49, 10, 1), np.float32)}, 10_000_000)\n"
    )
    command = [sys.executable, "-c", script, str(models / "kws_ref_model.tflite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert eventually(lambda: not alive(pid))


def test_the_childs_notices_go_where_ours_do(child: EngineProcess) -> None:
    """Its standard error is collected; what takes minutes there is told at once all the same."""
    environment = dict(
        entry.partition("=")[::2] for entry in Path(f"/proc/{child.pid}/environ").read_text().split("\0") if entry
    )
    number = environment["EDGEKIT_NOTICES"].partition(":")[0]
    ours, theirs, collected = os.fstat(2), *(os.stat(f"/proc/{child.pid}/fd/{each}") for each in (number, "2"))
    assert (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    assert (collected.st_dev, collected.st_ino) != (ours.st_dev, ours.st_ino)
