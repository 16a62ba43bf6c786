"""Standard input: Motion JPEG and raw pictures, from a pipe and from a file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit_runtimes.inputs.live import LiveSource
from edgekit_runtimes.inputs.pipe import PipeCapture, PipeFrames

from .conftest import jpeg, number_in, picture

NUMBERS = [10, 60, 120, 180]
COUNT = (
    "import sys; from edgekit_runtimes.inputs.open import open_frames\n"
    "source = open_frames(sys.argv[1])\n"
    "with source:\n"
    "    shown = [round(float(frame.picture[..., 0].mean()), -1) for frame in source]\n"
    "print(source.live, shown, source.status.frames, source.status.dropped, source.status.damaged)\n"
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def test_each_jpeg_comes_and_the_end_of_the_pipe_is_the_end(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"".join(map(jpeg, NUMBERS)) + jpeg(1)[:100])
    os.close(writing)
    with PipeFrames("stdin", PipeCapture("stdin", descriptor=reading)) as source:
        frames = list(source)
        assert source.status.state == "ended"
    assert [round(number_in(frame.picture), -1) for frame in frames] == NUMBERS
    assert [frame.number for frame in frames] == [0, 1, 2, 3]


def test_raw_pictures(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sent = [picture(number, 8, 6) for number in NUMBERS]
    os.write(writing, b"".join(array.tobytes() for array in sent) + b"half")
    os.close(writing)
    got = [frame.picture for frame in PipeFrames("stdin", PipeCapture("stdin", (8, 6), reading))]
    np.testing.assert_array_equal(got, sent)


def test_live_the_newest_is_given_and_the_last_one_is_not_lost(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with LiveSource("stdin", lambda: PipeCapture("stdin", descriptor=reading)) as source:
        os.write(writing, jpeg(10))
        frames = iter(source)
        assert round(number_in(next(frames).picture), -1) == 10
        os.write(writing, b"".join(map(jpeg, NUMBERS)))
        os.close(writing)
        assert round(number_in(list(frames)[-1].picture), -1) == NUMBERS[-1]
        assert source.status.state == "ended"
        assert source.status.frames == 1 + len(NUMBERS)


def test_damaged_jpegs_are_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    whole = jpeg(10)
    os.write(writing, whole[: len(whole) * 3 // 4] + jpeg(60))
    os.close(writing)
    with PipeFrames("stdin", PipeCapture("stdin", descriptor=reading)) as source:
        assert len(list(source)) == 1
        assert source.status.damaged == 1


@pytest.mark.parametrize(
    ("size", "said"), [(None, "expected JPEG pictures"), ((640, 480), "expected 921600 bytes a picture")]
)
def test_what_is_no_picture_is_refused(pipe: tuple[int, int], size: tuple[int, int] | None, said: str) -> None:
    reading, writing = pipe
    os.write(writing, b"no picture")
    os.close(writing)
    with pytest.raises(DataRefused, match=said):
        list(LiveSource("stdin", lambda: PipeCapture("stdin", size, reading)))


def test_closing_wakes_who_waits(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    for source in (
        PipeFrames("stdin", PipeCapture("stdin", descriptor=reading)),
        LiveSource("stdin", lambda: PipeCapture("stdin", descriptor=reading)),
    ):
        thread = threading.Thread(target=list, args=(source,))
        thread.start()
        source.close()
        thread.join(2)
        assert not thread.is_alive()
    os.close(writing)


@pytest.mark.parametrize(("word", "live"), [("-", True), ("-?every=yes", False)])
def test_the_standard_input_of_a_real_process(word: str, live: bool) -> None:
    data = b"".join(map(jpeg, NUMBERS))
    done = subprocess.run([sys.executable, "-c", COUNT, word], input=data, check=True, capture_output=True)
    said = done.stdout.decode().split(" ", 1)
    assert said[0] == str(live)
    assert "180.0]" in said[1]
    if not live:
        assert said[1].strip() == "[10.0, 60.0, 120.0, 180.0] 4 0 0"


def test_a_file_as_standard_input_gives_each_picture(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mjpeg"
    clip.write_bytes(b"".join(map(jpeg, NUMBERS)))
    with clip.open("rb") as stream:
        done = subprocess.run([sys.executable, "-c", COUNT, "-"], stdin=stream, check=True, capture_output=True)
    assert done.stdout.decode().strip() == "False [10.0, 60.0, 120.0, 180.0] 4 0 0"
