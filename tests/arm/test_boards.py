"""The runtime on a Raspberry Pi's processor, with its real wheels: it starts, and answers as this machine does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle
from edgekit.errors import UsageError
from edgekit_runtimes.emulated.boards import board_named
from edgekit_runtimes.emulated.root import BoardRoot

pytestmark = pytest.mark.xdist_group("arm")  # one at a time makes the files
SECONDS = 300
MOST_FROM_HERE = 0.02
"""Difference of a relative L2 there from the one here; kernels round otherwise."""

IMPORT_ALL = """
import importlib, json, pkgutil, sys, time
started = time.perf_counter()
import edgekit, edgekit_runtimes
missing = {}
for package in (edgekit, edgekit_runtimes):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing[module.name] = error.name
print(json.dumps({"missing": missing, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""
EXTRAS = {"openvino", "paho", "prometheus_client", "python_multipart", "starlette", "uvicorn", "matplotlib"}
FRAMEWORKS = {"tensorflow", "torch", "keras", "jax", "onnx", "transformers", "litert_torch"}


def said(board: BoardRoot, *words: str) -> str:
    """What the edgekit command prints on the board."""
    done = board.run(["-m", "edgekit.cli", *words], capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def here(*words: str) -> str:
    """What it prints on this machine."""
    words = (sys.executable, "-m", "edgekit.cli", *words)
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def parities(text: str) -> dict[str, float]:
    """Artifact -> relative L2, of what verify prints; all have to pass."""
    verdicts: list[dict[str, Any]] = json.loads(text)
    assert [verdict["verdict"] for verdict in verdicts] == ["pass"] * len(verdicts)
    return {v["artifact"]: max(o["relative_l2"] for o in v["here"]["outputs"]) for v in verdicts}


def test_every_module_of_the_runtime_is_importable(pi5: BoardRoot) -> None:
    done = pi5.run(["-c", IMPORT_ALL], capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["missing"].values()) <= EXTRAS
    assert not FRAMEWORKS & set(found["modules"])
    assert {"ai_edge_litert", "numpy"} & set(found["modules"])


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_bundles_prove_themselves(
    board: BoardRoot, engine: str, person_bundle: Bundle, detector_bundle: Bundle
) -> None:
    bundle = person_bundle if engine == "litert" else detector_bundle
    there = parities(said(board, "verify", str(bundle.path), "--json"))
    near = parities(here("verify", str(bundle.path), "--json"))
    assert there.keys() == near.keys()
    for artifact, error in there.items():
        assert abs(error - near[artifact]) <= MOST_FROM_HERE


def test_photos_are_answered_as_here(board: BoardRoot, person_bundle: Bundle, photos: list[Path]) -> None:
    words = ["run", str(person_bundle.path), *map(str, photos), "--recipe", "int8", "--format", "jsonl"]
    there, near = (
        [json.loads(line)["result"]["labels"] for line in text.splitlines()]
        for text in (said(board, *words), here(*words))
    )
    for one, other in zip(there, near, strict=True):
        assert one[0]["name"] == other[0]["name"]
        assert one[0]["score"] == pytest.approx(other[0]["score"], abs=0.02)


def test_the_doctor_sees_the_boards_processor(board: BoardRoot) -> None:
    text = said(board, "doctor", "--json")
    features = json.dumps(json.loads(text)["cpu"]["features"])
    assert ("asimddp" in features) == (board.board.name == "pi5")


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(UsageError, match="--on emulated:pi9; expected emulated:pi5 or emulated:pi4"):
        board_named("emulated:pi9")
