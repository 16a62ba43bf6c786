"""Engines that crash, hang or lie, installed as a third party's package is: with entry points of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ENGINES = '''
import os, signal, sys, threading
from pathlib import Path

import numpy as np

from edgekit.engine import Engine, TensorInfo
from edgekit.errors import EnvironmentFault, MissingExtra


class Honest(Engine):
    """Computes the doctor's tiny network with numpy."""

    name = "honest"
    formats = ("onnx",)

    def __init__(self, path, *, threads=None):
        assert path.read_bytes()[:1] == b"\\x08"
        self.inputs = (TensorInfo("x", (1, 3, 8, 8), "float32"),)
        self.outputs = (TensorInfo("y", (1, 4, 6, 6), "float32"),)

    @property
    def version(self):
        return "7.1"

    def _run(self, feeds):
        weights = (np.arange(108).reshape(4, 3, 3, 3) % 7 - 3).astype(np.float32) / 4
        windows = np.lib.stride_tricks.sliding_window_view(feeds["x"][0], (3, 3), axis=(1, 2))
        return {"y": np.maximum(np.einsum("cyxhw,ochw->oyx", windows, weights), 0)[np.newaxis]}


class Liar(Honest):
    name = "liar"

    def _run(self, feeds):
        return {"y": super()._run(feeds)["y"] * np.float32(1.1)}


class Crashing(Honest):
    name = "crashing"

    def __init__(self, path, *, threads=None):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hanging(Honest):
    name = "hanging"

    def _run(self, feeds):
        threading.Event().wait()


class Choosy(Honest):
    """Runs on two providers, of which one does not load."""

    name = "choosy"
    providers = ("good", "bad", "absent")

    def __init__(self, path, *, threads=None, provider="good"):
        super().__init__(path)
        if provider == "bad":
            raise EnvironmentFault("libbad.so is not there", remedy="sudo apt install libbad")

    @classmethod
    def available_providers(cls):
        return ("good", "bad")


class Absent(Honest):
    name = "absent"

    def __init__(self, path, *, threads=None):
        raise MissingExtra("it needs libabsent", remedy="pip install absent")
'''
BROKEN_MODULES = {
    "fake_import_crash": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "fake_import_hang": "import threading\nthreading.Event().wait()\n",
    "fake_import_error": "raise ZeroDivisionError('at import')\n",
}
POINTS = {
    **{name.lower(): f"fake_engines:{name}" for name in ("Honest", "Liar", "Crashing", "Hanging", "Choosy", "Absent")},
    **{module.removeprefix("fake_"): f"{module}:Engine" for module in BROKEN_MODULES},
}


@pytest.fixture
def fake_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install engines of `POINTS` by name, for this process and for its children."""

    def install(*names: str) -> None:
        site = tmp_path / "site"
        info = site / "fake_engines-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engines\nVersion: 1.0\n")
        lines = [f"{name} = {POINTS[name]}" for name in names]
        (info / "entry_points.txt").write_text("\n".join(["[edgekit.engines]", *lines, ""]))
        (site / "fake_engines.py").write_text(ENGINES)
        for module, text in BROKEN_MODULES.items():
            (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *(item for item in sys.path if item)]))

    return install
