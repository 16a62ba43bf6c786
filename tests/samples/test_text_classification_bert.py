"""The BERT sample: fine-tune a little, convert the folder it wrote, verify, run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from samples.text_classification_bert.train import batches, read_rows
from tests.conftest import CommandRunner
from tests.fixtures import hub

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "samples" / "text_classification_bert" / "train.py"
GOOD = ["the fox jumps", "a quick answer", "the dog serves tourists", "an answer is found"]
BAD = ["lazy models", "where is the café", "3.14 volts", "doesn't it"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script writes, from a small BERT with random weights and eight sentences to learn by heart."""
    folder = tmp_path_factory.mktemp("bert")
    rows = [f"{text}\t1" for text in GOOD] + [f"{text}\t0" for text in BAD]
    (folder / "train.tsv").write_text("\n".join(rows * 8) + "\n", encoding="utf-8")
    (folder / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = [
        SCRIPT, folder / "words", "--from", hub.bert(folder / "base", "BertModel", initializer_range=0.2),
        "--train", folder / "train.tsv", "--test", folder / "test.tsv", "--names", "bad", "good",
        "--epochs", "30", "--max-length", "16", "--learning-rate", "3e-3",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, *map(str, words)], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "on 64 sentences, 30 epochs" in done.stdout
    assert "test accuracy: 8 of 8 = 100.0 %" in done.stdout
    return folder


def test_the_folder_converts_verifies_and_runs(folder: Path, edgekit_command: CommandRunner) -> None:
    done = edgekit_command(
        "convert", folder / "words", "--max-length", "16", "--to", "onnx", "--recipe", "fp32",
        "--recipe", "dynamic-int8", "--eval", folder / "test.tsv", "--effort", "low", "-o", folder / "words.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "words.bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["spec"]["task"] == "text-classification"
    assert manifest["spec"]["labels"] == ["bad", "good"]
    assert [artifact["parity"]["metric"]["successes"] for artifact in manifest["artifacts"]] == [8, 8]
    verified = edgekit_command("verify", folder / "words.bundle")
    assert verified.returncode == 0, verified.stderr
    run = edgekit_command("run", folder / "words.bundle", GOOD[0], BAD[0], "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line)["result"]["labels"][0]["name"] for line in run.stdout.splitlines()]
    assert answers == ["good", "bad"]


def test_batches_hold_every_sentence_once() -> None:
    import random

    rows = [("x" * length, "a") for length in range(50)]
    given = [row for group in batches(rows, 8, random.Random(0)) for row in group]
    assert sorted(given) == sorted(rows)


def test_a_line_without_a_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("good\t1\n\nno label here\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"line 2: expected text<TAB>label"):
        read_rows(tmp_path / "data.tsv")
