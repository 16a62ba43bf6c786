"""One architecture in child processes with limits, in this process's or a cluster node's care."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.passing import PassingFolder
from tests.benchmarks.zoo.child import all_entries
from tests.benchmarks.zoo.entries import Entry

ROOT = Path(__file__).resolve().parents[3]
FORMATS = ("tflite", "onnx")
THREADS = 2
"""Of a child, and CPUs of a task."""
Result = dict[str, Any]


class Child:
    """One child process and what it says.

    Args:
        entry: The architecture.
        formats: Formats still to do.
        recipes: Recipes to do.
        folder: Where artifacts go.
        limits: Seconds for one child, and bytes of resident memory.
    """

    def __init__(
        self, entry: Entry, formats: list[str], recipes: list[str], folder: Path, limits: tuple[float, int]
    ) -> None:
        self.seconds, self.memory = limits
        self.log = (folder / "log").open("w+b")
        command = [sys.executable, "-m", "tests.benchmarks.zoo.child", entry.name, str(folder)]
        command += ["--formats", ",".join(formats), "--recipes", ",".join(recipes)]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": str(THREADS)}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,  # closed by our end, whatever brings it: then the child ends too
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
        self.verdict = ""

    def lines(self) -> Iterator[Result]:
        """What the child says, until it ends or meets a limit."""
        stream = self.process.stdout
        assert stream is not None
        begun, buffer = time.monotonic(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                if selector.select(timeout=1.0):
                    chunk = os.read(stream.fileno(), 65536)
                    if not chunk:
                        break
                    *whole, buffer = (buffer + chunk).split(b"\n")
                    yield from (json.loads(line) for line in whole if line.strip())
                if time.monotonic() - begun > self.seconds:
                    self._kill(f"timeout after {self.seconds:.0f} s")
                elif _resident(self.process.pid) > self.memory:
                    self._kill(f"more than {self.memory / 2**30:.0f} GiB of memory")
        code = self.process.wait()
        stream.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if code and not self.verdict:
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self.verdict = f"the process ended with {name}: {self._last_words()}"

    def _kill(self, verdict: str) -> None:
        self.verdict = verdict
        os.killpg(self.process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = [line for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-600:]


def _resident(pid: int) -> int:
    """Resident memory in bytes; 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    except (OSError, ProcessLookupError):
        pass
    return 0


def run_entry(
    entry: Entry, recipes: list[str], done: set[tuple[str, str]], limits: tuple[float, int]
) -> Iterator[Result]:
    """All pieces of an entry that are not done yet."""
    left = [name for name in FORMATS if any((name, recipe) not in done for recipe in recipes)]
    while left:
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            child = Child(entry, left, recipes, Path(folder), limits)
            current, finished = (left[0], "fp32"), set()
            for line in child.lines():
                if "start" in line:
                    current = (line["start"][0], line["start"][1])
                    continue
                finished.add((line["format"], line["recipe"]))
                yield line
            if not child.verdict:
                return
            if current not in finished:
                about = {"model": entry.name, "family": entry.family, "domain": entry.domain}
                yield {**about, "format": current[0], "recipe": current[1], "status": "crashed", "cause": child.verdict}
        left = left[left.index(current[0]) + 1 :]


@dataclass(frozen=True)
class Asked:
    """What is still to do of an architecture; a plain value that travels.

    Attributes:
        entry: Its name.
        recipes: To convert to.
        done: Formats and recipes that are there.
        limits: Seconds and bytes for one child.
    """

    entry: str
    recipes: tuple[str, ...]
    done: frozenset[tuple[str, str]]
    limits: tuple[float, int]

    def rows(self) -> Iterator[Result]:
        """Do it."""
        entry = next(item for item in all_entries() if item.name == self.entry)
        yield from run_entry(entry, list(self.recipes), set(self.done), self.limits)


def all_rows(asked: Asked) -> list[Result]:
    """All results of an architecture: a task on a cluster, whose processes are killed when they are not needed."""
    if not _folders:
        _folders.append(PassingFolder("edgekit-zoo-"))
        _folders[0].take_all()
    return list(asked.rows())


_folders: list[PassingFolder] = []
