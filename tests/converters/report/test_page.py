"""The page in Chromium: what people see, hear from a screen reader, press and print."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from edgekit.bundle import Manifest
from edgekit.metrics import Proportion
from edgekit.parity import OutputParity, Parity
from edgekit_converters.compare.align import Alignment
from edgekit_converters.compare.comparison import Comparison
from edgekit_converters.compare.layers import LayerError
from edgekit_converters.compare.tracing import Traced
from edgekit_converters.plan.store import write_plan
from edgekit_converters.report.findings import Benched, Case, Changes, Example, Findings, Operator, Swap, Timing
from edgekit_converters.report.page import render
from edgekit_converters.report.plans import read_plan
from tests.chromium import needed
from tests.converters.plan.mobilenetv2 import crowded_plan
from tests.converters.report.test_report import EVIL, plan_folder

TabOpener = Callable[..., Tab]
PHOTO = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
TIMING = Timing(
    "litert 2.3.0", 2, 2.0, 2.2, 2.9, 90.0, 64_000_000,
    (Operator("Convolution (NHWC, QC8) DWConv", 16, 1.2, 0.6), Operator("Add (ND)", 9, 0.8, 0.4)),
    ("the machine is busy",), {},
)  # fmt: skip


def layers(count: int) -> Comparison:
    """A comparison of so many layers; the third adds most."""

    def layer(place: int) -> LayerError:
        own = 0.2 if place == 2 else 0.01
        return LayerError(
            f"a/rather/long/name/of/a/layer/conv_{place}", "CONV_2D", "name", "int8", 0.05 + own, own, 0.05, own, 20.0,
            0.99, 1.0, 0.0, 0.1, 0.001, 0.1, -1.0, 1.0, -1.0, 1.0,
        )  # fmt: skip

    listed = tuple(layer(place) for place in range(count))
    output = OutputParity("scores", 0.05, 0.99, 0.2)
    parity = Parity(4, (output,), Proportion(4, 4))
    return Comparison(
        "net",
        "net.int8.tflite",
        "tflite",
        "golden",
        0.1,
        parity,
        None,
        Traced(listed, Alignment((), count, count), 4),
        (),
        (),
    )


@pytest.fixture
def findings(manifest: Manifest) -> Findings:
    """Everything that a page can show of a bundle; names are as long and as bad as they can be."""
    long = "a-very-long-name-of-a-class-without-any-place-to-break-it-in-two-" * 2
    examples = (Example("IMG_1.jpg", "cat", "cat 61 %", f"{EVIL} 52 %", 0.0, None, (PHOTO,), (240, 180)),) * 3
    changes = Changes("net.int8.tflite", "net.fp32.tflite", "photos", 100, 3, 2, 1, (Swap(long, EVIL, 3),), examples)
    fp32, fp16, int8 = manifest.artifacts
    cases = (Case(fp32, TIMING), Case(fp16), Case(int8, TIMING, layers(80), changes))
    named = replace(manifest, name=long, spec=manifest.spec.replace(labels=(EVIL, "dog", long)))
    return Findings(f"{long}.bundle", named, cases, Benched("a Pi 5", {int8.file: TIMING}, {}), (f"a note, {long}",))


@pytest.fixture
def page(findings: Findings, tmp_path: Path) -> Path:
    """A page of one bundle."""
    path = tmp_path / "one.html"
    path.write_text(render([findings]), encoding="utf-8")
    return path


@pytest.fixture
def large(findings: Findings, manifest: Manifest, tmp_path: Path) -> Path:
    """A page of two bundles and a plan."""
    path = tmp_path / "large.html"
    second = Findings.of_manifest("net.bundle", manifest)
    path.write_text(render([findings, second], [read_plan(plan_folder(tmp_path / "plan"))]), encoding="utf-8")
    return path


@pytest.mark.parametrize("which", ["page", "large"])
def test_it_is_valid_html(which: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    tidy = needed("tidy", "tidy")
    done = subprocess.run([tidy, "-q", "-e", "--show-errors", "99", path], check=False, capture_output=True, text=True)
    # Tidy knows no attributes of SVG.
    known = re.compile(r"<(svg|title|desc|g|rect|circle|line|path|text)> proprietary attribute")
    assert [line for line in done.stderr.splitlines() if not known.search(line)] == []
    assert done.returncode < 2


def test_the_validator_finds_what_is_wrong(page: Path) -> None:
    tidy = needed("tidy", "tidy")
    page.write_text(page.read_text().replace("</table>", "</tabel>", 1))
    done = subprocess.run([tidy, "-q", "-e", page], check=False, capture_output=True, text=True)
    assert "tabel" in done.stderr


@pytest.mark.parametrize("which", ["page", "large"])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_barrier(which: str, dark: bool, request: pytest.FixtureRequest, open_tab: TabOpener) -> None:
    tab = open_tab(request.getfixturevalue(which).as_uri(), dark=dark)
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(item => +item.tagName[1])")
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_wider_than_the_window(large: Path, open_tab: TabOpener, width: int) -> None:
    tab = open_tab(large.as_uri(), width)
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_it_asks_nothing_of_anybody(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab("about:blank")
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert said == []
    expect(tab).to_have_title(re.compile("^a-very-long-name"))


def test_the_policy_stops_a_request_and_a_script_that_get_in(page: Path, open_tab: TabOpener) -> None:
    evil = '<img src="http://127.0.0.1:9/x.png"><script>document.title = "owned"</script></main>'
    page.write_text(page.read_text().replace("</main>", evil))
    tab = open_tab("about:blank")
    failed: list[str | None] = []
    tab.on("requestfailed", lambda request: failed.append(request.failure))
    tab.goto(page.as_uri())
    assert failed in ([], ["csp"])
    assert tab.evaluate("document.querySelector('main img[src^=http]').naturalWidth") == 0
    assert tab.title() != "owned"


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A page of what `edgekit plan` measured of MobileNetV2: 58 variants, of which 28 were measured."""
    folder = tmp_path / "crowded"
    folder.mkdir()
    write_plan(folder, crowded_plan())
    path = tmp_path / "crowded.html"
    path.write_text(render([], [read_plan(folder)]), encoding="utf-8")
    return path


