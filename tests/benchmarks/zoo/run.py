"""Run the conversion zoo.

    python -m tests.benchmarks.zoo.run --out results.jsonl [--only PATTERN] [--family keras|torch] [--recipes …]
    python -m tests.benchmarks.zoo.run --out results.jsonl --summary zoo.md

Every architecture runs in a child process with a time and a memory limit; a format that ends its child is noted as
a crash and the rest is taken up by a new child. Pieces already in the results are not done again.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.zoo import summary
from tests.benchmarks.zoo.child import all_entries
from tests.benchmarks.zoo.entries import Entry

ROOT = Path(__file__).resolve().parents[3]
FORMATS = ("tflite", "onnx")
Result = dict[str, Any]


def load(path: Path) -> list[Result]:
    """Results so far; the last one of a piece counts."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return list({(row["model"], row["format"], row["recipe"]): row for row in rows}.values())


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
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "2"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
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


def main() -> None:
    """Run what is asked for and print one line a piece."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON object a line")
    parser.add_argument("--only", default="*", help="shell patterns of names, separated by commas")
    parser.add_argument("--family", choices=["keras", "torch"])
    parser.add_argument("--recipes", default="fp32,int8,dynamic-int8")
    parser.add_argument("--again", action="store_true", help="do pieces again that did not pass")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one child")
    parser.add_argument("--memory", type=float, default=8, help="GiB for one child")
    parser.add_argument("--summary", type=Path, help="write the results as a Markdown table and do nothing else")
    options = parser.parse_args()
    if options.summary:
        options.summary.write_text(summary.markdown(load(options.out)))
        return
    recipes = options.recipes.split(",")
    patterns = options.only.split(",")
    for entry in all_entries():
        chosen = options.family in (None, entry.family)
        if not chosen or not any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns):
            continue
        done = {
            (row["format"], row["recipe"])
            for row in load(options.out)
            if row["model"] == entry.name and (row["status"] == "pass" or not options.again)
        }
        for row in run_entry(entry, recipes, done, (options.timeout, int(options.memory * 2**30))):
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(summary.line(row), flush=True)


if __name__ == "__main__":
    main()
