"""Tokens back to text while they come: no half characters, and nothing that a stop string may yet take back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.tasks.tokens import read_tokenizer

_UNKNOWN = "\ufffd"
_HELD = 4  # tokens that one character can need: UTF-8 has at most four bytes


def open_tokenizer(path: Path) -> Any:
    """Open a ``tokenizer.json`` that neither pads nor cuts; raises as `read_tokenizer`."""
    tokenizer = read_tokenizer(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class Detokenizer:
    """Text of the tokens that follow a prompt.

    A token is decoded together with those before it, because spaces depend on them; what ends in an incomplete
    character is held until the character is whole.

    Args:
        tokenizer: Of the ``tokenizers`` library.
        prompt: Tokens before the first.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt)[-_HELD:]
        self._start, self._read = 0, len(self._ids)
        self._known = self._decode()

    def add(self, token: int) -> str:
        """Return the text that the token completes; empty when it completes none."""
        self._ids.append(token)
        text = self._decode()
        if text.endswith(_UNKNOWN) and len(self._ids) - self._read <= _HELD:
            return ""
        return self._take(text)

    def end(self) -> str:
        """Return what was held; an incomplete character is U+FFFD."""
        return self._take(self._decode())

    def _take(self, text: str) -> str:
        piece = text[len(self._known) :]
        if piece:
            self._start, self._read = self._read, len(self._ids)
            self._known = self._decode()
        return piece

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._ids[self._start :], skip_special_tokens=True))


class StopStrings:
    """Holds back text that may be the beginning of a stop string.

    Args:
        stops: The strings; the text ends before the first that appears.

    Attributes:
        found: Whether one has appeared.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def add(self, piece: str) -> str:
        """Return the text that cannot belong to a stop string any more."""
        self._held += piece
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.found = True
            shown, self._held = self._held[: min(places)], ""
            return shown
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def end(self) -> str:
        """Return what was held back."""
        shown, self._held = self._held, ""
        return shown

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the text that begins the stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)
