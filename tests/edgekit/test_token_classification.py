"""Token classification: the entities of the pipeline of `transformers`, with offsets into the text."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_for
from edgekit.tasks.base import Encoded
from edgekit.tasks.entities import Entities, Entity, Piece, grouped, tagged_spans, uses_bioes
from edgekit.tasks.token_classification import TokenClassification
from tests.fixtures.minilm import model_folder

TOKENS = 24
STRIDE = 8
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
STRATEGIES = ("simple", "first", "average", "max")
TEXT = "Angela Merkel met Mr. Hollande-Trierweiler in Kaiserslautern, unforgettably. " * 3


def spec(labels: tuple[str, ...] = TAGS, **options: Any) -> Spec:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return Spec(
        "token-classification",
        inputs=tuple(TensorSpec(name, (None, TOKENS), "int64") for name in names),
        outputs=(TensorSpec("logits", (None, TOKENS, len(labels))),),
        text=TextEncoding("tokenizer.json", TOKENS),
        labels=labels,
        options={"stride": STRIDE, **options},
    )


def open_task(labels: tuple[str, ...] = TAGS, **options: Any) -> TokenClassification:
    task = task_for(spec(labels, **options), model_folder())
    assert isinstance(task, TokenClassification)
    return task


def encoded(task: TokenClassification, text: str) -> Encoded:
    feeds = task.encode(text)
    assert isinstance(feeds, Encoded)
    return feeds


def random_logits(windows: int, seed: int, tags: int = len(TAGS)) -> dict[str, Array]:
    return {"logits": np.random.default_rng(seed).normal(0, 3, (windows, TOKENS, tags)).astype("f4")}


class Peer:
    """The pipeline of `transformers` around logits that are given instead of a model's."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        from transformers import AutoTokenizer, BertConfig, BertForTokenClassification, TokenClassificationPipeline

        config = BertConfig(
            vocab_size=30522, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
            id2label=dict(enumerate(tags)), label2id={tag: i for i, tag in enumerate(tags)},
        )  # fmt: skip
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder(), local_files_only=True, model_max_length=TOKENS)
        self.pipeline = TokenClassificationPipeline(model=BertForTokenClassification(config), tokenizer=self.tokenizer)

    def windows(self, text: str) -> Any:
        return self.tokenizer(
            text, truncation=True, max_length=TOKENS, stride=STRIDE, padding="max_length",
            return_overflowing_tokens=True, return_offsets_mapping=True, return_special_tokens_mask=True,
        )  # fmt: skip

    def entities(self, text: str, logits: Array, strategy: str) -> list[tuple[str, int, int, float]]:
        import torch
        from transformers.pipelines.token_classification import AggregationStrategy

        windows = self.windows(text)
        outputs = [
            {
                "logits": torch.from_numpy(logits[i : i + 1]),
                "sentence": text if i == 0 else None,
                "input_ids": torch.tensor(windows["input_ids"][i : i + 1]),
                "offset_mapping": torch.tensor(windows["offset_mapping"][i : i + 1]),
                "special_tokens_mask": torch.tensor(windows["special_tokens_mask"][i : i + 1]),
            }
            for i in range(len(logits))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.pipeline.postprocess(outputs, AggregationStrategy(strategy))
        return [(one["entity_group"], one["start"], one["end"], float(one["score"])) for one in found]


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer(TAGS)


def flat(result: Entities) -> list[tuple[str, int, int, Any]]:
    return [(one.label, one.start, one.end, pytest.approx(one.score, rel=1e-4)) for one in result.entities]


@pytest.mark.parametrize("text", ["Angela.", TEXT, "Ünïcödé straße, naïve 東京 и Москва 🙂. " * 4])
def test_windows_and_offsets_are_those_of_transformers(peer: Peer, text: str) -> None:
    want, got = peer.windows(text), encoded(open_task(), text)
    assert got.windows == len(want["overflow_to_sample_mapping"])
    for name in got:
        assert got[name].tolist() == want[name]
    special = np.array(want["special_tokens_mask"], bool)[..., None]
    assert np.array_equal(got.context.offsets, np.where(special, -1, np.array(want["offset_mapping"])))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(5))
def test_entities_are_those_of_the_pipeline(peer: Peer, strategy: str, seed: int) -> None:
    task = open_task(aggregation=strategy)
    for text in (TEXT, "Angela Merkel, unforgettably."):
        feeds = encoded(task, text)
        outputs = random_logits(feeds.windows, seed)
        (got,) = task.decode(outputs, [feeds.context])
        assert peer.entities(text, outputs["logits"], strategy) == flat(got)
        assert got.entities


_KEPT: dict[str, Any] = {}


@settings(max_examples=40)
@given(text=st.text(min_size=1, max_size=60).filter(str.strip), strategy=st.sampled_from(STRATEGIES))
def test_any_text_gives_the_pipelines_entities_with_offsets(text: str, strategy: str) -> None:
    task = _KEPT.setdefault(strategy, None) or open_task(aggregation=strategy)
    peer = _KEPT.setdefault("peer", None) or Peer(TAGS)
    _KEPT.update({strategy: task, "peer": peer})
    try:
        feeds = encoded(task, text)
    except DataRefused as error:
        if "no tokens" not in error.received:
            raise
        return
    outputs = random_logits(feeds.windows, len(text))
    (got,) = task.decode(outputs, [feeds.context])
    assert [one for one in peer.entities(text, outputs["logits"], strategy) if one[2] > one[1]] == flat(got)
    for one in got.entities:
        assert one.text == text[one.start : one.end]


