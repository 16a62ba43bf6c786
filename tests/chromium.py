"""Debian's Chromium without a screen, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE = 20_000
"""Milliseconds."""


def needed(command: str, package: str) -> str:
    """Return a command's path; without it the test is skipped by name, and fails in CI."""
    path = shutil.which(command) or shutil.which(command, path="/usr/sbin:/usr/local/sbin")
    if path is None and os.environ.get("CI"):
        pytest.fail(f"no {command} in CI: apt-get install {package}")
    if path is None:
        pytest.skip(f"needs {command}, on Debian: apt-get install {package}")
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; not for a whole session, since its event loop keeps asyncio from other tests meanwhile."""
    from playwright.sync_api import sync_playwright

    command = needed("chromium", "chromium")
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=flags, timeout=3 * PATIENCE)
        yield browser
        browser.close()
