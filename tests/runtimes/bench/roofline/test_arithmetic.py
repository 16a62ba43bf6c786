"""The artifacts that peaks are measured with, and the rates that come of them."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.inspection import inspect_artifact
from edgekit_runtimes.bench.roofline.arithmetic import measure_arithmetic
from edgekit_runtimes.bench.roofline.peak_models import MACS, peak_model

FORMS = [(form, dtype) for form in ("tflite", "onnx") for dtype in MACS]


@pytest.mark.parametrize(("form", "dtype"), FORMS)
def test_they_multiply_as_often_as_they_say(tmp_path: Path, form: str, dtype: str) -> None:
    path = tmp_path / f"peak.{form}"
    path.write_bytes(peak_model(form, dtype))
    found = inspect_artifact(path).resources
    assert found is not None
    assert found.macs == MACS[dtype]
    assert found.int8_macs == (MACS[dtype] if dtype == "int8" else 0)
    assert found.weight_bytes < 100 << 10  # small enough for any second-level cache
    assert found.macs / found.traffic_bytes > 10  # nothing but arithmetic holds it up


def test_the_script_writes_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[4] / "scripts" / "make_peak_models.py"
    runpy.run_path(str(script), run_name="__main__")
    written: dict[str, Any] = {}
    exec(compile(capsys.readouterr().out, "peak_models.py", "exec"), written)  # noqa: S102  # our own script's
    assert written["MACS"] == MACS
    assert all(written["peak_model"](*form) == peak_model(*form) for form in FORMS)


def test_engines_reach_what_a_matrix_product_of_numpy_reaches() -> None:
    """The peaks of both engines are within a factor of four of OpenBLAS, one thread each."""
    script = (
        "import numpy as np; from timeit import repeat; a = np.ones((192, 192), np.float32); "
        "print(192**3 / min(repeat(lambda: a @ a, number=1, repeat=2000)) / 1e9)"
    )
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=one_thread, capture_output=True, check=True, timeout=60)
    for form, engine in (("tflite", "litert"), ("onnx", "onnxruntime")):
        found = measure_arithmetic(form, engine, 1)
        assert set(found) == {"fp32", "int8"}
        assert 0.25 < found["fp32"] / float(done.stdout) < 4


def test_an_engine_that_refuses_has_no_rate() -> None:
    assert measure_arithmetic("onnx", "litert", 1) == {}
