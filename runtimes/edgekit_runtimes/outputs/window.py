"""A window on the screen that shows the annotated frames."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.outputs.pictures import drawn
from edgekit_runtimes.outputs.sink import Answer, Sink

_QUIT = (ord("q"), ord("Q"), 27)  # 27: Esc


class Window(Sink):
    """Shows each answer; the keys q and Esc, and closing the window, ask for the end.

    Args:
        title: Of the window.
        gui: OpenCV, or what stands for it.
        environment: Where the display is named.

    Raises:
        EnvironmentFault: There is no screen, or OpenCV is built without windows.
    """

    wants_pictures = True

    def __init__(self, title: str = "edgekit", gui: Any = None, environment: Mapping[str, str] = os.environ) -> None:
        # Without a display the toolkit below OpenCV ends the whole process.
        if sys.platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
            raise EnvironmentFault(
                "there is no screen for a window: neither DISPLAY nor WAYLAND_DISPLAY is set",
                remedy="use the output 'page' and open it in a browser, also over SSH",
            )
        if gui is None:
            import cv2 as gui
        self._gui = gui
        self._title = title
        self._stopped = False
        self._shown = False
        try:
            gui.namedWindow(title, gui.WINDOW_NORMAL | gui.WINDOW_KEEPRATIO)
        except gui.error as error:
            raise EnvironmentFault(
                "this OpenCV cannot open windows; opencv-python-headless has none",
                remedy="use the output 'page', or: pip uninstall opencv-python-headless && pip install opencv-python",
            ) from error

    @property
    def stopped(self) -> bool:
        """Whether q or Esc was pressed or the window was closed."""
        return self._stopped

    def answer(self, answer: Answer) -> None:
        """Show one answer. Raises DataRefused when the input is no picture."""
        if self._stopped:
            return
        picture = drawn(answer)
        if not self._shown:
            self._gui.resizeWindow(self._title, *_fitting(picture.shape[1], picture.shape[0]))
        self._gui.imshow(self._title, self._gui.cvtColor(picture, self._gui.COLOR_RGB2BGR))
        self._shown = True
        key = self._gui.waitKey(1) & 0xFF
        self._stopped = key in _QUIT or self._gui.getWindowProperty(self._title, self._gui.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window."""
        try:
            self._gui.destroyWindow(self._title)
        except self._gui.error:
            return  # its user has closed it


def _fitting(width: int, height: int, most: tuple[int, int] = (1280, 720)) -> tuple[int, int]:
    scale = min(1.0, most[0] / width, most[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
