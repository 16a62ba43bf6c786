"""Recordings that a person names on the command line.

Files, folders with everything below them and patterns such as ``'clips/*.wav'``, sorted by name; ``-?pcm=16000`` is one
recording on standard input, raw 16-bit samples of one channel. Long ones are read part by part.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import DataRefused, UsageError
from edgekit.sound.reading import SOUND_SUFFIXES, StreamedSound
from edgekit.spec import Spec
from edgekit_runtimes.inputs.item import Item, raiser
from edgekit_runtimes.inputs.uri import parse


def expand(word: str, spec: Spec) -> Iterator[Item]:  # sound is sound
    """Yield the recordings that a word stands for; what cannot be read is an item whose ``load`` raises.

    Raises:
        UsageError: The word names a camera or stream, or standard input without its sampling rate.
    """
    path = Path(word)
    if path.is_dir():
        yield from _folder(path)
    elif any(sign in word for sign in "*?[") and word[0] != "-" and not os.path.exists(word):
        yield from _matching(word)
    elif (address := None if path.exists() else parse(word)) is not None:
        if address.options.pcm is None:
            raise UsageError(
                f"{address.name} for a bundle that takes sound", expected="sound files, mic, or -?pcm=16000"
            )
        stream = StreamedSound(sys.stdin.buffer, address.options.pcm, address.name)
        yield Item(address.name, lambda: stream)
    else:
        yield Item(word, lambda: StreamedSound(path), Path(path.name))


def _folder(path: Path) -> Iterator[Item]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SOUND_SUFFIXES and file.is_file())
    if not files:
        refusal = DataRefused(f"{path} holds no sound", expected=f"files ending in {', '.join(SOUND_SUFFIXES)}")
        yield Item(str(path), raiser(refusal))
    for file in files:
        yield Item(str(file), lambda file=file: StreamedSound(file), file.relative_to(path))  # type: ignore[misc]


def _matching(pattern: str) -> Iterator[Item]:
    files = sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))
    if not files:
        yield Item(pattern, raiser(DataRefused(f"no file matches {pattern}", expected="sound files")))
    for file in files:
        yield Item(file, lambda file=file: StreamedSound(Path(file)), Path(Path(file).name))  # type: ignore[misc]
