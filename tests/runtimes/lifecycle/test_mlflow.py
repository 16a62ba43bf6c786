"""Bundles in MLflow: a real store on disk, written by one process and read by another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle, bundle_sha256
from edgekit_runtimes.lifecycle.tracking import _refusal
from edgekit_runtimes.predictor import load
from tests.conftest import CommandRunner
from tests.runtimes.lifecycle.conftest import contents, renamed

CHILD = Path(__file__).with_name("mlflow_child.py")
Environment = dict[str, str]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Of processes that use a store of these tests alone."""
    folder = tmp_path_factory.mktemp("mlflow")
    # mlflow-skinny has no database; MLflow 3 asks for a yes before it uses files.
    own = {"MLFLOW_TRACKING_URI": (folder / "runs").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    return {**os.environ, **own, "MLFLOW_DISABLE_TELEMETRY": "true"}


def child(env: Environment, *words: str | Path) -> dict[str, Any]:
    command = [sys.executable, str(CHILD), *map(str, words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def logged(
    env: Environment, person_bundle: Bundle, detector_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What was logged."""
    folder = tmp_path_factory.mktemp("logged")
    found = child(env, "log", folder, person_bundle.path, detector_bundle.path)
    return {**found, "saved": str(folder / "saved"), "detector_bundle": str(detector_bundle.path)}


@pytest.fixture(scope="module")
def loaded(env: Environment, logged: dict[str, Any], photos: list[Path]) -> dict[str, Any]:
    """What another process predicts with it."""
    return child(env, "load", json.dumps(logged), *photos[:2])


def test_the_flavour_names_the_bundle_and_the_thin_runtime(logged: dict[str, Any], person_bundle: Bundle) -> None:
    flavor = logged["flavors"]["edgekit"]
    assert flavor["bundle_sha256"] == bundle_sha256(person_bundle.path)
    assert flavor["task"] == "image-classification"
    assert logged["flavors"]["python_function"]["loader_module"] == "edgekit_runtimes.mlflow"
    names = [line.partition("==")[0] for line in logged["requirements"]]
    assert names == ["edgekit-ai[litert,mlflow]", "mlflow-skinny", "pillow"]


def test_parity_and_sizes_are_metrics_and_the_spec_is_tags(logged: dict[str, Any], person_bundle: Bundle) -> None:
    for artifact in person_bundle.artifacts:
        which = f"{artifact.recipe}.tflite"
        assert artifact.parity.agreement is not None
        assert logged["metrics"][f"agreement.{which}"] == artifact.parity.agreement.value
        assert logged["metrics"][f"relative_l2.{which}"] == artifact.parity.worst.relative_l2
        assert logged["metrics"][f"size_bytes.{which}"] == artifact.bytes
        assert logged["metrics"][f"latency_ms.{which}"] == artifact.latency_ms
    # The last bundle of a run is what its tags describe.
    assert logged["tags"]["edgekit.task"] == "tensors"
    assert logged["tags"]["edgekit.inputs"] == "photo float32[1,3,352,352]"


def test_the_signature_is_that_of_the_spec(logged: dict[str, Any]) -> None:
    assert json.loads(logged["signature"]["inputs"]) == [{"type": "any", "required": True}]
    (labels,) = json.loads(logged["signature"]["outputs"])
    assert labels["name"] == "labels"
    assert set(labels["items"]["properties"]) == {"index", "name", "score"}
    (photo,) = json.loads(logged["array_signature"]["inputs"])
    assert photo == {
        "name": "photo",
        "type": "tensor",
        "tensor-spec": {"dtype": "float32", "shape": [1, 3, 352, 352]},
    }
    questions, rows = logged["signatures"]
    assert [(column["name"], column["type"]) for column in questions] == [("question", "string"), ("context", "string")]
    assert [(column["name"], column["type"], column["required"]) for column in rows] == [
        ("age", "any", True),
        ("town", "string", False),
    ]


def test_every_form_of_an_input_gives_the_answer_of_the_bundle(
    loaded: dict[str, Any], person_bundle: Bundle, photos: list[Path]
) -> None:
    with load(person_bundle.path, recipe="int8") as predictor:
        expected = [json.loads(json.dumps(predictor.predict(photo).to_dict())) for photo in photos[:2]]
    assert loaded["alone"] == expected
    assert loaded["table"] == expected
    assert loaded["index"] == [5, 9]
    assert loaded["served"] == expected
    first, both = expected[:1], [expected[0]] * 2
    assert loaded["forms"] == {
        "list": expected, "series": expected, "path": first, "bytes": first, "url": first, "pixels": first,
        "nested": first, "bare array": first, "bare arrays": both, "a batch": first,
    }  # fmt: skip


def test_arrays_go_in_and_out_as_they_are(loaded: dict[str, Any]) -> None:
    assert loaded["outputs"] == {"cells": True}
    assert loaded["example"] == {"photo": [1, 3, 352, 352]}


def test_no_framework_is_loaded_and_a_bad_input_is_named(loaded: dict[str, Any]) -> None:
    assert loaded["frameworks"] == []
    assert "nothing.jpg" in loaded["refused"]


def test_the_commands_log_a_bundle_and_fetch_it(
    env: Environment, person_bundle: Bundle, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    sent = edgekit_command("push", person_bundle.path, "models:/pushed", env=env)
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout == "models:/pushed/1\n"
    done = edgekit_command("pull", "models:/pushed/1", "-o", tmp_path / "pulled", env=env)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


COMMANDS = """
import contextlib, io, json, sys
from pathlib import Path
from edgekit.cli import main
store = Path(sys.argv[1])
answers = []
for words in json.loads(sys.argv[2]):
    if words[0] == "change":
        (path,) = store.glob("0/models/*/artifacts/" + words[1])
        path.write_bytes(path.read_bytes().replace(words[2].encode(), words[3].encode()))
        continue
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main(words)
        except SystemExit as left:
            answers.append([left.code, said.getvalue()])
# Not the client: that one is gone as soon as it cannot reach MLflow's makers.
from mlflow.telemetry.utils import is_telemetry_disabled
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT as no_links
print(json.dumps({"answers": answers, "telemetry": not is_telemetry_disabled(), "links": not no_links.get()}))
"""


def commands(env: Environment, store: Path, *lines: list[str]) -> dict[str, Any]:
    """Run several commands in one process; ``change FILE OLD NEW`` changes a file of the one model in the store."""
    own = {**env, "MLFLOW_TRACKING_URI": store.as_uri(), "HTTPS_PROXY": "http://127.0.0.1:9"}
    # What MLflow takes for a test or for continuous integration; it would be silent there anyway.
    for name in ("CI", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY"):
        own.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(store), json.dumps(lines)],
        check=False, capture_output=True, text=True, timeout=300, env=own,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_an_old_bundle_stays_whatever_is_asked_for(
    env: Environment, own_person_bundle: Path, person_bundle: Bundle, tmp_path: Path
) -> None:
    renamed(own_person_bundle, "older")
    before, push, to = contents(own_person_bundle), ["push", str(person_bundle.path)], ["-o", str(own_person_bundle)]
    known, run = ["pull", "models:/person/1", *to], "0123456789abcdef0123456789abcdef"
    found = commands(
        env,
        tmp_path / "store",
        [*push, "models:/person"],
        ["pull", "models:/person/7", *to],
        ["pull", f"mlflow:{run}", *to],
        ["pull", "mlflow:../../etc", *to],
        ["pull", "models:/person", *to],
        [*push, "models:/person/7"],
        [*push, f"mlflow:{run}"],
        ["change", "bundle/model.int8.tflite", "TFL3", "TFL4"],
        known,
        ["change", "bundle/SHA256SUMS", "golden.npz", "golden.npy"],
        known,
        ["change", "MLmodel", "  edgekit:", "  sklearn:"],
        known,
    )
    expected = [
        (0, "sent 5 files, 1.34 MB"),
        (3, "models:/person/7 is not there"),
        (3, "is not there: Run"),
        (2, "expected mlflow:RUN[/MODEL], models:/NAME/VERSION"),
        (2, "expected mlflow:RUN[/MODEL], models:/NAME/VERSION"),
        (2, "MLflow counts versions itself"),
        (3, f"mlflow:{run} is not there"),
        (3, "models:/person/1/model.int8.tflite is damaged"),
        (3, "models:/person/1 holds a bundle"),
        (3, "models:/person/1 has the flavours python_function, sklearn; expected edgekit"),
    ]
    assert [code for code, _ in found["answers"]] == [code for code, _ in expected], found
    for (_, said), (_, text) in zip(found["answers"], expected, strict=True):
        assert text in said
    assert contents(own_person_bundle) == before
    # MLflow's own reports, and its links on standard output, are off where the command is the caller.
    assert found["telemetry"] is found["links"] is False


def test_the_password_of_a_tracking_server_is_not_shown() -> None:
    error = ValueError("API request to http://user:secret@127.0.0.1:1/api/2.0/mlflow/runs/create failed")
    assert "http://user:***@127.0.0.1:1/api" in str(_refusal("mlflow:", error))
