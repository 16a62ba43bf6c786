"""The window, where OpenCV has none and where it has."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.outputs.sink import Answer
from edgekit_runtimes.outputs.window import Window

AnswerMaker = Callable[..., Answer]
SCREEN = {"DISPLAY": ":0"}


class Gui:
    """OpenCV's window functions, without a screen."""

    error = cv2.error
    WINDOW_NORMAL, WINDOW_KEEPRATIO, WND_PROP_VISIBLE = cv2.WINDOW_NORMAL, cv2.WINDOW_KEEPRATIO, cv2.WND_PROP_VISIBLE
    COLOR_RGB2BGR = cv2.COLOR_RGB2BGR
    cvtColor = staticmethod(cv2.cvtColor)

    def __init__(self) -> None:
        self.key, self.visible, self.open = -1, 1.0, False
        self.shown: list[np.ndarray] = []
        self.size = (0, 0)

    def namedWindow(self, title: str, flags: int) -> None:
        self.open = True

    def resizeWindow(self, title: str, width: int, height: int) -> None:
        self.size = (width, height)

    def imshow(self, title: str, picture: np.ndarray) -> None:
        self.shown.append(picture)

    def waitKey(self, milliseconds: int) -> int:
        return self.key

    def getWindowProperty(self, title: str, what: int) -> float:
        return self.visible

    def destroyWindow(self, title: str) -> None:
        self.open = False


def test_headless_opencv_has_no_window() -> None:
    with pytest.raises(EnvironmentFault, match=r"cannot open windows(.|\n)*'page'(.|\n)*opencv-python"):
        Window(environment=SCREEN)


def test_no_screen_over_ssh() -> None:
    gui = Gui()
    with pytest.raises(EnvironmentFault, match=r"no screen(.|\n)*'page'"):
        Window(gui=gui, environment={})
    assert not gui.open


def test_frames_are_shown_in_their_colours(make_answer: AnswerMaker) -> None:
    gui = Gui()
    red = np.zeros((1080, 1920, 3), np.uint8)
    red[..., 0] = 200
    with Window(gui=gui, environment=SCREEN) as window:
        window.answer(make_answer(picture=red))
        assert not window.stopped
        assert gui.open
    assert gui.shown[0][0, 0].tolist() == [0, 0, 200]
    assert gui.shown[0][-200:, :200].max() > 200
    assert gui.size == (1280, 720)
    assert not gui.open


@pytest.mark.parametrize(("key", "visible"), [(ord("q"), 1.0), (27, 1.0), (-1, 0.0)])
def test_q_and_closing_ask_for_the_end(make_answer: AnswerMaker, key: int, visible: float) -> None:
    gui = Gui()
    gui.key, gui.visible = key, visible
    with Window(gui=gui, environment=SCREEN) as window:
        window.answer(make_answer(picture=np.zeros((10, 10, 3), np.uint8)))
        assert window.stopped
        window.answer(make_answer(picture=np.zeros((10, 10, 3), np.uint8)))
    assert len(gui.shown) == 1