OVERLAPS = """paper => {
  const found = [];
  for (const chart of document.querySelectorAll(".chart")) {
    if (!chart.checkVisibility()) continue;
    const whole = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    const shapes = [...chart.querySelectorAll(".dot .shape")].map(shape => ["a point", shape.getBoundingClientRect()]);
    texts.forEach(([name, box], place) => {
      if (box.left < whole.left || box.right > document.documentElement.clientWidth) found.push(`${name} is cut`);
      const inset = 0.2 * box.height;  // the box of a text has room above and below its letters
      for (const [other, b] of [...texts.slice(place + 1), ...shapes])
        if (box.left < b.right && b.left < box.right && box.top + inset < b.bottom && b.top + inset < box.bottom)
          found.push(`${name} on ${other}`);
    });
  }
  return found;
}"""


@pytest.mark.parametrize(
    ("which", "width"), [("crowded", 320), ("crowded", 400), ("crowded", 1280), ("page", 320), ("page", 1280)]
)
@pytest.mark.parametrize("media", ["screen", "print"])
def test_no_name_lies_on_another(
    which: str, width: int, media: Literal["screen", "print"], request: pytest.FixtureRequest, open_tab: TabOpener
) -> None:
    tab = open_tab(request.getfixturevalue(which).as_uri(), width)
    tab.emulate_media(media=media)
    assert tab.evaluate(OVERLAPS) == []


def test_a_crowded_plan_names_what_matters_and_says_all_when_asked(crowded: Path, open_tab: TabOpener) -> None:
    tab = open_tab(crowded.as_uri(), 320)
    assert Axe().run(tab).violations_count == 0
    drawing = tab.locator(".chart").first
    assert drawing.locator(".name").all_text_contents() == ["onnx-int8", "tflite-int8"]
    expect(drawing).to_contain_text("latency, ms (logarithmic)")
    drawing.locator('[tabindex="0"]').focus()
    heard = []
    for _ in drawing.locator("[data-tip]").all():
        heard.append(tab.evaluate("document.activeElement.getAttribute('aria-label')"))
        tab.keyboard.press("ArrowRight")
    times = [float(time) for line in heard for time in re.findall(r"([\d.]+)\sms", line)[:1]]
    assert len(times) == len({line.partition(",")[0] for line in heard}) == 28
    assert times == sorted(times)  # from left to right, whatever is painted last


