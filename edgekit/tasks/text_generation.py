"""Text generation: a prompt in, what a small decoder goes on with out, token by token.

The model is asked once a step; its graph is described in `edgekit.tasks.decoder_step`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.parity import Scorer
from edgekit.spec import Spec
from edgekit.tasks.base import Encoded, Run, Takes, Task, context_of
from edgekit.tasks.decoder_step import IDS, LOGITS, POSITION, Decoder, StepGraph, refuse_nan
from edgekit.tasks.sampling import Sampling, next_token
from edgekit.tasks.text_stream import Detokenizer, StopStrings, open_tokenizer

Finish = Literal["end", "stop", "length", "context"]
Overflow = Literal["refuse", "keep-end"]


@dataclass(frozen=True)
class TextGenerationOptions(Sampling):
    """Settings of `TextGeneration`.

    Attributes:
        max_new_tokens: Where generation ends at the latest.
        seed: Of what is drawn; the same seed, prompt and artifact give the same text.
        stop: Texts at which generation ends; they are not part of the result.
        end_ids: Tokens that end a text; none where the tokenizer has no such token.
        start_id: Token that an empty prompt stands for; ``None`` where there is none.
        overflow: A prompt that fills the context: ``refuse`` it, or ``keep-end`` and forget its beginning, which leaves
            room for ``max_new_tokens``.
    """

    max_new_tokens: int = 64
    seed: int = 0
    stop: tuple[str, ...] = ()
    end_ids: tuple[int, ...] = ()
    start_id: int | None = None
    overflow: Overflow = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        rules = {
            "max_new_tokens": (_whole(self.max_new_tokens) and self.max_new_tokens > 0, "a whole number above 0"),
            "seed": (_whole(self.seed) and self.seed >= 0, "a whole number, 0 or more"),
            "stop": (_all(self.stop, str) and all(self.stop), "a list of texts"),
            "end_ids": (_all(self.end_ids, int), "a list of token numbers"),
            "start_id": (self.start_id is None or _whole(self.start_id), "a token number"),
            "overflow": (self.overflow in get_args(Overflow), " or ".join(get_args(Overflow))),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise SpecRefused(f"{name} = {getattr(self, name)!r}", expected=expected)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


_OF_THE_MODEL = ("end_ids", "start_id")
SETTINGS = tuple(item.name for item in fields(TextGenerationOptions) if item.name not in _OF_THE_MODEL)
"""What may be set for a single prompt."""


@dataclass(frozen=True)
class Prompt:
    """What decoding has to know of an input.

    Attributes:
        ids: Tokens of the prompt.
        options: Settings for it.
    """

    ids: tuple[int, ...]
    options: TextGenerationOptions


@dataclass(frozen=True)
class GeneratedText:
    """What the model went on with.

    Attributes:
        text: The text behind the prompt.
        tokens: Tokens generated, with the one that ended the text.
        prompt_tokens: Tokens of the prompt.
        finish: ``end``: a token that ends texts; ``stop``: a stop string; ``length``: as many tokens as asked for;
            ``context``: the model holds no more.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finish: Finish

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        return " ".join(self.text.split())


