"""The choice of the next token, against the warpers of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edgekit.errors import SpecRefused
from edgekit.tasks.sampling import Sampling, next_token, processed

CASES = [
    Sampling(temperature=0.7),
    Sampling(temperature=1.0, top_k=5),
    Sampling(temperature=1.0, top_p=0.9),
    Sampling(temperature=1.3, top_k=40, top_p=0.5, repetition_penalty=1.2),
    Sampling(temperature=0.5, top_p=0.01),
    Sampling(temperature=2.0, top_k=10_000, repetition_penalty=0.8),
]


@pytest.mark.parametrize("how", CASES)
def test_scores_equal_those_of_transformers(how: Sampling) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        logits = random.normal(0, 4, 500).astype(np.float32)
        seen = random.integers(0, 500, 30).tolist()
        warpers = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(how.repetition_penalty)])
        warpers.append(TemperatureLogitsWarper(how.temperature))
        warpers.extend([TopKLogitsWarper(how.top_k)] if how.top_k else [])
        warpers.extend([TopPLogitsWarper(how.top_p)] if how.top_p < 1 else [])
        want = warpers(torch.tensor([seen]), torch.from_numpy(logits)[None])[0].numpy()
        got = processed(logits, seen, how)
        assert np.array_equal(np.isneginf(got), np.isneginf(want))
        kept = np.isfinite(want)
        np.testing.assert_allclose(got[kept], want[kept], rtol=1e-6)


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.2, 0.05], np.float32))
    random = np.random.default_rng(0)
    drawn = [next_token(logits, (), Sampling(temperature=1.0), random) for _ in range(4000)]
    assert np.bincount(drawn, minlength=4) / 4000 == pytest.approx([0.5, 0.25, 0.2, 0.05], abs=0.025)


def test_what_is_cut_off_is_never_drawn() -> None:
    logits = np.zeros(50, np.float32)
    logits[[7, 49]] = 3
    random = np.random.default_rng(0)
    assert {next_token(logits, (), Sampling(temperature=1.0, top_k=2), random) for _ in range(200)} == {7, 49}


def test_greedy_takes_the_largest_and_draws_nothing() -> None:
    random = np.random.default_rng(0)
    before = random.bit_generator.state
    assert next_token(np.array([0.1, 3, 2], np.float32), (), Sampling(), random) == 1
    assert next_token(np.array([0.1, 3, 2], np.float32), (1,), Sampling(repetition_penalty=2), random) == 2
    assert random.bit_generator.state == before


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty = 0.0"),
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(SpecRefused, match=says):
        Sampling(**wrong)  # type: ignore[arg-type]
