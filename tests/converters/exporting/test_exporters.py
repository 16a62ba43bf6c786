"""Exporters of other distributions, really installed beside this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.bundle import Bundle

Command = Callable[..., CompletedProcess[str]]
SAMPLE = Path(__file__).parents[3] / "samples" / "exporter_executorch"
PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "someones-exporters"
version = "1.0"
[project.entry-points."edgekit.exporters"]
facts = "someones_exporters:facts"
folder = "someones_exporters:folder"
nothing = "someones_exporters:nothing"
fails = "someones_exporters:fails"
gone = "someones_missing_module:export"
[tool.hatch.build.targets.wheel]
only-include = ["someones_exporters.py"]
"""
MODULE = """\
import json

import numpy as np


def facts(source, path):
    answer = source.run({t.name: np.zeros([n or 1 for n in t.shape], t.dtype) for t in source.inputs})
    path.write_text(json.dumps({"framework": source.framework, "sums": [float(a.sum()) for a in answer.values()]}))
    return "two facts"

def folder(source, path):
    path.mkdir()
    (path / "name.txt").write_text(source.name)
    return "a folder"

def nothing(source, path):
    return "all done"

def fails(source, path):
    path.write_text("half")
    raise KeyError("no such operator")
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of processes that see two more distributions."""
    folder = tmp_path_factory.mktemp("exporters")
    project = folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "someones_exporters.py").write_text(MODULE)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--target", str(folder / "site"), str(project), str(SAMPLE)],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder / "site")]))
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def model(integer_bundle: Bundle) -> Path:
    """A model that opens quickly."""
    return integer_bundle.file(integer_bundle.artifacts[0].file)


def test_an_exporter_gets_the_open_model_and_writes_a_file_or_a_folder(
    env: dict[str, str], model: Path, edgekit_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "facts.json").write_text("old")
    done = edgekit_command("export", model, "--to", "facts", "-o", tmp_path / "facts.json", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {tmp_path / 'facts.json'}: two facts\n"
    found = json.loads((tmp_path / "facts.json").read_text())
    assert found["framework"] == "tflite"
    assert len(found["sums"]) == 1
    for _ in range(2):
        done = edgekit_command("export", model, "--to", "folder", "-o", tmp_path / "out.package", env=env)
        assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out.package").iterdir()] == ["name.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts.json", "out.package"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--to", "fails"], 3, "exporter 'fails' failed on"),
        (["--to", "nothing"], 3, "exporter 'nothing' wrote nothing"),
        (["--to", "gone"], 5, "exporter 'gone' cannot be imported: No module named 'someones_missing_module'"),
        (["--to", "coreml"], 2, "expected c-array or executorch or facts or fails or folder or gone or nothing"),
        (["--to", "facts", "--recipe", "int8"], 2, "--recipe with --to facts"),
        (["--to", "c-array", "--input-shape", "1,3"], 2, "--input-shape with --to c-array"),
    ],
)
def test_what_goes_wrong_leaves_the_old_file(
    *,
    env: dict[str, str],
    model: Path,
    edgekit_command: Command,
    tmp_path: Path,
    words: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "out").write_text("old")
    done = edgekit_command("export", model, *words, "-o", tmp_path / "out", env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out": "old"}


def test_a_bundle_is_no_trained_model(
    env: dict[str, str], integer_bundle: Bundle, edgekit_command: Command, tmp_path: Path
) -> None:
    done = edgekit_command("export", integer_bundle.path, "--to", "facts", "-o", tmp_path / "out", env=env)
    assert done.returncode == 2
    assert "is a bundle; expected a trained model for --to facts" in done.stderr


def test_the_sample_for_executorch_says_what_it_needs(
    env: dict[str, str], model: Path, edgekit_command: Command, tmp_path: Path
) -> None:
    done = edgekit_command("export", model, "--to", "executorch", "-o", tmp_path / "out.pte", env=env)
    assert done.returncode == 5
    assert "exporter 'executorch' cannot be imported: No module named 'executorch'" in done.stderr
    assert "pip install executorch" in done.stderr
