"""Fixtures that all tests share."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from tests.chromium import PATIENCE, chromium
from tests.fixtures.ray_cluster import two_nodes as started_nodes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Machines that test are shared and slow at times; the same examples every time, so that a failure can be seen again.
settings.register_profile("edgekit", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile("edgekit")

# What a shell runs in the background ignores Ctrl-C, and its children with it; tests of Ctrl-C need it to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]
Answers = dict[str, dict[str, NDArray[np.float32]]]
TabOpener = Callable[..., "Page"]
Answerer = Callable[[list[tuple[Path, Path]]], Answers]


@pytest.fixture(scope="session")
def realpack() -> Path:
    """The folder of real models and data; the test is skipped by name where it is not at hand (never in CI)."""
    folder = os.environ.get("EDGEKIT_DATA")
    if folder and Path(folder, "README.md").is_file():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail("EDGEKIT_DATA is not set or empty in CI: the real-model tests cannot run")
    pytest.skip("EDGEKIT_DATA is not set: needs the real models and data")


@dataclass(frozen=True)
class TwoNodes:
    """A Ray cluster on this machine.

    Attributes:
        address: To join it.
        folders: Current folders of the workers of each node.
        temporary: Where workers make their temporary files.
    """

    address: str
    folders: tuple[Path, Path]
    temporary: Path


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """Two nodes of Ray, with two of Ray's CPUs each."""
    folders = tmp_path_factory.mktemp("head"), tmp_path_factory.mktemp("other")
    # Ray's sockets lie below it, and the kernel bounds the length of their paths.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as temporary,
        started_nodes(folders, cpus=2, environment={"TMPDIR": temporary}) as address,
    ):
        yield TwoNodes(address, folders, Path(temporary))


@pytest.fixture(scope="session")
def edgekit_command() -> CommandRunner:
    """Run the installed `edgekit` command as a user would."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "edgekit"), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, **options)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture(scope="session")
def haswell(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    """Give what artifacts answer on an emulated Haswell, an x86-64 CPU with AVX2 but without VNNI.

    The function takes pairs of an artifact and an ``.npz`` with inputs; its answers are those of
    ``fixtures/answers.py``. Tests are skipped by name where there is no emulator (never in CI).
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"needs a Python for x86-64 to emulate, this one is for {platform.machine()}")
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None and os.environ.get("CI"):
        pytest.fail("no qemu-x86_64 in CI: int8 on CPUs without VNNI cannot be checked")
    if emulator is None:
        pytest.skip("needs qemu-x86_64, on Debian and Ubuntu: apt-get install qemu-user-static")
    cpu = (emulator, "-cpu", "Haswell")

    def run(pairs: list[tuple[Path, Path]]) -> Answers:
        folder = tmp_path_factory.mktemp("haswell")
        script = Path(__file__).parent / "fixtures" / "answers.py"
        command = [*cpu, sys.executable, str(script), str(folder), *(str(path) for pair in pairs for path in pair)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a screen; see `tests.chromium`."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[TabOpener]:
    """Open an address in a window of a width, in CSS pixels; the tab ends with the test."""
    tabs = []

    def opener(url: str, width: int = 1280, *, dark: bool = False, **more: object) -> Page:
        scheme = "dark" if dark else "light"
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, **more)  # type: ignore[arg-type]
        tabs.append(tab)
        tab.set_default_timeout(PATIENCE)
        tab.goto(url, wait_until="domcontentloaded")  # a page with a stream is never loaded to its end
        return tab

    yield opener
    for tab in tabs:
        tab.close()
