"""A small real model on arrays, inputs for it by the hundred, and an engine that dies where it is told to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.spec import Spec, TensorSpec
from tests.fixtures.third_party import installed_engine
from tests.runtimes.conftest import make_bundle

Run = Callable[..., "subprocess.CompletedProcess[str]"]
WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
KEYWORDS = Spec(
    task="tensors",
    inputs=(TensorSpec("spectrogram", (1, 49, 10, 1)),),
    outputs=(TensorSpec("scores", (1, 12)),),
    labels=WORDS,
)
KILL_SELF, KILL_SELF_ONCE, KILL_PARENT_ONCE, INTERRUPT_ONCE = 666.0, 667.0, 668.0, 669.0
_ENGINE = """
import os
import signal
from pathlib import Path
from edgekit_runtimes.engines.litert import LiteRTEngine

class DeadlyEngine(LiteRTEngine):
    name = "deadly"

    def _run(self, feeds):
        order = float(next(iter(feeds.values())).flat[0])
        if order == 666:
            os.kill(os.getpid(), signal.SIGKILL)
        if 667 <= order <= 669:
            try:
                once = Path(os.environ["DEADLY_ONCE"])
                once.rename(once.with_name(f"pid-{os.getpid()}"))
            except FileNotFoundError:
                return super()._run(feeds)
            target = os.getppid() if order == 668 else os.getpid()
            os.kill(target, signal.SIGINT if order == 669 else signal.SIGKILL)
        return super()._run(feeds)
"""


@pytest.fixture(scope="session")
def keywords(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """MLPerf Tiny's keyword spotter, which takes spectrograms. Not to be changed by a test."""
    golden = {"spectrogram": np.random.default_rng(0).normal(0, 20, (1, 49, 10, 1)).astype(np.float32)}
    folder = tmp_path_factory.mktemp("bundles") / "keywords"
    return make_bundle(folder, KEYWORDS, {"int8": realpack / "models" / "ref" / "kws_ref_model.tflite"}, golden)


def write_arrays(folder: Path, count: int, orders: Mapping[int, float] | None = None) -> Path:
    """Write inputs of one sample each into two folders; some get an order for the deadly engine."""
    draw = np.random.default_rng(1)
    for number in range(count):
        array = draw.normal(0, 20, (1, 49, 10, 1)).astype(np.float32)
        if orders and number in orders:
            array.flat[0] = orders[number]
        path = folder / f"{number % 2}" / f"{number:04}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


@pytest.fixture(scope="session")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an installed engine called ``deadly``."""
    return installed_engine(tmp_path_factory.mktemp("deadly"), "deadly", "DeadlyEngine", _ENGINE)


@pytest.fixture
def once(tmp_path: Path) -> Path:
    """The file that lets the deadly engine follow an order; it is renamed ``pid-N`` when it has."""
    path = tmp_path / "once" / "token"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def run_deadly(keywords: Bundle, deadly: Path, once: Path) -> Run:
    """Run ``edgekit run`` on the deadly engine in a process of its own."""

    def run(source: Path, output: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
        paths = [str(deadly), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DEADLY_ONCE": str(once)}
        command = [str(Path(sys.executable).parent / "edgekit"), "run", str(keywords.path), str(source)]
        words = [*command, "-o", str(output), "--engine", "deadly", "--chunk", "16", *options]
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=300, env=environment)

    return run