def test_bioes_tags_close_entities() -> None:
    tags = ("S-LOC", "I-LOC", "B-PER", "I-PER", "E-PER", "E-PER", "O", "B-PER", "E-LOC")
    assert uses_bioes(tags)
    assert not uses_bioes(TAGS)
    assert not uses_bioes(("O", "E-MAIL", "S-BAHN"))
    spans = tagged_spans(tags, [(i, i + 1) for i in range(len(tags))], "O")
    assert spans == [
        (0, 1, "LOC"), (1, 2, "LOC"), (2, 5, "PER"), (5, 6, "PER"), (7, 8, "PER"), (8, 9, "LOC"),
    ]  # fmt: skip


def test_plain_labels_are_entities_of_neighbours() -> None:
    pieces = [Piece(tag, 1, i, i + 1) for i, tag in enumerate(("NOUN", "NOUN", "VERB", "X-Y"))]
    assert [(label, len(run)) for label, run in grouped(pieces, bioes=False)] == [("NOUN", 2), ("VERB", 1), ("X-Y", 1)]


def test_an_entity_seen_by_two_windows_is_one() -> None:
    task = open_task()
    feeds = encoded(task, TEXT)
    begin = int(feeds.context.offsets[1, 1, 0])  # the first token of the second window lies in the first one, too
    outputs = {"logits": np.zeros((feeds.windows, TOKENS, len(TAGS)), np.float32)}
    outputs["logits"][..., 0] = 4
    outputs["logits"][feeds.context.offsets[..., 0] == begin] = [0, 9, 0, 0, 0]
    (got,) = task.decode(outputs, [feeds.context])
    assert [(one.label, one.start) for one in got.entities] == [("PER", begin)]
    assert str(got).startswith("PER ")
    assert got.to_dict()["entities"][0]["text"] == TEXT[begin : got.entities[0].end]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("x" * 10_000_000, "10000000 characters"),
        ("\u200b", "no tokens"),
        (7, "the text is 7"),
    ],
)
def test_texts_without_words_or_end_are_refused(text: Any, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        open_task().encode(text)


def test_unknown_characters_have_offsets() -> None:
    task = open_task()
    feeds = encoded(task, "𓀀𓀁 𓀂")
    outputs = random_logits(feeds.windows, 0)
    outputs["logits"][..., 0] = -9
    (got,) = task.decode(outputs, [feeds.context])
    assert {one.text for one in got.entities} <= {"𓀀𓀁", "𓀂", "𓀀𓀁 𓀂"}
    assert got.entities


def test_nan_and_outputs_without_text_are_refused() -> None:
    task = open_task()
    feeds = encoded(task, "Angela.")
    outputs = random_logits(1, 0)
    with pytest.raises(DataRefused, match="without their text"):
        task.decode(outputs)
    outputs["logits"][0, 3, 1] = np.nan
    with pytest.raises(DataRefused, match="NaN or infinity"):
        task.decode(outputs, [feeds.context])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": TAGS[:3]}, "3 labels for output 'logits'"),
        ({"labels": None}, "0 labels"),
        ({"outputs": (TensorSpec("pooled", (None, 5)),)}, "token-classification with outputs"),
        ({"options": {"aggregation": "mean"}}, "options.aggregation = 'mean'"),
        ({"options": {"stride": 22}}, "options.stride = 22"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task_for(spec().replace(**change), model_folder())


def test_right_entities_must_be_of_the_models_kinds() -> None:
    raw = [{"start": 0, "end": 6, "label": "PER"}, (7, 13, "LOC")]
    assert TokenClassification.truth(spec(), raw, "line 1") == frozenset({(0, 6, "PER"), (7, 13, "LOC")})
    assert TokenClassification.truth(spec(), None, "line 1") is None
    for wrong in ([{"start": 0, "end": 6, "label": "ORG"}], [{"start": 6, "end": 6, "label": "PER"}], "PER", [3]):
        with pytest.raises(DataRefused, match="line 1: entities"):
            TokenClassification.truth(spec(), wrong, "line 1")


def test_the_scorer_counts_entity_f1() -> None:
    scorer = open_task().scorer()
    two = Entities((Entity("PER", "a", 0, 1, 1.0), Entity("LOC", "b", 2, 3, 1.0)))
    one = Entities(two.entities[:1])
    truth = frozenset({(0, 1, "PER"), (2, 3, "LOC")})
    scorer.add(two, one, truth)
    scorer.add(two, two, truth)
    scorer.missing(one, frozenset())
    agreement, metrics = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert metrics is not None
    assert agreement.value == pytest.approx(2 * 3 / (5 + 3))
    assert metrics[0].value == pytest.approx(2 * 4 / (4 + 5))
    assert metrics[1].value == pytest.approx(2 * 3 / (4 + 3))
