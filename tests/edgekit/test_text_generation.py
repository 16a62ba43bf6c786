"""Text generation against transformers' own generate, on random decoders run by the original."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_for
from edgekit.tasks.decoder_step import Decoder
from edgekit.tasks.text_generation import GeneratedText, TextGeneration
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from tests.fixtures import tiny_causal_lm

PROMPTS = ["The cat", "def", "日本語の😀", "x"]


@dataclass(frozen=True)
class Opened:
    """A decoder as a task, and the model it was made from."""

    task: TextGeneration
    model: Any
    source: Any

    def ids(self, text: str) -> list[int]:
        return list(self.task.tokens(text))

    def generated(self, prompt: str | Mapping[str, Any]) -> GeneratedText:
        (result,) = self.task.answer(self.source.run, [self.task.encode(prompt)])
        assert isinstance(result, GeneratedText)
        return result


def opened(folder: Path, kind: str, chunk: int, **options: Any) -> Opened:
    source = open_source(folder, SourceOptions(inputs=(InputHint((1, chunk), "input_ids"),)))
    task = task_for(
        Spec(
            "text-generation",
            inputs=source.inputs,
            outputs=source.outputs,
            text=TextEncoding("tokenizer.json"),
            options={**source.task_options["text-generation"], **options},
        ),
        folder,
    )
    assert isinstance(task, TextGeneration)
    return Opened(task, tiny_causal_lm.model(kind), source)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("decoders")
    return {kind: tiny_causal_lm.save(root / kind, kind) for kind in ("gpt2", "llama")}


@pytest.fixture(scope="module")
def llama(folders: dict[str, Path]) -> Opened:
    return opened(folders["llama"], "llama", 4)


def peer_text(one: Opened, prompt: str, count: int, **settings: Any) -> tuple[list[int], str]:
    ids = torch.tensor([one.ids(prompt)])
    out = one.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, **settings
    )
    new = out[0, ids.shape[1] :].tolist()
    return new, tiny_causal_lm.tokenizer().decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_greedy_text_is_that_of_transformers(folders: dict[str, Path], kind: str, chunk: int) -> None:
    one = opened(folders[kind], kind, chunk)
    for prompt in PROMPTS:
        ids, text = peer_text(one, prompt, 20)
        got = one.generated({"text": prompt, "max_new_tokens": 20})
        assert (got.text, got.tokens, got.prompt_tokens) == (text, len(ids), len(one.ids(prompt)))


def test_a_penalty_for_repetition_is_that_of_transformers(llama: Opened) -> None:
    _, text = peer_text(llama, "The cat", 20, repetition_penalty=1.7)
    got = llama.generated({"text": "The cat", "max_new_tokens": 20, "repetition_penalty": 1.7})
    assert got.text == text
    assert got.text != llama.generated({"text": "The cat", "max_new_tokens": 20}).text


def test_each_step_sees_what_the_whole_text_would_show(llama: Opened) -> None:
    ids = llama.ids(tiny_causal_lm.TEXTS[0])
    rows = np.concatenate([row for _, row in Decoder(llama.task.graph, llama.source.run).steps(ids)])
    with torch.no_grad():
        want = llama.model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(rows, want, atol=2e-4)


def test_a_stream_gives_the_text_of_the_result_piece_by_piece(llama: Opened) -> None:
    def collected() -> Any:
        result = yield from llama.task.stream(llama.source.run, llama.task.encode("The cat"))
        assert result == llama.generated("The cat")
        assert result.text == "".join(pieces)

    pieces: list[str] = []
    pieces.extend(collected())
    assert len(pieces) > 3
    assert all(pieces)


def test_the_first_piece_comes_before_the_second_is_inferred(llama: Opened) -> None:
    calls = 0

    def counted(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        nonlocal calls
        calls += 1
        return llama.source.run(feeds)  # type: ignore[no-any-return]

    stream = llama.task.stream(counted, llama.task.encode({"text": "de", "max_new_tokens": 40}))
    next(stream)
    early = calls
    assert early < 8
    for _ in stream:
        pass
    assert calls > early + 10


def test_the_same_seed_gives_the_same_text_and_another_another(llama: Opened) -> None:
    asked = {"text": "The cat", "temperature": 1.5, "max_new_tokens": 16}
    texts = [llama.generated({**asked, "seed": seed}).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_generation_ends_at_a_stop_string_which_is_left_out(llama: Opened) -> None:
    whole = llama.generated({"text": "The cat", "max_new_tokens": 20}).text
    stop = whole[6:8]
    got = llama.generated({"text": "The cat", "max_new_tokens": 20, "stop": [stop]})
    assert got.finish == "stop"
    assert got.text == whole[: whole.index(stop)]
    assert got.tokens < 20


def test_generation_ends_with_a_token_that_ends_texts(folders: dict[str, Path], llama: Opened) -> None:
    ids, _ = peer_text(llama, "The cat", 6)
    last = next(token for token in ids if ids.index(token) > 0)
    one = opened(folders["llama"], "llama", 4, end_ids=(last,))
    got = one.generated("The cat")
    assert got.finish == "end"
    assert got.tokens == ids.index(last) + 1


def test_without_a_token_that_ends_texts_the_context_ends_them(folders: dict[str, Path]) -> None:
    one = opened(folders["llama"], "llama", 5, end_ids=())
    got = one.generated({"text": "The cat", "max_new_tokens": 1000})
    assert got.finish == "context"
    assert got.tokens + got.prompt_tokens == tiny_causal_lm.SLOTS
    assert one.generated({"text": "The cat", "max_new_tokens": 3}).finish == "length"


def test_results_are_json_and_a_line(llama: Opened) -> None:
    got = GeneratedText("a\nb ", 3, 2, "length")
    assert got.to_dict() == {"text": "a\nb ", "tokens": 3, "prompt_tokens": 2, "finish": "length"}
    assert str(got) == "a b"


def test_an_empty_prompt_is_the_token_that_begins_texts(folders: dict[str, Path], llama: Opened) -> None:
    assert llama.task.encode("").context.ids == (0,)
    with pytest.raises(DataRefused, match="an empty prompt"):
        opened(folders["llama"], "llama", 4, start_id=None).task.encode("")


def test_a_prompt_that_fills_the_context_is_refused_or_loses_its_beginning(llama: Opened) -> None:
    text = tiny_causal_lm.TEXTS[0] * 3
    with pytest.raises(DataRefused, match="tokens; expected at most 47 tokens"):
        llama.task.encode(text)
    kept = llama.task.encode({"text": text, "overflow": "keep-end", "max_new_tokens": 8}).context.ids
    assert list(kept) == tiny_causal_lm.tokenizer().encode(text).ids[-40:]


def test_ten_megabytes_are_answered_at_once(llama: Opened) -> None:
    text = "word " * 2_000_000
    begun = time.process_time()
    with pytest.raises(DataRefused, match="a prompt of 10000000 characters"):
        llama.task.encode(text)
    kept = llama.task.encode({"text": text, "overflow": "keep-end"})
    assert len(kept.context.ids) == 1  # 64 new tokens leave no room in a context of 48
    assert time.process_time() - begun < 1, "tokenizing all of it takes several seconds"
    assert len(llama.task.tokens(text)) == tiny_causal_lm.SLOTS


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(llama: Opened, bad: float) -> None:
    def broken(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs = dict(llama.source.run(feeds))
        outputs["logits"] = outputs["logits"].copy()
        outputs["logits"][..., 5] = bad
        return outputs

    with pytest.raises(DataRefused, match="logits that are not finite"):
        llama.task.answer(broken, [llama.task.encode("The cat")])
    feeds = llama.task.samples("The cat", llama.source.run)
    with pytest.raises(DataRefused, match="logits that are not finite"):
        llama.task.decode(broken(feeds), [feeds.context])


def test_decode_gives_the_next_token_of_each_text(llama: Opened) -> None:
    encoded = [llama.task.samples(text, llama.source.run) for text in ("The cat", tiny_causal_lm.TEXTS[3])]
    joined = {name: np.concatenate([one[name] for one in encoded]) for name in encoded[0]}
    results = llama.task.decode(llama.source.run(joined), [one.context for one in encoded])
    for text, result in zip(("The cat", tiny_causal_lm.TEXTS[3]), results, strict=True):
        assert result.text == peer_text(llama, text, 1)[1]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (3, "expected text"),
        ({"max_new_tokens": 3}, "expected text"),
        ({"text": "a", "temprature": 1}, r"settings \['temprature'\]"),
        ({"text": "a", "end_ids": [1]}, r"settings \['end_ids'\]"),
        ({"text": "a", "temperature": "hot"}, "settings as documented"),
        ({"text": "a", "max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"text": "a", "stop": [""]}, "stop = "),
        ({"text": "a", "stop": "."}, "stop = "),
        ({"text": "a", "overflow": "cut"}, "overflow = 'cut'"),
    ],
)
def test_prompts_and_settings_that_cannot_be_are_refused(llama: Opened, item: Any, says: str) -> None:
    with pytest.raises(DataRefused, match=says):
        llama.task.encode(item)


def test_another_graph_or_tokenizer_is_refused(folders: dict[str, Path], llama: Opened, tmp_path: Path) -> None:
    spec = llama.task.spec
    with pytest.raises(SpecRefused, match="without a tokenizer"):
        task_for(spec.replace(text=None), folders["llama"])
    with pytest.raises(SpecRefused, match="text-generation with ids"):
        task_for(spec.replace(inputs=(TensorSpec("ids", (1, 8), "int64"),)), folders["llama"])
    with pytest.raises(SpecRefused, match="a present_NAME for each past_NAME"):
        task_for(spec.replace(outputs=spec.outputs[:2]), folders["llama"])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SpecRefused, match="is not a tokenizer"):
        task_for(spec, tmp_path)
    narrow = (TensorSpec("logits", (None, 4, 200)), *spec.outputs[1:])
    with pytest.raises(SpecRefused, match="a tokenizer of 300 tokens for a model of 200"):
        task_for(spec.replace(outputs=narrow), folders["llama"])


def test_the_scorer_measures_perplexity_and_the_next_token(llama: Opened) -> None:
    scorer, surprise, count = llama.task.scorer(), 0.0, 0
    assert scorer is not None
    for text in tiny_causal_lm.TEXTS:
        feeds = llama.task.samples(text, llama.source.run)
        outputs = llama.source.run(feeds)
        worse = {**outputs, "logits": outputs["logits"] * np.float32(0.1)}
        scorer.update(outputs, worse, [None], [feeds.context])
        ids = torch.tensor([feeds.context.ids])
        with torch.no_grad():
            loss = llama.model(input_ids=ids, labels=ids).loss.item()
        surprise, count = surprise + loss * (ids.shape[1] - 1), count + ids.shape[1] - 1
    agreement, metrics = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert agreement.value == 1.0
    assert metrics is not None
    original, artifact = metrics
    assert original.value == pytest.approx(np.exp(surprise / count), rel=1e-4)
    assert artifact.value != original.value
    assert (original.higher_is_better, original.share, original.total) == (False, False, 4)


def test_labels_beside_texts_are_refused() -> None:
    assert TextGeneration.truth(Spec("text-generation"), None, "line 1") is None
    with pytest.raises(DataRefused, match="line 1: a label 'x'"):
        TextGeneration.truth(Spec("text-generation"), "x", "line 1")