def marks(tab: Tab, chart: str) -> Any:
    return tab.locator(f'.chart:has([id="{chart}-d"]) [data-tip]')


def test_a_mark_tells_its_numbers_when_it_is_pointed_at(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab(page.as_uri())
    tip = tab.locator(".tip")
    expect(tip).to_be_hidden()
    marks(tab, "b0-metric-size").and_(tab.locator('[data-place="0"]')).locator(".shape").hover()
    expect(tip).to_be_visible()
    expect(tip).to_have_text(re.compile(r"int8 TFLite.*accuracy 89\.0.%.*1\.00.MB, 2\.00.ms"))
    lit = tab.locator("tr.lit th")
    expect(lit).to_have_text("int8 TFLite")
    tab.mouse.move(5, 5)
    expect(tip).to_be_hidden()
    expect(lit).to_have_count(0)


def test_marks_are_reached_with_the_keyboard(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab(page.as_uri(), 320)
    first = marks(tab, "b0-l2-adds").nth(0)
    first.focus()
    expect(tab.locator(".tip")).to_have_text(re.compile("^0: "))
    for key in ("ArrowRight", "ArrowRight"):
        tab.keyboard.press(key)
    expect(tab.locator(".tip")).to_have_text(re.compile(r"^2: .*conv_2.*alone at the outputs 0\.2"))
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')").startswith("2: ")
    box = tab.locator(".tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320
    tab.keyboard.press("End")
    expect(tab.locator(".tip")).to_have_text(re.compile("^79: "))
    tab.keyboard.press("Escape")
    expect(tab.locator(".tip")).to_be_hidden()
    stops = tab.locator('.chart:has([id="b0-l2-adds-d"]) [tabindex="0"]')
    expect(stops).to_have_count(1)  # Tab passes the drawing in one step


def test_accuracy_gives_way_to_agreement(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab(page.as_uri())
    accuracy, agreement = tab.locator("#b0-metric-panel"), tab.locator("#b0-agreement-panel")
    expect(accuracy).to_be_visible()
    expect(agreement).to_be_hidden()
    tab.get_by_role("radio", name="top-1 agreement").check()
    expect(agreement).to_be_visible()
    expect(accuracy).to_be_hidden()


def test_without_scripts_every_drawing_is_there(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab(page.as_uri(), java_script_enabled=False)
    expect(tab.locator("#b0-metric-panel")).to_be_visible()
    expect(tab.locator("#b0-agreement-panel")).to_be_visible()
    expect(tab.locator(".switch")).to_be_hidden()
    expect(tab.locator(".tip")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True])
def test_paper_is_white_and_a4(page: Path, open_tab: TabOpener, dark: bool) -> None:
    tab = open_tab(page.as_uri(), dark=dark)
    paper = tab.pdf(prefer_css_page_size=True)
    sizes = {
        tuple(round(float(side)) for side in box) for box in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)
    }
    assert sizes in ({(595, 842)}, {(596, 842)})
    tab.emulate_media(media="print")
    expect(tab.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(tab.locator("nav").first).to_be_hidden()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(tab.locator("details:not([open])")).to_have_count(0)  # what is folded would be lost on paper


def test_the_title_has_no_sheet_to_itself(
    crowded: Path, tmp_path: Path, open_tab: TabOpener, findings: Findings
) -> None:
    """Fault: each part of a page of several began on a new sheet, the first one too."""
    path = tmp_path / "both.html"
    path.write_text(render([findings], [read_plan(crowded.with_suffix(""))]), encoding="utf-8")
    tab = open_tab(path.as_uri())
    tab.emulate_media(media="print")
    assert tab.locator("article").count() == 2
    expect(tab.locator("article").first).to_have_css("break-before", "auto")
    expect(tab.locator("article").last).to_have_css("break-before", "page")


def test_a_class_called_like_a_script_stays_text(page: Path, open_tab: TabOpener) -> None:
    tab = open_tab(page.as_uri())
    expect(tab.locator("script")).to_have_count(1)
    expect(tab.get_by_text(f"{EVIL} 52 %").first).to_be_visible()
