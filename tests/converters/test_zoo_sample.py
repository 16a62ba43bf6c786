"""A sample of the conversion zoo: the whole of it runs for an hour, `python -m tests.benchmarks.zoo.run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ("MobileNetV2", "fnet")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("transformers")
    out = tmp_path_factory.mktemp("zoo") / "results.jsonl"
    command = [sys.executable, "-m", "tests.benchmarks.zoo.run", "--out", str(out), "--only", ",".join(SAMPLE)]
    subprocess.run([*command, "--recipes", "fp32,dynamic-int8,int8"], cwd=ROOT, check=True, env=os.environ)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.slow
def test_a_sample_of_the_zoo_is_converted_to_both_formats_as_the_original(results: list[dict[str, Any]]) -> None:
    floats = [row for row in results if row["recipe"] == "fp32"]
    assert len(floats) == 2 * len(SAMPLE)
    assert [row["cause"] for row in floats if row["status"] != "pass"] == []
    assert max(row["relative_l2"] for row in floats) <= 1e-4


@pytest.mark.slow
def test_a_sample_of_the_zoo_is_quantized_and_runs(results: list[dict[str, Any]]) -> None:
    quantized = [row for row in results if row["recipe"] != "fp32"]
    assert len(quantized) == 4 * len(SAMPLE)
    assert [row["cause"] for row in quantized if row["status"] != "pass"] == []
    assert all(0 < row["relative_l2"] < 1 for row in quantized)
