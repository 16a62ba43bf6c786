"""The question answering sample: fine-tune a little, convert, verify, ask; and a checkpoint of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samples.question_answering import evaluate
from samples.question_answering.notes import notes, questions_about, split
from tests.conftest import CommandRunner
from tests.fixtures.minilm import model_folder

SAMPLE = Path(__file__).parents[2] / "samples" / "question_answering"
SHAPES = [
    word
    for name in ("input_ids", "attention_mask", "token_type_ids")
    for word in ("--input-shape", f"{name}=1,96:int64")
]


def convert(command: CommandRunner, checkpoint: Path, questions: Path, bundle: Path, *words: str) -> None:
    done = command(
        "convert", SAMPLE / "checkpoint.py:build", "--preset", "question-answering", "--tokenizer", checkpoint,
        "--eval", questions, "--to", "onnx", "--effort", "low", *words, "-o", bundle,
        env={**os.environ, "CHECKPOINT": str(checkpoint)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training script writes after a few questions."""
    folder = tmp_path_factory.mktemp("sample") / "qa"
    said = ""
    for script, *options in (["notes.py"], ["train.py", "--epochs", "1", "--questions", "8"]):
        command = [sys.executable, str(SAMPLE / script), str(folder), *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "wrote 204 questions" in said
    assert "epoch 1/1: loss" in said
    few = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:8]
    (folder / "few.jsonl").write_text("".join(few), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path, edgekit_command: CommandRunner) -> Path:
    recipes = ("--recipe", "fp32", "--recipe", "dynamic-int8", "--allow-degraded")
    convert(edgekit_command, trained / "checkpoint", trained / "few.jsonl", trained / "qa.bundle", *SHAPES, *recipes)
    return trained / "qa.bundle"


def test_questions_are_about_the_notes_and_the_split_is_by_data_set() -> None:
    train, test = split()
    assert len(train) > 150
    assert len(test) > 50
    assert not {one.context for one in train} & {one.context for one in test}
    for one in train + test:
        assert one.context[one.start :].startswith(one.answer)
    asked = {one.question: one.answer for one in questions_about(notes()["copper"])}
    assert "The price of aluminum" in asked.values()
    assert asked["How many observations are there?"] == "25"


def test_the_bundle_verifies_and_answers_about_a_long_text(
    bundle: Path, trained: Path, edgekit_command: CommandRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    note = (trained / "note.txt").read_text(encoding="utf-8")
    run = edgekit_command(
        "run", bundle, "How many observations are there?", "--context", trained / "note.txt", "--format", "jsonl"
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)["result"]
    assert answer["text"]
    assert answer["text"] == note[answer["start"] : answer["end"]]
    evaluate.main(bundle, trained / "few.jsonl")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 questions"
    assert len(lines) == 3
    assert all("exact match" in line and "F1" in line for line in lines[1:])


def test_a_checkpoint_of_ones_own_answers_as_in_transformers(tmp_path: Path, edgekit_command: CommandRunner) -> None:
    """DistilBERT has no token types; its weights are random, its folder is what `save_pretrained` writes."""
    import torch
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertForQuestionAnswering

    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=30522, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=96
    )
    model = DistilBertForQuestionAnswering(config).eval()
    model.save_pretrained(tmp_path / "checkpoint")
    shutil.copyfile(model_folder() / "tokenizer.json", tmp_path / "checkpoint" / "tokenizer.json")
    text = notes()["fair"][:300]
    row = {"question": "How many observations are there?", "context": text, "answers": ["6366"]}
    (tmp_path / "asked.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    convert(edgekit_command, tmp_path / "checkpoint", tmp_path / "asked.jsonl", tmp_path / "own.bundle", *SHAPES[:4])
    run = edgekit_command("run", tmp_path / "own.bundle", tmp_path / "asked.jsonl", "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)["result"]

    tokenizer = AutoTokenizer.from_pretrained(model_folder(), local_files_only=True)
    windows = tokenizer(
        row["question"], text, truncation="only_second", max_length=96, stride=32, padding="max_length",
        return_overflowing_tokens=True, return_offsets_mapping=True, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        found = model(input_ids=windows["input_ids"], attention_mask=windows["attention_mask"])
    best, span = -np.inf, (0, 0)
    for window, offsets in enumerate(windows["offset_mapping"].tolist()):
        mine = [i for i, owner in enumerate(windows.sequence_ids(window)) if owner == 1]
        for i in mine:
            for j in (j for j in mine if i <= j < i + 30):
                score = float(found.start_logits[window, i] + found.end_logits[window, j])
                if score > best + 1e-5:
                    best, span = score, (offsets[i][0], offsets[j][1])
    assert (answer["start"], answer["end"]) == span
