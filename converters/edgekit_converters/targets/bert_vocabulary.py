"""The vocabulary of a BERT tokenizer as the text file that TFLite metadata knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MARKS = ("[CLS]", "[SEP]", "[UNK]")


def wordpiece_vocabulary(path: Path) -> bytes | None:
    """Read the words of a ``tokenizer.json``, one a line in the order of their numbers.

    Args:
        path: In the format of Hugging Face tokenizers.

    Returns:
        UTF-8; ``None`` where it is no WordPiece tokenizer of uncased BERT, the only kind that MediaPipe computes.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model, normalizer = content.get("model") or {}, content.get("normalizer") or {}
    kind = model.get("type"), model.get("continuing_subword_prefix"), normalizer.get("type")
    if kind != ("WordPiece", "##", "BertNormalizer") or not normalizer.get("lowercase"):
        return None
    words: dict[str, int] = model["vocab"]
    ordered = sorted(words, key=words.__getitem__)
    complete = [words[word] for word in ordered] == list(range(len(ordered)))
    if not complete or not words.keys() >= set(_MARKS) or any(set(word) & set("\r\n") for word in ordered):
        return None
    return "".join(f"{word}\n" for word in ordered).encode()
