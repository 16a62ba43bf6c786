"""Speech to text: CTC against brute force, error rates against jiwer, long recordings against whole ones."""

from __future__ import annotations

import itertools
from typing import Any

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.errors import DataRefused, SpecRefused
from edgekit.sound.encoding import SoundEncoding
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks import context_of, task_for
from edgekit.tasks.ctc import beam_search, edits, greedy, log_shares
from edgekit.tasks.speech_to_text import SpeechToText

TOKENS = ("<pad>", "|", "a", "b", "c")
SPEC = Spec(
    "speech-to-text",
    (TensorSpec("sound", (None, 100)),),
    (TensorSpec("logits", (None, 10, 5)),),
    sound=SoundEncoding(sample_rate=1_000, window=100, hop=60),
    labels=TOKENS,
)


def task(**options: Any) -> SpeechToText:
    found = task_for(SPEC.replace(options=options))
    assert isinstance(found, SpeechToText)
    return found


def scores(frames: str) -> NDArray[np.float32]:
    """Sure scores, a letter a frame; ``-`` is the blank."""
    found = np.zeros((len(frames), 5), np.float32)
    found[np.arange(len(frames)), ["-|abc".index(letter) for letter in frames]] = 9.0
    return found


def collapsed(alignment: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(alignment) if token != 0)


@pytest.mark.parametrize("seed", range(6))
def test_beam_search_finds_what_all_alignments_add_up_to(seed: int) -> None:
    logs = log_shares(np.random.default_rng(seed).standard_normal((5, 3)) * 2)
    totals: dict[tuple[int, ...], float] = {}
    for alignment in itertools.product(range(3), repeat=5):
        share = float(np.exp(sum(logs[at, token] for at, token in enumerate(alignment))))
        totals[collapsed(alignment)] = totals.get(collapsed(alignment), 0.0) + share
    best = max(totals, key=lambda tokens: totals[tokens])
    found = beam_search(logs, 0, 200)
    assert found.tokens == best
    assert np.exp(found.log_share) == pytest.approx(totals[best])


def test_greedy_takes_the_best_alignment() -> None:
    found = greedy(log_shares(scores("-aa-abb-")), 0)
    assert found.tokens == (2, 2, 3)
    assert found.frames == (1, 4, 5)


def test_a_beam_hears_what_greedy_does_not() -> None:
    # "a" by any of three alignments is likelier than the single best one, which is blank.
    logs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert greedy(logs, 0).tokens == ()
    assert beam_search(logs, 0, 4).tokens == (1,)


def test_probabilities_logits_and_their_logarithms_are_the_same() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for given_ in (logits, shares, np.log(shares)):
        assert np.allclose(log_shares(given_), np.log(shares))


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_edits_are_those_of_jiwer(want: str, got: str) -> None:
    want, got = " ".join(want.split()), " ".join(got.split())
    if want:
        assert edits(want.split(), got.split()) == round(jiwer.wer(want, got) * len(want.split()))
        assert edits(want, got) == round(jiwer.cer(want, got) * len(want))
    else:
        assert edits(want, got) == len(got)


@pytest.mark.parametrize("decoding", ["greedy", "beam"])
def test_words_and_the_times_of_their_letters(decoding: str) -> None:
    found = task(decoding=decoding).decode({"logits": scores("-ab-|cc-c-")[None]})[0]
    assert found.text == "ab cc"
    assert [(token.text, round(token.start, 2)) for token in found.tokens] == [
        ("a", 0.01), ("b", 0.02), (" ", 0.04), ("c", 0.05), ("c", 0.08),
    ]  # fmt: skip
    assert found.to_dict()["tokens"][0] == {"text": "a", "start": 0.01}
    assert str(task().decode({"logits": scores("----------")[None]})[0]) == "(nothing said)"


def test_pieces_that_carry_their_spaces() -> None:
    described = SPEC.replace(labels=("<pad>", "▁he", "llo", "▁you", "x"), options={"joined_tokens": True})
    assert task_for(described).decode({"logits": scores("-|a-b-----")[None]})[0].text == "hello you"


def test_long_recordings_are_stitched_without_double_letters() -> None:
    """Windows overlap by 40 of 100 samples: each gives what is nearer to its own middle."""
    truth = "-a--b-c-|-a-b--c--a-|-bb-"
    one = task()
    feeds = one.encode(np.ones(10 * len(truth)))
    lengths = context_of(feeds).lengths
    assert lengths == (100, 100, 100, 70)
    # What a window hears beyond its own part is nonsense here, and must not matter.
    windows = []
    for number, length in enumerate(lengths):
        part = list(truth[6 * number : 6 * number + length // 10].ljust(10, "c"))
        if number:
            part[:2] = "cc"
        if number < len(lengths) - 1:
            part[-2:] = "cc"
        windows.append(scores("".join(part)))
    found = one.decode({"logits": np.stack(windows)}, [context_of(feeds)])[0]
    whole = greedy(log_shares(scores(truth)), 0)
    assert found.text == "".join(" " if token == 1 else TOKENS[token] for token in whole.tokens)
    assert [round(token.start * 100) for token in found.tokens] == list(whole.frames)
    assert found.seconds == pytest.approx(0.25)


def test_frames_of_padding_say_nothing() -> None:
    one = task()
    feeds = one.encode(np.ones(40))
    assert one.decode({"logits": scores("-ab-cccccc")[None]}, [context_of(feeds)])[0].text == "ab"


def test_the_error_rate_is_jiwers_over_all_recordings() -> None:
    one = task()
    scorer = one.scorer()
    assert scorer is not None
    wants, gots = ("ab-|-c----", "a-|b-|c---"), ("ab-|-b----", "a-|b-|c---")
    truths = ["ab c", "a b b"]
    for want, got, truth in zip(wants, gots, truths, strict=True):
        scorer.update({"logits": scores(want)[None]}, {"logits": scores(got)[None]}, [truth], [None])
    metrics, agreement = scorer.metrics(), scorer.agreement()
    assert metrics is not None
    assert metrics[0].value == pytest.approx(jiwer.wer(truths, ["ab c", "a b c"]))
    assert metrics[1].value == pytest.approx(jiwer.wer(truths, ["ab b", "a b c"]))
    assert not metrics[0].higher_is_better
    assert agreement is not None
    assert agreement.value == 0.5


def test_a_candidate_that_gives_nan_has_said_nothing() -> None:
    scorer = task(metric="cer").scorer()
    assert scorer is not None
    scorer.update({"logits": scores("ab--------")[None]}, {"logits": np.full((1, 10, 5), np.nan)}, ["ab"], [None])
    metrics = scorer.metrics()
    assert metrics is not None
    assert (metrics[0].value, metrics[1].value, metrics[0].name) == (0.0, 1.0, "character error rate")


def test_bad_specs_data_and_truths_are_refused() -> None:
    with pytest.raises(DataRefused, match="gave NaN"):
        task().decode({"logits": np.full((1, 10, 5), np.nan)})
    with pytest.raises(DataRefused, match="what is said, as text"):
        SpeechToText.truth(SPEC, 3, "x.csv line 2")
    with pytest.raises(SpecRefused, match="a label for each token"):
        task_for(SPEC.replace(labels=TOKENS[:4]))
    with pytest.raises(SpecRefused, match="blank = 7"):
        task(blank=7)
    with pytest.raises(SpecRefused, match="decoding = 'best'"):
        task(decoding="best")
    with pytest.raises(SpecRefused, match="beams = 0"):
        task(beams=0)
