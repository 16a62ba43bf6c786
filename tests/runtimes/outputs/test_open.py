"""Words for outputs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.outputs.folder import PictureFile, PictureFolder
from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile
from edgekit_runtimes.outputs.open import open_sink, open_sinks
from edgekit_runtimes.outputs.page import Page
from edgekit_runtimes.outputs.records import Csv, JsonLines, Table
from edgekit_runtimes.outputs.sink import Answer, Sink
from edgekit_runtimes.outputs.text_file import TextFile
from edgekit_runtimes.outputs.video import VideoFile

AnswerMaker = Callable[..., Answer]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("results.jsonl", JsonLinesFile),
        ("RESULTS.CSV", TextFile),
        ("results.txt", TextFile),
        ("out.mp4", VideoFile),
        ("out.avi", VideoFile),
        ("annotated.jpg", PictureFile),
        ("copies/", PictureFolder),
        ("there", PictureFolder),
        ("page:0", Page),
        ("page://localhost:0", Page),
        ("page://[::1]:0/", Page),
    ],
)
def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, kind: type[Sink]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with open_sink(word) as sink:
        assert type(sink) is kind


@pytest.mark.parametrize(("kind", "made"), [("table", Table), ("jsonl", JsonLines), ("csv", Csv)])
def test_standard_output(kind: str, made: type[Sink], make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    sink = open_sink("-", kind=kind, stream=stream)
    assert type(sink) is made
    sink.answer(make_answer())
    assert "cat" in stream.getvalue()


def test_what_a_page_listens_on() -> None:
    with open_sink("page://0.0.0.0:0") as sink:
        assert isinstance(sink, Page)
        assert "?token=" in sink.url
    with open_sink("page://[::1]:0") as sink:
        assert isinstance(sink, Page)
        assert sink.url.startswith("http://[::1]:")
        assert "token" not in sink.url


def test_a_rate_is_for_videos(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"), rate=29.97)
    assert isinstance(sink, VideoFile)
    assert sink.rate == 29.97


@pytest.mark.parametrize("word", ["results", "photo.gif", "x.jsonl.gz", "pages", "http://host", "rtsp://u:s3cret@h/x"])
def test_what_is_none_lists_what_there_is(word: str) -> None:
    with pytest.raises(
        UsageError, match=r"no output is called(.|\n)*results\.jsonl(.|\n)*window(.|\n)*mqtt"
    ) as refused:
        open_sink(word)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("word", ["page:", "page:http", "page:123456", "page://", "page://host:x", "page://a b"])
def test_what_is_no_page(word: str) -> None:
    with pytest.raises(UsageError, match=r"expected page, page:PORT or page://HOST\[:PORT\]"):
        open_sink(word)


def test_mqtt_words_are_refused_without_their_password() -> None:
    with pytest.raises(UsageError, match="the MQTT address") as refused:
        open_sink("MQTT://ann:s3cret@host")
    assert "s3cret" not in str(refused.value)


def test_several_words(tmp_path: Path, make_answer: AnswerMaker) -> None:
    words = [f"{tmp_path}/{name}" for name in ("a.csv", "a.jsonl", "copies/")]
    with open_sinks(words) as sink:
        sink.answer(make_answer("b.png", picture=np.zeros((40, 60, 3), np.uint8)))
    (tmp_path / "copies" / "b.jpg").unlink()
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.jsonl", "copies"]
    assert all((tmp_path / name).stat().st_size for name in ("a.csv", "a.jsonl"))


def test_one_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    with open_sink("page:0") as page:
        assert isinstance(page, Page)
        port = page.url.rstrip("/").rpartition(":")[2]
        with pytest.raises(EnvironmentFault, match="in use"):
            open_sinks([str(tmp_path / "a.jsonl"), f"page:{port}"])
    JsonLinesFile(tmp_path / "a.jsonl").close()  # it was locked otherwise


def test_the_same_output_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an output is given twice"):
        open_sinks([str(tmp_path / "a.csv")] * 2)
