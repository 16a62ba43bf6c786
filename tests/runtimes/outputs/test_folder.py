"""A folder of annotated pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import DataRefused, UsageError
from edgekit_runtimes.outputs.folder import PictureFile, PictureFolder, file_name
from edgekit_runtimes.outputs.sink import Answer

AnswerMaker = Callable[..., Answer]


def test_pictures_are_annotated_and_none_is_lost(
    tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray]
) -> None:
    with PictureFolder(tmp_path / "copies") as sink:
        for name in ("one/a.png", "two/a.png", "clip.mp4 frame 3"):
            sink.answer(make_answer(name, picture=frames[5]))
    names = sorted(path.name for path in (tmp_path / "copies").iterdir())
    assert names == ["a-2.jpg", "a.jpg", "clip.mp4 frame 3.jpg"]
    copy = np.asarray(cv2.imread(str(tmp_path / "copies" / "a.jpg")))
    assert copy.max() > 200  # the letters
    assert (frames[5] == 60).all()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a/b/c.jpg", "c.jpg"),
        ("rtsp://cam:554/stream frame 7", "stream frame 7.jpg"),
        ("camera:0 frame 3", "camera_0 frame 3.jpg"),
        ("..", "picture.jpg"),
        ("../../etc/.hidden", "hidden.jpg"),
        ("x" * 500 + ".png", "x" * 120 + ".jpg"),
    ],
)
def test_names_of_inputs_become_names_of_files(name: str, file: str) -> None:
    assert file_name(name) == file


def test_the_photo_itself_is_not_overwritten(
    tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray]
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"the original")
    with pytest.raises(UsageError, match="would overwrite"):
        PictureFolder(tmp_path).answer(make_answer(str(photo), picture=frames[0]))
    assert photo.read_bytes() == b"the original"


def test_a_sentence_cannot_be_drawn(tmp_path: Path, make_answer: AnswerMaker) -> None:
    with pytest.raises(DataRefused, match="there is no picture to draw"):
        PictureFolder(tmp_path).answer(make_answer("a sentence"))


def test_a_file_holds_one_picture(tmp_path: Path, make_answer: AnswerMaker, frames: list[np.ndarray]) -> None:
    path = tmp_path / "annotated.jpg"
    with PictureFile(path) as sink:
        sink.answer(make_answer("a.png", picture=frames[5]))
        first = path.read_bytes()
        with pytest.raises(DataRefused, match=r"b\.png: .*annotated\.jpg holds a\.png; .*\n.*-o .*annotated/"):
            sink.answer(make_answer("b.png", picture=frames[4]))
    assert path.read_bytes() == first
    assert np.asarray(cv2.imread(str(path))).max() > 200
    with pytest.raises(UsageError, match="would overwrite"):
        PictureFile(path).answer(make_answer(str(path), picture=frames[5]))
    assert path.read_bytes() == first
