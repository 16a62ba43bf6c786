"""The language model sample: train or take a model, convert, verify, run, serve, measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import DataRefused, UsageError
from edgekit_runtimes.predictor import Predictor, load
from samples.language_model import evaluate
from samples.language_model.train import END, load_corpus
from tests.conftest import CommandRunner
from tests.fixtures import tiny_causal_lm

ROOT = Path(__file__).parents[2]


def train(*arguments: str | Path) -> str:
    script = ROOT / "samples" / "language_model" / "train.py"
    done = subprocess.run(
        [sys.executable, script, *arguments],
        check=False, capture_output=True, text=True, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script writes for a model in a local folder; a few short texts are enough for a test."""
    folder = tmp_path_factory.mktemp("sample")
    tiny_causal_lm.save(folder / "published", "gpt2")
    assert "wrote" in train(folder / "tiny", "--from", folder / "published")
    lines = [json.dumps({"text": text}) for text in tiny_causal_lm.TEXTS]
    (folder / "tiny" / "few.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "tiny"


@pytest.fixture(scope="module")
def bundle(taken: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", taken / "model", "--preset", "text-generation", "--tokenizer", taken / "model",
        "--recipe", "fp32", "--recipe", "dynamic-int8", "--effort", "low", "--max-drop", "5",
        "--eval", taken / "few.jsonl", "-o", taken / "tiny.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "perplexity" in done.stdout
    return taken / "tiny.bundle"


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Iterator[Predictor]:
    with load(bundle, engine="onnxruntime", recipe="fp32", threads=1) as opened:
        yield opened


def test_the_corpus_is_split_without_overlap() -> None:
    corpus = load_corpus()
    assert len(corpus.train) > 300
    assert len(corpus.test) > 30
    parts = {part.strip() for text in corpus.train for part in text.split("\n\n")}
    assert not any(part.strip() in parts for text in corpus.test for part in text.split("\n\n"))


def test_a_few_steps_of_training_write_a_model_and_texts(tmp_path: Path) -> None:
    said = train(tmp_path / "small", "--steps", "12")
    losses = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0] - 0.3
    model = tmp_path / "small" / "model"
    assert (model / "model.safetensors").is_file()
    assert json.loads((model / "tokenizer_config.json").read_text())["eos_token"] == END
    assert len(evaluate.read_texts(tmp_path / "small" / "test.jsonl")) == 24


def test_the_bundle_verifies_and_gives_the_originals_text(bundle: Path, edgekit_command: CommandRunner) -> None:
    import torch

    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("pass") == 4
    ids = tiny_causal_lm.tokenizer().encode("The cat").ids
    mask = torch.ones(1, len(ids), dtype=torch.int64)
    out = tiny_causal_lm.model("gpt2").generate(
        torch.tensor([ids]), attention_mask=mask, max_new_tokens=9, do_sample=False
    )
    want = tiny_causal_lm.tokenizer().decode(out[0, len(ids) :].tolist())
    for engine in ("litert", "onnxruntime"):
        run = edgekit_command(
            "run", bundle, "The cat", "--engine", engine, "--recipe", "fp32", "--option", "max_new_tokens=9"
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout == want + "\n"


def test_files_of_prompts_and_other_outputs_work_as_ever(
    bundle: Path, taken: Path, edgekit_command: CommandRunner
) -> None:
    run = edgekit_command(
        "run", bundle, taken / "few.jsonl", "--format", "jsonl", "--option", "max_new_tokens=3", "--option",
        "overflow=keep-end",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    results = [json.loads(line)["result"] for line in run.stdout.splitlines()]
    assert [result["tokens"] for result in results] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("option", "code", "says"),
    [("tempo=1", 3, "unknown key 'tempo'"), ("temperature", 2, "expected NAME=VALUE"), ("top_p=7", 3, "top_p = 7")],
)
def test_options_that_are_none_are_refused(
    bundle: Path, edgekit_command: CommandRunner, option: str, code: int, says: str
) -> None:
    run = edgekit_command("run", bundle, "The cat", "--option", option)
    assert run.returncode == code
    assert says in run.stderr


def test_a_prompt_that_is_refused_does_not_stop_the_next(bundle: Path, edgekit_command: CommandRunner) -> None:
    run = edgekit_command("run", bundle, "word " * 100, "The cat", "--option", "max_new_tokens=2", "--recipe", "fp32")
    assert run.returncode == 6
    assert "a prompt of 500 characters" in run.stderr
    assert run.stdout.endswith("\n")


def test_streams_are_predictions_in_pieces(predictor: Predictor) -> None:
    asked = {"text": "The cat", "max_new_tokens": 12}
    result = predictor.predict(asked)
    assert "".join(predictor.stream(asked)) == result.to_dict()["text"]


def test_only_text_is_streamed(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "task", type("Other", (), {"name": "tensors"})())
    with pytest.raises(UsageError, match="stream for task 'tensors'"):
        predictor.stream("The cat")


def test_servers_take_settings_beside_the_text(predictor: Predictor) -> None:
    from edgekit_runtimes.serve.images import encode_body

    body = b'{"text": "The cat", "max_new_tokens": 4}'
    feeds = encode_body(predictor.task, body, "application/json", 1)
    (result,) = predictor.results(predictor.runner, [feeds])
    assert result.to_dict()["tokens"] == 4
    with pytest.raises(DataRefused, match="settings"):
        encode_body(predictor.task, b'{"text": "a", "text_pair": "b"}', "application/json", 1)


def test_evaluate_measures_every_artifact(bundle: Path, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgekit.bundle import Bundle

    evaluate.main(bundle, taken / "few.jsonl", None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 texts"
    artifacts = Bundle(bundle).artifacts
    assert len(lines) == 1 + len(artifacts)
    for line, artifact in zip(lines[1:], artifacts, strict=True):
        assert line.startswith(artifact.file)
        if artifact.recipe == "fp32":  # its own cache is the original's
            assert f"perplexity {artifact.parity.metric}" in line


def test_evaluate_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(DataRefused, match="holds no texts"):
        evaluate.read_texts(tmp_path / "none.jsonl")
