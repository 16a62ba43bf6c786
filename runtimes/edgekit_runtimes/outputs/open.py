"""What a word on the command line says about an output."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from edgekit.errors import EdgeKitError, UsageError
from edgekit_runtimes.outputs.records import Csv, Table, records_for
from edgekit_runtimes.outputs.sink import Sink

OUTPUTS = """
  -                          a table on standard output
  results.jsonl              JSON lines, each at once; an interrupted run goes on
  results.csv, results.txt   CSV or a table, in place when the run is over
  annotated.jpg              one photo with its result written in
  copies/                    a folder of pictures with the result written in
  clip.mp4, clip.avi         a video with the results written in
  window                     a window on the screen
  page, page:8081, page://0.0.0.0:8080   a live page for browsers
  mqtt[s]://[user[:password]@]host[:port]/topic   an MQTT broker"""
"""Every word there is, for messages and help."""

_PAGE = re.compile(r"page(?::(?P<port>\d{1,5})|://(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<at>\d{1,5}))?/?)?")


def open_sink(
    word: str,
    *,
    title: str = "edgekit",
    rate: float = 0.0,
    width: int = 0,
    kind: str = "table",
    stream: TextIO | None = None,
) -> Sink:
    """Open one output.

    Args:
        word: One of `OUTPUTS`.
        title: What runs, for windows, pages and devices.
        rate: Frames a second of the source, for videos; 0 where unknown.
        width: Of a table's first column in characters.
        kind: Form of ``-``, one of the records' ``FORMATS``.
        stream: What ``-`` writes to; standard output by default.

    Raises:
        UsageError: It is no output.
        EnvironmentFault: It cannot be opened on this machine.
    """
    if word == "-":
        return records_for(kind, stream or sys.stdout, width)
    if re.match(r"mqtts?:", word, re.IGNORECASE):
        return _mqtt(word, title)
    if word == "window":
        from edgekit_runtimes.outputs.window import Window

        return Window(title)
    if word == "page" or word.startswith("page:"):
        return _page(word, title)
    return _file(word, rate, width)


def open_sinks(
    words: Sequence[str],
    *,
    title: str = "edgekit",
    rate: float = 0.0,
    width: int = 0,
    kind: str = "table",
    lost: Callable[[EdgeKitError], None] = lambda fault: None,
) -> Sink:
    """Open outputs as one. When one cannot be opened, the others are closed again.

    Args:
        words: Each as for `open_sink`, which explains the rest; none twice.
        title: What runs.
        rate: Frames a second of the source.
        width: Of a table's first column.
        kind: Form of ``-``.
        lost: Called at once with the fault of an output that is lost during the run.
    """
    from edgekit_runtimes.outputs.several import Several

    opened = opened_each(words, title=title, rate=rate, width=width, kind=kind)
    return opened[0] if len(opened) == 1 else Several(opened, lost)


def opened_each(
    words: Sequence[str], *, title: str = "edgekit", rate: float = 0.0, width: int = 0, kind: str = "table"
) -> list[Sink]:
    """Open outputs; the arguments are those of `open_sinks`. When one cannot be opened, the others are closed again."""
    from edgekit_runtimes.outputs.several import Several

    if len(set(words)) < len(words):
        raise UsageError("an output is given twice", expected="each output once")
    opened: list[Sink] = []
    try:
        for word in words:
            opened.append(open_sink(word, title=title, rate=rate, width=width, kind=kind))  # noqa: PERF401  closed below
    except BaseException:
        Several(opened).close()
        raise
    return opened


def _file(word: str, rate: float, width: int) -> Sink:
    path = Path(word)
    if word.endswith("/") or path.is_dir():
        from edgekit_runtimes.outputs.folder import PictureFolder

        return PictureFolder(path)
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        from edgekit_runtimes.outputs.folder import PictureFile

        return PictureFile(path)
    if suffix in (".mp4", ".avi"):
        from edgekit_runtimes.outputs.video import VideoFile

        return VideoFile(path, rate)
    if suffix == ".jsonl":
        from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile

        return JsonLinesFile(path)
    if suffix in (".csv", ".txt"):
        from edgekit_runtimes.outputs.text_file import TextFile

        return TextFile(path, Csv if suffix == ".csv" else lambda stream: Table(stream, width))
    shown = re.sub(r"//[^/@]*@", "//…@", word)  # whatever stands where passwords stand
    raise UsageError(f"no output is called {shown!r}", expected=f"one of{OUTPUTS}")


def _page(word: str, title: str) -> Sink:
    from edgekit_runtimes.outputs.page import DEFAULT_HOST, DEFAULT_PORT, Page

    match = _PAGE.fullmatch(word)
    if match is None:
        raise UsageError(f"no page is called {word!r}", expected="page, page:PORT or page://HOST[:PORT]")
    port = match["port"] or match["at"] or DEFAULT_PORT
    return Page((match["host"] or DEFAULT_HOST).strip("[]"), int(port), title=title)


def _mqtt(word: str, title: str) -> Sink:
    from edgekit_runtimes.outputs.mqtt import Mqtt
    from edgekit_runtimes.outputs.mqtt_address import parse_address

    return Mqtt(parse_address(word), title)
