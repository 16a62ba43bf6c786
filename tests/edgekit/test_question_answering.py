"""Question answering: windows as `transformers` cuts them, spans as its evaluation script finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_for
from edgekit.tasks.base import Encoded
from edgekit.tasks.question_answering import Answer, QuestionAnswering, Span
from edgekit.tasks.question_files import questions
from edgekit.tasks.squad import exact_match, normalized, token_f1
from edgekit.tasks.tokens import MAX_CHARACTERS
from tests.fixtures.minilm import model_folder

TOKENS = 32
STRIDE = 10
TEXT = "The cat, a grey one, sat on the mat. The dog Rex slept by the door until Anna came home at seven. " * 3


def spec(**options: Any) -> Spec:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return Spec(
        "question-answering",
        inputs=tuple(TensorSpec(name, (None, TOKENS), "int64") for name in names),
        outputs=tuple(TensorSpec(name, (None, TOKENS)) for name in ("start_logits", "end_logits")),
        text=TextEncoding("tokenizer.json", TOKENS),
        options={"stride": STRIDE, **options},
    )


def open_task(**options: Any) -> QuestionAnswering:
    task = task_for(spec(**options), model_folder())
    assert isinstance(task, QuestionAnswering)
    return task


def encoded(task: QuestionAnswering, question: str, text: str) -> Encoded:
    feeds = task.encode((question, text))
    assert isinstance(feeds, Encoded)
    return feeds


def spans_of(answer: Answer) -> list[Span]:
    best = Span(answer.text, answer.start, answer.end, answer.score)
    return [best, *answer.alternatives]


def random_logits(windows: int, seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 4, (windows, TOKENS)).astype("f4") for name in ("start_logits", "end_logits")}


@pytest.fixture(scope="module")
def task() -> QuestionAnswering:
    return open_task()


@pytest.fixture(scope="module")
def peer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder(), local_files_only=True)


def peer_windows(peer: Any, question: str, text: str) -> Any:
    return peer(
        question, text, truncation="only_second", max_length=TOKENS, stride=STRIDE, padding="max_length",
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["Short.", TEXT, "Ünïcödé straße, naïve 東京 и Москва 🙂. " * 9])
def test_windows_and_offsets_are_those_of_transformers(task: QuestionAnswering, peer: Any, text: str) -> None:
    want, got = peer_windows(peer, "Who slept by the door?", text), encoded(task, "Who slept by the door?", text)
    assert got.windows == len(want["overflow_to_sample_mapping"]) == got.context.windows
    for name in got:
        assert got[name].tolist() == want[name]
    for window, offsets in enumerate(got.context.offsets.tolist()):
        owners = want.sequence_ids(window)
        expected = [
            list(place) if owner == 1 else [-1, -1]
            for place, owner in zip(want["offset_mapping"][window], owners, strict=True)
        ]
        assert offsets == expected


def postprocess_qa_predictions(
    start: Array, end: Array, offsets: Array, text: str, *, version_2: bool, threshold: float, longest: int
) -> tuple[str, list[tuple[int, int]], float]:
    """The formula of ``examples/pytorch/question-answering/utils_qa.py``, with ``n_best_size`` = all tokens."""
    prelim: list[dict[str, Any]] = []
    null: dict[str, Any] | None = None
    for s, e, mapping in zip(start, end, offsets, strict=True):
        score = float(s[0] + e[0])
        if null is None or null["score"] > score:
            null = {"offsets": (0, 0), "score": score}
        for i in np.argsort(s)[::-1].tolist():
            for j in np.argsort(e)[::-1].tolist():
                if mapping[i][0] < 0 or mapping[j][0] < 0 or j < i or j - i + 1 > longest:
                    continue
                prelim.append({"offsets": (mapping[i][0], mapping[j][1]), "score": float(s[i] + e[j])})
    assert null is not None
    predictions = sorted(prelim, key=lambda one: one["score"], reverse=True)
    best = predictions[0]
    answer = text[best["offsets"][0] : best["offsets"][1]]
    if version_2 and null["score"] - best["score"] > threshold:
        answer = ""
    return answer, list(dict.fromkeys(one["offsets"] for one in predictions)), null["score"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("no_answer", [False, True])
def test_answers_are_those_of_the_published_formula(seed: int, no_answer: bool) -> None:
    task = open_task(no_answer=no_answer, no_answer_above=-6.0, max_answer_tokens=7, answers=5)
    feeds = encoded(task, "Who slept?", TEXT)
    outputs = random_logits(feeds.windows, seed)
    (got,) = task.decode(outputs, [feeds.context])
    text, spans, null = postprocess_qa_predictions(
        outputs["start_logits"], outputs["end_logits"], feeds.context.offsets, TEXT,
        version_2=no_answer, threshold=-6.0, longest=7,
    )  # fmt: skip
    assert got.text == text
    assert got.null_score == pytest.approx(null, rel=1e-5)
    found = [(one.start, one.end) for one in spans_of(got)]
    if not no_answer:
        assert found == spans[:5]
    assert set(found) <= {*spans, (0, 0)}


def test_both_decisions_of_no_answer_occur() -> None:
    task = open_task(no_answer=True)
    feeds = encoded(task, "Who slept?", "Rex slept.")
    outputs = {name: np.zeros((1, TOKENS), np.float32) for name in ("start_logits", "end_logits")}
    outputs["start_logits"][0, 0] = 3
    (nothing,) = task.decode(outputs, [feeds.context])
    assert (nothing.text, nothing.start, nothing.end, nothing.null_score) == ("", 0, 0, 3.0)
    assert str(nothing).startswith("no answer")
    outputs["end_logits"][0, 5] = 8
    (something,) = task.decode(outputs, [feeds.context])
    assert something.text
    assert (0, 0) in {(one.start, one.end) for one in something.alternatives}


def test_an_answer_across_a_border_is_found_in_the_window_that_holds_it(task: QuestionAnswering) -> None:
    feeds = encoded(task, "Who came home?", TEXT)
    offsets = feeds.context.offsets
    border = int(offsets[0, :, 1].max())  # where the first window ends
    begin, end = TEXT.rindex(" ", 0, border - 8) + 1, TEXT.index(" ", border + 2)
    holds = [
        w for w in range(feeds.windows)
        if begin in offsets[w, :, 0] and end in offsets[w, :, 1]
    ]  # fmt: skip
    assert holds
    assert 0 not in holds
    outputs = {name: np.full((feeds.windows, TOKENS), -9, np.float32) for name in ("start_logits", "end_logits")}
    for window in range(feeds.windows):
        outputs["start_logits"][window, offsets[window, :, 0] == begin] = 5
        outputs["end_logits"][window, offsets[window, :, 1] == end] = 5
    (got,) = task.decode(outputs, [feeds.context])
    assert (got.start, got.end) == (begin, end)
    assert got.text == TEXT[begin:end]


@given(text=st.text(min_size=1, max_size=120).filter(str.strip), seed=st.integers(0, 99))
def test_offsets_are_of_the_answer_in_any_text(text: str, seed: int) -> None:
    task = _OPENED.setdefault("task", open_task())
    try:
        feeds = encoded(task, "what?", text)
    except DataRefused as error:
        if "no tokens" not in error.received:
            raise
        return
    (got,) = task.decode(random_logits(feeds.windows, seed), [feeds.context])
    for one in spans_of(got):
        assert one.text == text[one.start : one.end] == one.text.strip()
        assert one.text
    assert json.loads(json.dumps(got.to_dict()))["text"] == got.text


_OPENED: dict[str, QuestionAnswering] = {}


def test_several_questions_are_told_apart_and_memory_does_not_grow_with_the_text(task: QuestionAnswering) -> None:
    feeds = [encoded(task, "Who?", text) for text in (TEXT * 3, "Rex slept.", TEXT)]
    sizes = []

    def run(given: Any) -> dict[str, Array]:
        ids = given["input_ids"]
        sizes.append(len(ids))
        logits = (ids == 10777).astype(np.float32) * 9
        return {"start_logits": logits + (ids % 97) / 100, "end_logits": logits}

    together = task.answer(run, feeds)
    assert max(sizes) == 3 < sum(sizes)
    assert together == [task.answer(run, [one])[0] for one in feeds]


def test_one_output_with_both_logits_gives_the_same(task: QuestionAnswering) -> None:
    both = task_for(spec().replace(outputs=(TensorSpec("logits", (None, TOKENS, 2)),)), model_folder())
    feeds = encoded(task, "Who?", TEXT)
    outputs = random_logits(feeds.windows, 3)
    stacked = {"logits": np.stack([outputs["start_logits"], outputs["end_logits"]], axis=-1)}
    assert both.decode(stacked, [feeds.context]) == task.decode(outputs, [feeds.context])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("a question alone", "context"),
        ({"question": "", "context": "Rex."}, "the question is empty"),
        ({"question": "Who?", "context": " \n"}, "the context is empty"),
        ({"question": "Who?", "context": 5}, "the context is 5"),
        ({"question": "who " * 40, "context": "Rex."}, "a question of 32 tokens or more"),
        ({"question": "Who?", "context": "x" * (MAX_CHARACTERS + 1)}, "1000001 characters"),
        ({"question": "Who?", "context": "y" * 10_000_000}, "10000000 characters"),
        ({"question": "Who?", "context": "half \ud83d pair"}, "surrogate"),
        ({"question": "Who?", "context": "\u200b\u0000"}, "no tokens"),
    ],
)
def test_what_cannot_be_asked_is_refused(task: QuestionAnswering, item: Any, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        task.encode(item)


def test_a_text_of_unknown_characters_has_an_answer_with_offsets(task: QuestionAnswering) -> None:
    text = "𓀀𓀁 𓀂"
    feeds = encoded(task, "Who?", text)
    (got,) = task.decode(random_logits(feeds.windows, 0), [feeds.context])
    assert got.text
    assert got.text == text[got.start : got.end]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(task: QuestionAnswering, bad: float) -> None:
    feeds = encoded(task, "Who?", "Rex slept.")
    outputs = random_logits(1, 0)
    outputs["end_logits"][0, 7] = bad
    with pytest.raises(DataRefused, match="NaN or infinity as end logits"):
        task.decode(outputs, [feeds.context])


def test_masked_logits_are_no_answers(task: QuestionAnswering) -> None:
    feeds = encoded(task, "Who?", "Rex slept.")
    outputs = {name: np.full((1, TOKENS), -np.inf, np.float32) for name in ("start_logits", "end_logits")}
    with pytest.raises(DataRefused, match="no finite logits"):
        task.decode(outputs, [feeds.context])


def test_outputs_without_their_question_are_refused(task: QuestionAnswering) -> None:
    with pytest.raises(DataRefused, match="without their question"):
        task.decode(random_logits(1, 0))
    feeds = encoded(task, "Who?", TEXT)
    with pytest.raises(DataRefused, match="one for each window"):
        task.decode(random_logits(1, 0), [feeds.context])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": {"stride": 30}}, "options.stride = 30"),
        ({"options": {"max_answer_tokens": 0}}, "max_answer_tokens = 0"),
        ({"options": {"n_best": 3}}, "n_best"),
        ({"outputs": (TensorSpec("pooled", (None, 384)),)}, "start_logits and end_logits"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task_for(spec().replace(**change), model_folder())


@pytest.mark.parametrize(
    ("raw", "truth"),
    [
        (None, None),
        ("Rex", ("Rex",)),
        (["Rex", "the dog"], ("Rex", "the dog")),
        ([{"text": "Rex", "answer_start": 3}], ("Rex",)),
        ({"text": ["Rex"], "answer_start": [3]}, ("Rex",)),
        ([], ()),
    ],
)
def test_right_answers_come_in_several_forms(raw: Any, truth: tuple[str, ...] | None) -> None:
    assert QuestionAnswering.truth(spec(), raw, "line 1") == truth


def test_wrong_answers_in_data_are_refused() -> None:
    with pytest.raises(DataRefused, match="line 1: answers 7"):
        QuestionAnswering.truth(spec(), 7, "line 1")


def test_f1_and_exact_match_are_those_of_squad() -> None:
    assert normalized("The  Eiffel-Tower, a landmark!") == "eiffeltower landmark"
    assert exact_match(["the Cat."], "cat") == 1
    assert token_f1(["grey cat on mat"], "the grey dog") == pytest.approx(2 * (1 / 2) * (1 / 4) / (1 / 2 + 1 / 4))
    assert token_f1(["dog", "grey cat"], "grey cat") == 1
    assert token_f1([], "") == exact_match([], "") == 1
    assert token_f1([], "cat") == exact_match(["cat"], "") == 0
    assert token_f1(["a a b b"], "b b c") == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))  # articles fall away


def test_the_scorer_counts_equal_spans_and_f1(task: QuestionAnswering) -> None:
    scorer = task.scorer()
    right, partly = Answer("grey cat", 4, 12, 0.9, 0.0), Answer("cat", 9, 12, 0.5, 0.0)
    scorer.add(right, right, ("grey cat",))
    scorer.add(right, partly, ("grey cat",))
    scorer.missing(right, ("grey cat",))
    agreement, metrics = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert metrics is not None
    assert agreement.value == pytest.approx(1 / 3)
    assert metrics[0].value == 1
    assert metrics[1].value == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert metrics[1].interval()[0] < metrics[1].value < metrics[1].interval()[1]


def test_squad_files_are_read_with_and_without_answers(tmp_path: Path) -> None:
    qas = [
        {"id": "a", "question": "Who?", "answers": [{"text": "Rex", "answer_start": 0}]},
        {"id": "b", "question": "Where?", "answers": [], "is_impossible": True},
        {"id": "c", "question": "When?", "is_impossible": True, "answers": [{"text": "x", "answer_start": 0}]},
    ]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": [{"context": "Rex slept.", "qas": qas}]}]}))
    found = {where.rpartition(" ")[2]: ask() for where, ask in questions(file)}
    assert found["a"] == ({"question": "Who?", "context": "Rex slept."}, [{"text": "Rex", "answer_start": 0}])
    assert found["b"][1] == found["c"][1] == []
    file.write_text('{"data": 3}')
    with pytest.raises(DataRefused, match="SQuAD"):
        list(questions(file))
