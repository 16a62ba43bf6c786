"""The live page as Chromium shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from edgekit.tasks.classification import Classification, Label
from edgekit_runtimes.outputs.page import Page
from edgekit_runtimes.outputs.sink import Answer

AnswerMaker = Callable[..., Answer]
TabOpener = Callable[..., Tab]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("52580\n")
    with Page(port=0, thermal=tmp_path, title="webcam") as opened:
        assert isinstance(opened, Page)
        yield opened


def colour_in_the_middle(tab: Tab) -> list[int]:
    """Return the RGB that the tab shows in the middle of the picture."""
    shown = np.asarray(cv2.imdecode(np.frombuffer(tab.locator("#picture").screenshot(), np.uint8), cv2.IMREAD_COLOR))
    return [int(value) for value in shown[shown.shape[0] // 2, shown.shape[1] // 2][::-1]]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_it_shows_the_newest_frame_and_its_result(
    open_tab: TabOpener, page: Page, make_answer: AnswerMaker, width: int, dark: bool
) -> None:
    green = np.zeros((480, 640, 3), np.uint8)
    green[..., 1] = 180
    live = {"captured": 1.0, "age": 0.034, "rate": 29.7, "dropped": 1234}
    page.answer(make_answer("camera:0 frame 1", picture=green, **live))
    tab = open_tab(page.url, width, dark=dark)
    expect(tab.locator("#picture")).to_have_js_property("naturalWidth", 640)
    expect(tab.locator("#best")).to_have_text("cat")
    expect(tab.locator("#bars li, dd")).to_have_text(["cat75.0 %", "dog25.0 %", "30 /s", "34 ms", "1,234", "53 °C"])
    expect(tab.locator("#state")).to_have_text("live")
    assert (tab.locator(".fill").first.bounding_box() or {"width": 0})["width"] > 100
    red, bright, blue = colour_in_the_middle(tab)
    assert bright > 150
    assert max(red, blue) < 50
    ground = "rgb(14, 17, 22)" if dark else "rgb(244, 245, 247)"
    expect(tab.locator("body")).to_have_css("background-color", ground)
    assert tab.evaluate("document.documentElement.scrollWidth") == width

    page.answer(make_answer("camera:0 frame 2", label="bird", picture=green[..., ::-1] + np.uint8(10), **live))
    expect(tab.locator("#best")).to_have_text("bird")
    page.close()
    expect(tab.locator("#state")).to_have_text("ended")


def test_a_label_is_text_and_nothing_more(open_tab: TabOpener, page: Page, photo: np.ndarray) -> None:
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    labels = (Label(0, evil, 0.9), Label(1, evil, 0.1))
    page.answer(Answer(evil, Classification(labels), picture=photo))
    tab = open_tab("about:blank", 800)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.url, wait_until="domcontentloaded")
    expect(tab.locator("#best")).to_have_text(evil)
    expect(tab.locator("#input")).to_have_text(evil)
    expect(tab.locator("script")).to_have_count(1)
    expect(tab).to_have_title("webcam · edgekit")
    assert said == []


def test_the_policy_stops_a_script_that_gets_in(open_tab: TabOpener, page: Page, make_answer: AnswerMaker) -> None:
    page.answer(make_answer())
    tab = open_tab(page.url, 800)
    expect(tab.locator("#best")).to_have_text("cat")
    tab.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"document.title=`owned`\">');"
        "const s = document.createElement('script'); s.textContent = 'document.title=`owned`'; document.body.append(s)"
    )
    expect(tab.locator("img").nth(1)).to_have_js_property("complete", True)
    expect(tab).to_have_title("webcam · edgekit")


def test_the_token_gives_way_to_a_cookie(open_tab: TabOpener, make_answer: AnswerMaker, photo: np.ndarray) -> None:
    with Page(port=0, title="webcam", token="a-token-for-this-test") as page:
        assert isinstance(page, Page)
        page.answer(make_answer(picture=photo))
        tab = open_tab(page.url, 800)
        expect(tab.locator("#picture")).to_have_js_property("naturalWidth", photo.shape[1])
        assert tab.evaluate("location.search") == ""
        assert tab.evaluate("document.cookie") == ""
