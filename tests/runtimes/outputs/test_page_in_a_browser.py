"""The live page as Chromium shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.tasks.classification import Classification, Label
from edgekit_runtimes.outputs.page import Page
from edgekit_runtimes.outputs.sink import Answer
from tests.runtimes.outputs.browser import Browser

AnswerMaker = Callable[..., Answer]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("52580\n")
    with Page(port=0, thermal=tmp_path, title="webcam") as opened:
        assert isinstance(opened, Page)
        yield opened


def colour_in_the_middle(browser: Browser) -> list[int]:
    """Return the RGB that the tab shows in the middle of the picture."""
    x, y = browser.value(
        "(r => [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)])"
        "(document.getElementById('picture').getBoundingClientRect())"
    )
    shown = np.asarray(cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR))
    return [int(value) for value in shown[y, x][::-1]]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_it_shows_the_newest_frame_and_its_result(
    browser: Browser, page: Page, make_answer: AnswerMaker, width: int, dark: bool
) -> None:
    green = np.zeros((480, 640, 3), np.uint8)
    green[..., 1] = 180
    live = {"captured": 1.0, "age": 0.034, "rate": 29.7, "dropped": 1234}
    page.answer(make_answer("camera:0 frame 1", picture=green, **live))
    browser.look(page.url, width, dark=dark)
    browser.until("document.getElementById('picture').naturalWidth", lambda value: value == 640)
    browser.until("document.getElementById('best').textContent", lambda value: value == "cat")
    browser.until("parseFloat(getComputedStyle(document.querySelector('.fill')).width) > 100")
    shown = browser.value("[...document.querySelectorAll('#bars li, dd')].map(item => item.textContent)")
    assert shown == ["cat75.0 %", "dog25.0 %", "30 /s", "34 ms", "1,234", "53 °C"]
    assert browser.value("document.getElementById('state').textContent") == "live"
    red, bright, blue = colour_in_the_middle(browser)
    assert bright > 150
    assert max(red, blue) < 50
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 17, 22)" if dark else "rgb(244, 245, 247)")
    assert browser.value("document.documentElement.scrollWidth") == width

    page.answer(make_answer("camera:0 frame 2", label="bird", picture=green[..., ::-1] + np.uint8(10), **live))
    browser.until("document.getElementById('best').textContent", lambda value: value == "bird")
    page.close()
    browser.until("document.getElementById('state').textContent", lambda value: value == "ended")


def test_a_label_is_text_and_nothing_more(browser: Browser, page: Page, photo: np.ndarray) -> None:
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    labels = (Label(0, evil, 0.9), Label(1, evil, 0.1))
    browser.messages.clear()
    page.answer(Answer(evil, Classification(labels), picture=photo))
    browser.look(page.url, 800)
    browser.until("document.getElementById('best').textContent", lambda value: value == evil)
    assert browser.value("document.getElementById('input').textContent") == evil
    assert browser.value("document.querySelectorAll('script').length") == 1
    assert browser.value("document.title") == "webcam · edgekit"
    assert browser.messages == []


def test_the_policy_stops_a_script_that_gets_in(browser: Browser, page: Page, make_answer: AnswerMaker) -> None:
    page.answer(make_answer())
    browser.look(page.url, 800)
    browser.until("document.getElementById('best').textContent", lambda value: value == "cat")
    browser.value(
        "document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"document.title=`owned`\">');"
        "const s = document.createElement('script'); s.textContent = 'document.title=`owned`'; document.body.append(s)"
    )
    browser.until("document.images.length == 2 && document.images[1].complete")
    assert browser.value("document.title") == "webcam · edgekit"


def test_the_token_gives_way_to_a_cookie(browser: Browser, make_answer: AnswerMaker, photo: np.ndarray) -> None:
    with Page(port=0, title="webcam", token="a-token-for-this-test") as page:
        assert isinstance(page, Page)
        page.answer(make_answer(picture=photo))
        browser.look(page.url, 800)
        browser.until("document.getElementById('picture')?.naturalWidth", lambda value: value == photo.shape[1])
        assert browser.value("location.search") == ""
        assert browser.value("document.cookie") == ""
