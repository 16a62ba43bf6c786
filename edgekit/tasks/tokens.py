"""What text tasks share: the tokenizer of a bundle, token tensors, and long texts in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, MissingExtra, SpecRefused
from edgekit.spec import Spec
from edgekit.tasks.base import Run, Task, context_of, joined

FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Name of an input of a BERT-like model -> what it is called in a tokenizer's encoding."""
MAX_CHARACTERS = 1_000_000
"""Longest text, some 400 pages: a longer one would take minutes, and gigabytes of windows."""


class HasWindows(Protocol):
    """The context of an input that may have become several samples."""

    @property
    def windows(self) -> int:
        """How many."""


class WindowedTextTask(Task):
    """A task whose texts, where they are longer than the model takes, become overlapping windows."""

    needs_context = True

    def answer(self, run: Run, feeds: Sequence[Mapping[str, Array]]) -> list[Any]:
        """Infer as many windows at once as there are inputs, and decode.

        Memory then does not grow with the text. And one input goes window by window, as parity was measured: artifacts
        with dynamic ranges take one range over all that is inferred at once.
        """
        whole = joined(feeds)
        count, step = len(next(iter(whole.values()))), len(feeds)
        outputs = [run({name: array[i : i + step] for name, array in whole.items()}) for i in range(0, count, step)]
        found = {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}
        return self.decode(found, [context_of(one) for one in feeds])


def require_tokens(spec: Spec) -> None:
    """Raise SpecRefused when a spec's inputs are not tokens, or nothing says how text becomes tokens."""
    names = [tensor.name for tensor in spec.inputs]
    if spec.text is None or any(name not in FIELDS for name in names):
        raise SpecRefused(
            f"{spec.task} with inputs {names}" + ("" if spec.text else " and no tokenizer"),
            expected=f"inputs among {', '.join(FIELDS)} and a tokenizer",
            remedy="pass --tokenizer tokenizer.json, or use --preset tensors",
        )


def sequence_length(spec: Spec) -> int:
    """Tokens a sample: the fixed sequence length of the inputs, else that of the spec's text encoding."""
    assert spec.text is not None  # noqa: S101  checked by require_tokens
    fixed = [tensor.shape[1] for tensor in spec.inputs if len(tensor.shape) == 2 and tensor.shape[1]]
    return fixed[0] or spec.text.max_length if fixed else spec.text.max_length


def token_feeds(spec: Spec, encodings: Sequence[Any]) -> dict[str, Array]:
    """Turn encodings of equal length into the spec's inputs.

    Args:
        spec: For names and dtypes.
        encodings: ``tokenizers.Encoding``, one a sample.

    Returns:
        Spec input name -> ``(len(encodings), length)``.
    """
    return {
        tensor.name: np.array([getattr(one, FIELDS[tensor.name]) for one in encodings], dtype=tensor.dtype)
        for tensor in spec.inputs
    }


def read_tokenizer(path: Path) -> Any:
    """Read a ``tokenizer.json``, with the truncation and padding that it says itself.

    Raises:
        MissingExtra: The tokenizers library is not installed.
        SpecRefused: The file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra(
            "text needs the tokenizers library, which is not installed", remedy="pip install 'edgekit-ai[text]'"
        ) from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise SpecRefused(f"{path} is not a tokenizer: {error}", expected="a Hugging Face tokenizer.json") from error


def open_tokenizer(path: Path, length: int) -> Any:
    """Open a ``tokenizer.json`` that cuts and pads to a length; raises as `read_tokenizer`."""
    tokenizer = read_tokenizer(path)
    tokenizer.enable_truncation(length, direction=(tokenizer.truncation or {}).get("direction", "right"))
    tokenizer.enable_padding(length=length, **_padding(tokenizer))
    return tokenizer


def _padding(tokenizer: Any) -> dict[str, Any]:
    padding = tokenizer.padding or {}
    pad = {key: padding[key] for key in ("pad_id", "pad_type_id", "pad_token", "direction") if key in padding}
    if pad:
        return pad
    token = next((t for t in ("[PAD]", "<pad>") if tokenizer.token_to_id(t) is not None), None)
    return {"pad_id": tokenizer.token_to_id(token), "pad_token": token} if token else {}


def checked_text(text: Any, what: str, limit: int = MAX_CHARACTERS) -> str:
    """Return a text that a tokenizer can take.

    Args:
        text: Perhaps a text.
        what: What it is called in messages, e.g. ``the context``.
        limit: Most characters.

    Raises:
        DataRefused: It is no text, holds nothing but white space, is too long or is not valid Unicode.
    """
    if not isinstance(text, str):
        raise DataRefused(f"{what} is {text!r:.80}", expected="a text")
    if len(text) > limit:
        raise DataRefused(f"{what} has {len(text)} characters", expected=f"at most {limit}", remedy="split the text")
    if not text.strip():
        raise DataRefused(f"{what} is empty", expected="a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataRefused(f"{what} has half a surrogate pair at {error.start}", expected="valid Unicode") from error
    return text


def windows_of(encoding: Any) -> list[Any]:
    """Return an encoding and what overflowed from it, in the order of the text."""
    return [encoding, *encoding.overflowing]


def by_context(outputs: Array, contexts: Sequence[HasWindows]) -> Iterator[Array]:
    """Split an output into the windows of each input.

    Args:
        outputs: ``(samples, …)``.
        contexts: One an input.

    Yields:
        ``(windows, …)`` of each input.

    Raises:
        DataRefused: The number of samples is another one.
    """
    wanted = sum(context.windows for context in contexts)
    if len(outputs) != wanted:
        raise DataRefused(f"outputs of {len(outputs)} samples", expected=f"{wanted}, one for each window of the texts")
    begin = 0
    for context in contexts:
        yield outputs[begin : begin + context.windows]
        begin += context.windows


def character_offsets(encodings: Sequence[Any], sequence: int = 0) -> Array:
    """Where in its text each token of one sequence comes from.

    Args:
        encodings: Windows of one input.
        sequence: 0 for a sentence, 1 for the second of a pair.

    Returns:
        ``(windows, tokens, 2)`` int32: start and end in characters; -1 for special tokens, padding and the other text.
    """
    offsets = np.array([one.offsets for one in encodings], np.int32).reshape(len(encodings), -1, 2)
    owners = np.array([one.sequence_ids for one in encodings], np.float32)  # NaN for special tokens and padding
    return np.where((owners == sequence)[:, :, None], offsets, np.int32(-1))


def stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space at its ends, which some tokenizers count to a token."""
    piece = text[start:end]
    kept = piece.strip()
    if not kept:
        return start, start
    start += len(piece) - len(piece.lstrip())
    return start, start + len(kept)
