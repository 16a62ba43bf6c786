"""Video files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import DataRefused, EnvironmentFault, UsageError
from edgekit_runtimes.outputs.sink import Answer
from edgekit_runtimes.outputs.video import VideoFile, letterboxed

AnswerMaker = Callable[..., Answer]


def read(path: Path) -> list[np.ndarray]:
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (step := reader.read())[0]:
        frames.append(step[1])
    reader.release()
    return frames


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_frames_in_order_with_the_result(
    tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with VideoFile(path, rate=10) as sink:
        for number, frame in enumerate(frames):
            sink.answer(make_answer(f"clip frame {number}", picture=frame))
        assert path.read_bytes() == b"old"
    shown = read(path)
    assert [round(float(frame[:100].mean()) / 10) for frame in shown] == list(range(1, 21))
    assert all(frame[100:].max() > 200 for frame in shown)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert list(tmp_path.iterdir()) == [path]


def test_other_shapes_are_letterboxed(tmp_path: Path, make_answer: AnswerMaker) -> None:
    with VideoFile(tmp_path / "out.avi") as sink:
        for shape in ((321, 401, 3), (640, 360, 3)):
            sink.answer(make_answer(picture=np.full(shape, 200, np.uint8)))
    first, second = read(tmp_path / "out.avi")
    assert first.shape == second.shape == (320, 400, 3)
    assert second[100, :100].max() < 20
    assert second[100, 200].min() > 180


def test_letterbox_keeps_the_shape() -> None:
    boxed = letterboxed(np.full((100, 50, 3), 255, np.uint8), (200, 200))
    rows, columns = np.nonzero(boxed.min(axis=2) > 250)
    assert [int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1] == [200, 100]
    assert columns.min() == 50


def test_a_live_source_keeps_its_time(tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray]) -> None:
    """Too many frames are left out, missing ones repeated; a long gap is shortened."""
    with VideoFile(tmp_path / "out.avi", rate=10) as sink:
        for number, at in enumerate([100.0, 100.01, 100.02, 100.5, 1000.0, 1000.1]):
            sink.answer(make_answer(picture=frames[3 * number], captured=at))
    shown = [round(float(frame[:100].mean()) / 10) for frame in read(tmp_path / "out.avi")]
    assert shown == [1] + 5 * [10] + 100 * [13] + [16]


def test_no_frames_no_file(tmp_path: Path) -> None:
    VideoFile(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_an_old_video_survives_a_disk_that_is_full(
    tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray]
) -> None:
    """OpenCV does not say that it could not write; the file cut short stands for it."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    sink = VideoFile(path)
    for frame in frames:
        sink.answer(make_answer(picture=frame))
    (hidden,) = set(tmp_path.iterdir()) - {path}
    hidden.unlink()
    hidden.write_bytes(b"")
    with pytest.raises(EnvironmentFault, match="could not be written to its end"):
        sink.close()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_codec_that_is_missing(
    tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: object) -> None: ...

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    sink = VideoFile(tmp_path / "out.mp4")
    with pytest.raises(EnvironmentFault, match=r"426 x 320 at 25 frames/s cannot be opened(.|\n)*write \.avi"):
        sink.answer(make_answer(picture=frames[0]))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video(tmp_path: Path, make_answer: AnswerMaker) -> None:
    with pytest.raises(UsageError, match=r"expected a name ending in \.mp4 or \.avi"):
        VideoFile(tmp_path / "out.gif")
    with pytest.raises(DataRefused, match="no picture"):
        VideoFile(tmp_path / "out.mp4").answer(make_answer())