class TextGeneration(Task):
    """Takes a text, or a mapping of ``text`` and settings for it; gives a `GeneratedText`.

    Attributes:
        options: Settings.
        graph: Sizes of the step.
    """

    name: ClassVar[str] = "text-generation"
    takes: ClassVar[Takes] = "text"
    needs_context = True

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if spec.text is None:
            raise SpecRefused(
                "text-generation without a tokenizer",
                expected="a tokenizer.json",
                remedy="pass --tokenizer FOLDER, the model's own",
            )
        self.graph = StepGraph.of(spec)
        self.options = spec.options_as(TextGenerationOptions)
        self._tokenizer = open_tokenizer((root or Path()) / spec.text.tokenizer)
        size = self._tokenizer.get_vocab_size()
        if size > self.graph.vocabulary:
            raise SpecRefused(
                f"a tokenizer of {size} tokens for a model of {self.graph.vocabulary}",
                expected="the model's own tokenizer",
            )
        # No token stands for more characters: what is longer than a full context of them need not be tokenized.
        self._longest = max(map(len, self._tokenizer.get_vocab()), default=1)

    def encode(self, item: str | Mapping[str, Any]) -> Encoded:
        """Turn a prompt into chunks with an empty cache; the context is a `Prompt`.

        Args:
            item: The prompt, or ``{"text": …}`` with any of `SETTINGS`.

        Raises:
            DataRefused: No text, an empty one for a model without a token that begins texts, one that fills the
                context, or a setting that there is not.
        """
        text, options = self._asked(item)
        return self._encoded(Prompt(self._prompt_ids(text, options), options))

    def samples(self, item: Any, run: Run) -> Encoded:
        """Turn a text into all of its steps, each with the cache that the original has filled by then.

        A text longer than the context is cut there.
        """
        text, options = self._asked(item)
        ids = self.tokens(text)
        steps = [
            {name: np.array(array) for name, array in feeds.items()} for feeds, _ in Decoder(self.graph, run).steps(ids)
        ]
        joined = {tensor.name: np.concatenate([step[tensor.name] for step in steps]) for tensor in self.spec.inputs}
        return Encoded(joined, Prompt(ids, options))

    def tokens(self, text: str) -> tuple[int, ...]:
        """Tokens of a text, cut at the context. Raises DataRefused when there are none."""
        ids = self._ids(text[: self.graph.slots * self._longest])[: self.graph.slots]
        if not ids:
            raise DataRefused("a text without tokens", expected="text")
        return tuple(ids)

    def _encoded(self, prompt: Prompt) -> Encoded:
        chunks = self.graph.chunks(prompt.ids)
        at = np.arange(len(chunks), dtype=np.int64)[:, None] * self.graph.chunk
        feeds = {IDS: chunks, POSITION: at, **self.graph.empty(len(chunks))}
        return Encoded({tensor.name: feeds[tensor.name] for tensor in self.spec.inputs}, prompt)

    def _asked(self, item: Any) -> tuple[str, TextGenerationOptions]:
        asked = dict(item) if isinstance(item, Mapping) else {"text": item}
        text = asked.pop("text", None)
        if not isinstance(text, str) or (unknown := set(asked) - set(SETTINGS)):
            received = f"settings {sorted(map(str, unknown))[:8]}" if isinstance(text, str) else f"{item!r:.80}"
            raise DataRefused(received, expected=f"text, and any of {', '.join(SETTINGS)}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in asked.items()
        }
        try:
            return text, replace(self.options, **values)
        except (SpecRefused, TypeError, ValueError) as error:
            raise DataRefused(str(error).splitlines()[0], expected="settings as documented") from error

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _prompt_ids(self, text: str, options: TextGenerationOptions) -> tuple[int, ...]:
        room = self.graph.slots - 1
        too_long = len(text) > room * self._longest
        if options.overflow == "keep-end":
            room = max(1, self.graph.slots - options.max_new_tokens)
            return tuple(self._ids(text[-self.graph.slots * self._longest :])[-room:]) or self._start(options)
        ids = () if too_long else tuple(self._ids(text))
        if too_long or len(ids) > room:
            raise DataRefused(
                f"a prompt of {f'{len(text)} characters' if too_long else f'{len(ids)} tokens'}",
                expected=f"at most {room} tokens, the context less one",
                remedy='shorten it, or set overflow = "keep-end"',
            )
        return ids or self._start(options)

    @staticmethod
    def _start(options: TextGenerationOptions) -> tuple[int, ...]:
        if options.start_id is None:
            raise DataRefused("an empty prompt", expected="text: this model has no token that begins one")
        return (options.start_id,)

    def stream(self, run: Run, feeds: Mapping[str, Array]) -> Generator[str, None, GeneratedText]:
        """Generate.

        Args:
            run: The model.
            feeds: What `encode` made of the prompt.

        Yields:
            Pieces of text as they come, none of them empty; together they are the result's text.

        Returns:
            The whole.

        Raises:
            DataRefused: The model gives logits that are NaN.
        """
        prompt: Prompt = context_of(feeds)
        return (yield from _Generation(self, prompt, run).pieces())

    def answer(self, run: Run, feeds: Sequence[Mapping[str, Array]]) -> list[Any]:
        """Generate for each prompt in turn; returns a `GeneratedText` each."""
        return [self._whole(run, one) for one in feeds]

    def _whole(self, run: Run, feeds: Mapping[str, Array]) -> GeneratedText:
        results: list[GeneratedText] = []

        def through() -> Generator[str, None, None]:
            results.append((yield from self.stream(run, feeds)))

        for _ in through():
            pass
        return results[0]

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return the one token that each text goes on with; `answer` generates more.

        Args:
            outputs: Of all chunks of all texts.
            contexts: Their `Prompt`.
        """
        results, begin = [], 0
        for prompt in contexts or ():
            count = len(self.graph.chunks(prompt.ids))
            rows = outputs[LOGITS][begin : begin + count].reshape(-1, self.graph.vocabulary)
            begin += count
            row = rows[len(prompt.ids) - 1]
            refuse_nan(row)
            text = self._tokenizer.decode([int(row.argmax())], skip_special_tokens=True)
            results.append(GeneratedText(text, 1, len(prompt.ids), "length"))
        return results

    def detokenizer(self, prompt: Prompt) -> Detokenizer:
        """What turns the tokens behind a prompt into text."""
        return Detokenizer(self._tokenizer, prompt.ids)

    def scorer(self) -> Scorer:
        """Perplexity and agreement on the next token."""
        from edgekit.tasks.perplexity import PerplexityScorer

        return PerplexityScorer(lambda prompt: prompt.ids)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> None:
        """A text is its own truth. Raises DataRefused for anything beside it."""
        if raw not in (None, ""):
            raise DataRefused(f"{where}: a label {raw!r:.40}", expected="text alone")


class _Generation:
    """One text being generated."""

    def __init__(self, task: TextGeneration, prompt: Prompt, run: Run) -> None:
        self._prompt, self._options = prompt, prompt.options
        self._room = task.graph.slots - len(prompt.ids)
        self._decoder = Decoder(task.graph, run)
        self._text, self._stops = task.detokenizer(prompt), StopStrings(prompt.options.stop)
        self._seen, self._tokens = set(prompt.ids), 0

    def pieces(self) -> Generator[str, None, GeneratedText]:
        shown: list[str] = []
        random = np.random.default_rng(self._options.seed)
        logits = self._decoder.feed(self._prompt.ids)
        while True:
            token = next_token(logits, self._seen, self._options, random)
            self._seen.add(token)
            self._tokens += 1
            ends = token in self._options.end_ids
            piece = self._stops.add(self._text.end() if ends else self._text.add(token))
            finish = self._finish(ends)
            if finish is not None and not self._stops.found:
                piece += self._stops.add(self._text.end())
                piece += self._stops.end()
                finish = self._finish(ends)
            if piece:
                shown.append(piece)
                yield piece
            if finish is not None:
                return GeneratedText("".join(shown), self._tokens, len(self._prompt.ids), finish)
            logits = self._decoder.feed([token])

    def _finish(self, ends: bool) -> Finish | None:
        if self._stops.found:
            return "stop"
        if ends:
            return "end"
        if self._tokens >= self._options.max_new_tokens:
            return "length"
        return "context" if self._tokens >= self._room else None
