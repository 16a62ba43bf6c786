"""The zoo's smallest members, here and on a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.zoo.work import ROOT
from tests.conftest import TwoNodes


def zoo(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks.zoo.run", "--out", str(out), "--recipes", "fp32", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def small(out: Path, address: str) -> subprocess.CompletedProcess[str]:
    """The same where a task needs more CPUs than a node has."""
    code = "from tests.benchmarks.zoo import run; run.THREADS = 64; run.main()"
    words = [sys.executable, "-c", code, "--out", str(out), "--only", "MobileNet", "--ray", address]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["model"], row["format"]): row for row in map(json.loads, out.read_text().splitlines())}


@pytest.mark.slow
def test_a_cluster_appends_what_is_missing_and_nothing_twice(two_nodes: TwoNodes, tmp_path: Path) -> None:
    out = tmp_path / "zoo.jsonl"
    known = {"model": "MobileNet", "format": "tflite", "recipe": "fp32", "status": "pass", "relative_l2": 1e-6}
    out.write_text(json.dumps(known) + "\n")
    # One second: the child ends at its limit, whatever it has begun, and the node says so.
    done = zoo(out, "--only", "MobileNet", "--timeout", "1", "--ray", two_nodes.address)
    assert done.returncode == 0, done.stderr
    found = rows(out)
    assert found["MobileNet", "tflite"] == known
    assert found["MobileNet", "onnx"]["status"] == "crashed"
    assert found["MobileNet", "onnx"]["cause"] == "timeout after 1 s"
    before = out.read_bytes()
    assert zoo(out, "--only", "MobileNet", "--ray", "127.0.0.1:1").returncode == 0  # nothing to do: nobody is asked
    assert out.read_bytes() == before
    lost = zoo(out, "--only", "MobileNet", "--again", "--ray", "127.0.0.1:1")
    assert lost.returncode == 1
    assert lost.stderr.startswith("error: no Ray cluster at 127.0.0.1:1")


def test_nodes_that_are_too_small_are_named_and_not_waited_for(two_nodes: TwoNodes, tmp_path: Path) -> None:
    done = small(tmp_path / "zoo.jsonl", two_nodes.address)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no node of the Ray cluster has 64 CPUs"), done.stderr
