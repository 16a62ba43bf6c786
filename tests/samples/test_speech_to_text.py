"""The speech to text sample: a few steps of training on real words, then convert, verify and run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekit.bundle import Bundle
from samples.keyword_spotting import clips as keyword_clips
from samples.speech_to_text import train
from samples.speech_to_text.network import TOKENS, WORDS
from tests.conftest import CommandRunner

SAMPLE = Path(__file__).parents[2] / "samples" / "speech_to_text"


@pytest.fixture(scope="module")
def trained(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    keyword_clips.write(realpack / "speech_commands" / "sc12.npz", folder / "clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "TEST_SENTENCES", 10)
        patch.setattr(train, "CALIBRATION_SENTENCES", 10)
        patch.setattr(train, "BATCH", 4)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # so small a network gains nothing from more, and suffers on busy machines
        train.main(folder / "clips", folder / "out", steps=10)
        torch.set_num_threads(threads)
    return folder / "out"


def test_words_of_the_test_were_never_trained_on(trained: Path) -> None:
    learned, unheard = train.load_clips(trained.parent / "clips")
    assert {word for word, _ in learned} == {word for word, _ in unheard} == set(WORDS)
    known = {samples.tobytes() for _, samples in learned}
    assert not any(samples.tobytes() in known for _, samples in unheard)
    text, samples = train.sentence(unheard, np.random.default_rng(0))
    assert (len(text.split()), samples.shape) == (3, (64_000,))


def test_convert_verify_and_run(trained: Path, edgekit_command: CommandRunner) -> None:
    bundle = trained / "speech.bundle"
    done = edgekit_command(
        "convert", f"{SAMPLE / 'network.py'}:build", "--weights", trained / "words.safetensors",
        "--input-shape", "1,40,400", "--spec", SAMPLE / "words.toml", "--labels", trained / "tokens.txt",
        "--to", "onnx", "--recipe", "fp32", "--recipe", "int8", "--effort", "low", "--allow-degraded",
        "--calibration", trained / "calibration", "--eval", trained / "test", "-o", bundle,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metric = Bundle(bundle).artifacts[0].parity.metric
    assert metric is not None
    assert (metric.name, metric.higher_is_better) == ("word error rate", False)
    assert (trained / "tokens.txt").read_text(encoding="utf-8").split() == list(TOKENS)
    assert edgekit_command("verify", bundle).returncode == 0
    run = edgekit_command("run", bundle, trained / "test", "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    results = [json.loads(line)["result"] for line in run.stdout.splitlines()]
    assert len(results) == 10
    assert all(result["seconds"] == 4.0 and set(result["text"].split()) <= set(WORDS) for result in results)
