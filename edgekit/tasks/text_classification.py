"""Text classification: a sentence (or a pair) in, the most probable classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, MissingExtra, SpecRefused
from edgekit.spec import Spec
from edgekit.tasks.base import Takes, Task
from edgekit.tasks.classification import classify, scores_output

_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


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
        unknown = [tensor.name for tensor in spec.inputs if tensor.name not in _FIELDS]
        if spec.text is None or unknown:
            raise SpecRefused(
                f"text-classification with inputs {[tensor.name for tensor in spec.inputs]}"
                + ("" if spec.text else " and no tokenizer"),
                expected=f"inputs among {', '.join(_FIELDS)} and a tokenizer",
                remedy="pass --tokenizer tokenizer.json, or use --preset tensors",
            )
        self._tokenizer = _open_tokenizer((root or Path()) / spec.text.tokenizer, self._length(spec))

    @staticmethod
    def _length(spec: Spec) -> int:
        """Tokens a sample: the fixed sequence length of the inputs, else the spec's."""
        assert spec.text is not None  # noqa: S101  checked in __init__
        fixed = [tensor.shape[1] for tensor in spec.inputs if len(tensor.shape) == 2 and tensor.shape[1]]
        return fixed[0] or spec.text.max_length if fixed else spec.text.max_length

    def encode(self, item: str | tuple[str, str]) -> dict[str, Array]:
        """Turn a sentence into token tensors ``(1, length)``; longer ones are cut, shorter ones padded."""
        texts = (item,) if isinstance(item, str) else tuple(item)
        if not all(isinstance(text, str) for text in texts) or len(texts) not in (1, 2):
            raise DataRefused(f"{item!r:.80}", expected="a sentence or a pair of sentences")
        encoding = self._tokenizer.encode(*texts)
        return {
            tensor.name: np.array([getattr(encoding, _FIELDS[tensor.name])], dtype=tensor.dtype)
            for tensor in self.spec.inputs
        }

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return a `Classification` for each sentence."""
        assert self.decides is not None  # noqa: S101  set in __init__
        return classify(outputs, self.spec, self.decides, self.top_k)


def _open_tokenizer(path: Path, length: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra(
            "text needs the tokenizers library, which is not installed", remedy="pip install 'edgekit-ai[text]'"
        ) from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise SpecRefused(f"{path} is not a tokenizer: {error}", expected="a Hugging Face tokenizer.json") from error
    padding = tokenizer.padding or {}
    pad = {key: padding[key] for key in ("pad_id", "pad_type_id", "pad_token") if key in padding}
    if not pad:
        token = next((t for t in ("[PAD]", "<pad>") if tokenizer.token_to_id(t) is not None), None)
        pad = {"pad_id": tokenizer.token_to_id(token), "pad_token": token} if token else {}
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, **pad)
    return tokenizer
