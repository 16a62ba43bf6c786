"""The page itself: one HTML file that asks nothing of any server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.bundle import Manifest
from edgekit_converters.compare.table import short
from edgekit_converters.report import words
from edgekit_converters.report.findings import Findings, by_time
from edgekit_converters.report.plans import Plan
from edgekit_converters.report.scatter import BOTTOM, HEIGHT, LEFT, LINE, RIGHT, TOP, WIDTH
from edgekit_converters.report.views import Key, bundle_view, compared, plan_view, shown_name

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
_HERE = Path(__file__).parent / "template"


def manifest_page(folder: str, manifest: Manifest) -> str:
    """The page of a bundle from its manifest alone; the same every time.

    Args:
        folder: Name of the bundle's folder.
        manifest: What the bundle says of itself.
    """
    return render([Findings.of_manifest(folder, manifest)])


def render(bundles: Sequence[Findings], plans: Sequence[Plan] = (), *, data: str | None = None) -> str:
    """Write the page as HTML.

    Args:
        bundles: What is known of each.
        plans: Likewise.
        data: What the user gave as data; only its last part is shown.
    """
    views = [bundle_view(number, findings, data=shown_name(data)) for number, findings in enumerate(bundles)]
    chosen = [plan_view(number, plan) for number, plan in enumerate(plans)]
    names = [plan.name for plan in plans] + [findings.manifest.name for findings in bundles]
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    text: str = (
        _environment()
        .get_template("page.html")
        .render(
            title=names[0] if len(set(names)) == 1 else f"{len(names)} models side by side",
            bundles=views,
            plans=chosen,
            together=compared(views) if len(views) > 1 else None,
            together_legend=[Key(group, view.findings.folder) for group, view in enumerate(views)],
            single=len(views) + len(chosen) == 1,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )
    return text.lstrip()


def _hash(text: str) -> str:
    """What a Content-Security-Policy names an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,  # names, labels and files are other people's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names: dict[str, Any] = {"w": words, "by_time": by_time, "short": short}
    names.update(WIDTH=WIDTH, HEIGHT=HEIGHT, LEFT=LEFT, RIGHT=RIGHT, TOP=TOP, BOTTOM=BOTTOM, LINE=LINE)
    environment.globals.update(names)
    return environment
