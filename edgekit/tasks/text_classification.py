"""Text classification: a sentence (or a pair) in, the most probable classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks.base import Takes, Task
from edgekit.tasks.classification import classify, scores_output
from edgekit.tasks.tokens import open_tokenizer, require_tokens, sequence_length, token_feeds


class TextClassification(Task):
    """Takes a sentence or a pair of sentences; gives a `Classification`.

    Inputs are found by their usual names: ``input_ids``, ``attention_mask`` and ``token_type_ids``.

    Attributes:
        top_k: Classes in a result.
    """

    name: ClassVar[str] = "text-classification"
    takes: ClassVar[Takes] = "text"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.decides = scores_output(spec)
        self.top_k = 5
        require_tokens(spec)
        assert spec.text is not None  # noqa: S101  checked by require_tokens
        self._tokenizer = open_tokenizer((root or Path()) / spec.text.tokenizer, sequence_length(spec))

    def encode(self, item: str | tuple[str, str]) -> dict[str, Array]:
        """Turn a sentence into token tensors ``(1, length)``; longer ones are cut, shorter ones padded."""
        texts = (item,) if isinstance(item, str) else tuple(item)
        if not all(isinstance(text, str) for text in texts) or len(texts) not in (1, 2):
            raise DataRefused(f"{item!r:.80}", expected="a sentence or a pair of sentences")
        return token_feeds(self.spec, [self._tokenizer.encode(*texts)])

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return a `Classification` for each sentence."""
        assert self.decides is not None  # noqa: S101  set in __init__
        return classify(outputs, self.spec, self.decides, self.top_k)
