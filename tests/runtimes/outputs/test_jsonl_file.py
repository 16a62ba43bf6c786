"""A file of JSON lines through crashes, full disks and a second process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.errors import DataRefused, EnvironmentFault
from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile
from edgekit_runtimes.outputs.sink import Answer

AnswerMaker = Callable[..., Answer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "results.jsonl"


@pytest.fixture
def whole(path: Path, make_answer: AnswerMaker) -> bytes:
    """Three lines, which are in the file too."""
    sink = JsonLinesFile(path)
    with sink:
        sink.answer(make_answer("a.jpg"))
        sink.failure("bad.jpg", DataRefused("bad.jpg is empty"))
        sink.answer(make_answer("été.jpg"))
    return path.read_bytes()


def inputs(path: Path) -> list[str]:
    return [json.loads(line)["input"] for line in path.read_text().splitlines()]


def test_each_line_is_there_at_once(path: Path, make_answer: AnswerMaker) -> None:
    sink = JsonLinesFile(path)
    with sink:
        assert sink.notice == ""
        sink.answer(make_answer("a.jpg"))
        assert inputs(path) == ["a.jpg"]
        sink.failure("b.jpg", DataRefused("x"))
        assert inputs(path) == ["a.jpg", "b.jpg"]


def test_a_cut_anywhere_is_mended_and_gone_on_from(path: Path, whole: bytes, make_answer: AnswerMaker) -> None:
    names = ["a.jpg", "bad.jpg", "été.jpg"]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        sink = JsonLinesFile(path)
        with sink:
            # A line that lacks nothing but its end is whole.
            done = whole[: size + 1].count(b"\n")
            assert sink.answered == set(names[:done])
            assert path.read_bytes() == whole[: len(b"".join(whole.splitlines(True)[:done]))]
            if sink.repaired:
                assert f"a torn last line ({sink.repaired} bytes) was cut off" in sink.notice
            sink.answer(make_answer("next.jpg"))
        assert inputs(path) == [*names[:done], "next.jpg"]


def test_failures_are_known_again(path: Path, whole: bytes) -> None:
    sink = JsonLinesFile(path)
    with sink:
        assert sink.failed == {"bad.jpg": "bad.jpg is empty"}
        assert "goes on after 3 inputs" in sink.notice
    assert path.read_bytes() == whole


def test_zeros_after_a_power_cut_are_cut_off(path: Path, whole: bytes) -> None:
    path.write_bytes(whole + b'{"input": "n' + bytes(100))
    sink = JsonLinesFile(path)
    with sink:
        assert sink.repaired == 112
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["my diary", "my diary\n", '{"input": 1}\n', '{"input": "a"}\n', "[1]\n", "\n"])
def test_a_file_of_something_else_is_left_alone(path: Path, whole: bytes, text: str) -> None:
    path.write_bytes(whole + text.encode())
    with pytest.raises(DataRefused, match="line 4 is not a result of a run"):
        JsonLinesFile(path)
    assert path.read_bytes() == whole + text.encode()


def test_a_disk_that_fills_up_leaves_whole_lines(
    path: Path, whole: bytes, make_answer: AnswerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system writes a part and then has no space left, as a real full disk does."""
    write = os.write
    parts: list[memoryview] = []

    def nearly_full(handle: int, data: memoryview) -> int:
        if parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        parts.append(data)
        return write(handle, data[:20])

    sink = JsonLinesFile(path)
    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        sink.answer(make_answer("lost.jpg"))
    assert path.read_bytes() == whole
    monkeypatch.undo()
    sink.answer(make_answer("later.jpg"))
    sink.close()
    assert inputs(path)[-2:] == ["été.jpg", "later.jpg"]


def test_a_device_that_is_full(make_answer: AnswerMaker) -> None:
    sink = JsonLinesFile(Path("/dev/full"))
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        sink.answer(make_answer())
    sink.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        JsonLinesFile(tmp_path / "file" / "results.jsonl")


WRITER = """
import sys
from pathlib import Path
from edgekit.tasks.classification import Classification, Label
from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile
from edgekit_runtimes.outputs.sink import Answer
sink = JsonLinesFile(Path(sys.argv[1]))
for number in range(10**9):
    sink.answer(Answer(f"{number}.jpg", Classification((Label(0, "cat" * 500, 1.0),))))
    if number == 20:
        print("started", flush=True)
"""


def test_two_processes_and_a_sigkill(path: Path, make_answer: AnswerMaker) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        with pytest.raises(EnvironmentFault, match="written by another process"):
            JsonLinesFile(path)
        process.kill()
    sink = JsonLinesFile(path)
    with sink:
        count = len(sink.answered)
        sink.answer(make_answer("after.jpg"))
    assert count > 20
    assert inputs(path) == [*(f"{i}.jpg" for i in range(count)), "after.jpg"]


def test_what_cannot_be_json_is_no_line(path: Path, whole: bytes, make_answer: AnswerMaker) -> None:
    with JsonLinesFile(path) as sink, pytest.raises(DataRefused, match="NaN"):
        sink.answer(make_answer(score=float("nan")))
    assert path.read_bytes() == whole
