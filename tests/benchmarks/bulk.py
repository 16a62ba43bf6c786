"""Bulk inference: what a kill costs, what memory does, and what each way of running costs over a plain loop.

    EDGEKIT_DATA=… python -m tests.benchmarks.bulk [--inputs 100000] [--kills 20] [--keep FOLDER]

Generates inputs (spectrograms of MLPerf Tiny's keyword spotter, one ``.npy`` file each, in folders of a thousand) and
answers them with the int8 model

- in a plain sequential loop over the bundle: ``predictor.predict(np.load(path)[0])``, results as JSON lines;
- by ``edgekit run … -o results.parquet`` in one process, with ``--workers 2``, and on a Ray cluster of two nodes of one
  core each, started here;
- once more with ``--workers 2``, killed at random with SIGKILL, until it is done.

Every run is timed with all inputs and with a tenth of them: the slope is the time an input, the rest the start. The
published files must be the same to the byte. Memory is the resident set of the command and its processes, ten times a
second. Writes the table of ``docs/bulk.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit.binding import Binding
from edgekit.bundle import Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.engine import open_engine
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Spec, TensorSpec
from tests.benchmarks.document import rewrite
from tests.benchmarks.processes import family, reading
from tests.fixtures.ray_cluster import two_nodes

PAGE = Path(__file__).parents[2] / "docs" / "bulk.md"
MODEL = "models/ref/kws_ref_model.tflite"
WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
EDGEKIT = str(Path(sys.executable).parent / "edgekit")
LOOP = """
import json, os, sys
import numpy as np
from edgekit_runtimes.predictor import load
folder, out = sys.argv[2:]
with load(sys.argv[1], threads=1) as predictor, open(out, "w") as stream:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(root, name)
            try:
                result = predictor.predict(np.load(path)[0])
            except ValueError:
                continue
            stream.write(json.dumps({"input": path, "result": result.to_dict()}) + "\\n")
"""


@dataclass
class Timed:
    """One finished command.

    Attributes:
        seconds: Wall time.
        memory: Resident bytes of it and its processes, in order of time.
    """

    seconds: float
    memory: list[int] = field(default_factory=list)


def make_bundle(folder: Path) -> Bundle:
    """Wrap the keyword spotter in a bundle that takes arrays."""
    source = Path(os.environ["EDGEKIT_DATA"]) / MODEL
    folder.mkdir(parents=True)
    (folder / "model.int8.tflite").write_bytes(source.read_bytes())
    with open_engine(source, threads=1) as engine:
        (entry,), (result,) = engine.inputs, engine.outputs
    spec = Spec(
        task="tensors",
        inputs=(TensorSpec("spectrogram", entry.shape),),
        outputs=(TensorSpec("scores", result.shape),),
        labels=WORDS,
    )
    parity = Parity(1, (OutputParity("scores", 0.0, 1.0, 0.0),))
    artifact = Artifact(
        file="model.int8.tflite",
        format="tflite",
        recipe="int8",
        bytes=source.stat().st_size,
        inputs=(Binding("spectrogram", entry.name, entry.shape, entry.dtype),),
        outputs=(Binding("scores", result.name, result.shape, result.dtype),),
        parity=parity,
        golden=parity,
        latency_ms=1.0,
    )
    shape = [size or 1 for size in entry.shape]
    write_golden(
        folder, {"spectrogram": np.zeros(shape, np.float32)}, {"scores": np.zeros((1, len(WORDS)), np.float32)}
    )
    write_manifest(folder, Manifest(name="keywords", spec=spec, artifacts=(artifact,)))
    return Bundle(folder)


def generate(folder: Path, inputs: int, shape: Sequence[int]) -> None:
    """Write the inputs; one in a thousand is damaged."""
    draw = np.random.default_rng(0)
    for number in range(inputs):
        path = folder / f"{number // 1000:04}" / f"{number % 1000:03}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, draw.normal(0, 20, (1, *shape)).astype(np.float32))
        if number % 1000 == 500:
            path.write_bytes(b"damaged")


def run(words: Sequence[str], *, codes: Sequence[int] = (0, 6)) -> Timed:
    """Run a command to its end."""
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        timed = Timed(0.0)
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, timed.memory, ended))
        watcher.start()
        said = process.communicate()[1]
        ended.set()
        watcher.join()
    timed.seconds = time.perf_counter() - start
    if process.returncode not in codes:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
    return timed


def _watch(pid: int, memory: list[int], ended: threading.Event) -> None:
    while not ended.wait(0.1):
        memory.append(sum(sample.resident for each in family(pid) if (sample := reading(each)) is not None))


def killed(words: Sequence[str], output: Path, kills: int, seconds: float) -> int:
    """Run a command until it is done, killing it at random times before; returns how often it was begun."""
    draw = random.Random(0)
    begun = 0
    while kills:
        begun += 1
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(draw.uniform(0.2, seconds))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills -= 1
        if output.exists():
            sys.exit(f"done after {begun} runs with {kills} kills to go: more --inputs")
    run(words)
    return begun + 1


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flat(memory: Sequence[int]) -> tuple[float, float, float]:
    """Largest MiB in the second and in the third quarter of a run, and of all: joining the parts comes last."""
    quarter = max(1, len(memory) // 4)
    spans = memory[quarter : 2 * quarter], memory[2 * quarter : 3 * quarter], memory
    second, third, whole = (max(span, default=0) / 2**20 for span in spans)
    return second, third, whole


def measure(folder: Path, inputs: int, kills: int) -> list[str]:
    """Measure all of it; returns the lines of the page."""
    bundle = make_bundle(folder / "bundle")
    whole, tenth = folder / "inputs", folder / "tenth"
    generate(whole, inputs, bundle.spec.inputs[0].shape[1:])  # type: ignore[arg-type]  # this model's are fixed
    generate(tenth, inputs // 10, bundle.spec.inputs[0].shape[1:])  # type: ignore[arg-type]
    command = [EDGEKIT, "run", str(bundle.path)]

    def ours(name: str, *options: str) -> Callable[[Path], list[str]]:
        return lambda source: [*command, str(source), "-o", str(folder / f"{name}-{source.name}.parquet"), *options]

    with two_nodes(store_bytes=None) as address:
        ways = {
            "plain loop": lambda source: [sys.executable, "-c", LOOP, str(bundle.path), str(source), str(folder / "l")],
            "one process": ours("one", "--threads", "1"),
            "`--workers 2`": ours("pool", "--workers", "2"),
            "`--ray`, two nodes": ours("ray", "--ray", address, "--workers", "2"),
        }
        timed: dict[str, tuple[Timed, Timed]] = {}
        for name, words in ways.items():
            pair = [run([*words(source)], codes=(0, 6)) for source in (tenth, whole)]
            timed[name] = (pair[0], pair[1])
            print(f"{name}: {pair[0].seconds:.1f} s, {pair[1].seconds:.1f} s", flush=True)
    reference = sha256(folder / "one-inputs.parquet")
    same = all(sha256(folder / f"{name}-inputs.parquet") == reference for name in ("pool", "ray"))
    begun = killed(ours("killed", "--workers", "2")(whole), folder / "killed-inputs.parquet", kills,
                   max(2.0, 2 * timed["`--workers 2`"][1].seconds / max(1, kills)))  # fmt: skip
    survived = sha256(folder / "killed-inputs.parquet") == reference
    if not same or not survived:
        sys.exit(
            f"files differ: pool and Ray {'equal' if same else 'DIFFER'}, killed {'equal' if survived else 'DIFFERS'}"
        )
    return lines(inputs, timed, kills, begun)


def lines(inputs: int, timed: dict[str, tuple[Timed, Timed]], kills: int, begun: int) -> list[str]:
    """The table and what goes with it."""
    slopes = {name: (b.seconds - a.seconds) / (inputs - inputs // 10) for name, (a, b) in timed.items()}
    loop = slopes["plain loop"]
    rows = []
    for name, (short, long) in timed.items():
        begin = max(0.0, short.seconds - slopes[name] * (inputs // 10))
        early, late, most = flat(long.memory)
        speed = f"{1e6 * slopes[name]:.0f} | {loop / slopes[name]:.2f}"
        rows.append(f"| {name} | {speed} | {begin:.1f} | {early:.0f} → {late:.0f}, {most:.0f} |")
    ray, pool = slopes["`--ray`, two nodes"], slopes["`--workers 2`"]
    return [
        f"{inputs:,} inputs, one in a thousand damaged; {len(os.sched_getaffinity(0))} cores.",
        "",
        "| way | µs an input | throughput, plain loop = 1 | start, s | memory, MiB: second → third quarter, most |",
        "| --- | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        f"Ray costs {1e6 * (ray - pool):.0f} µs an input over `--workers 2`.",
        f"Killed {kills} times at random with SIGKILL, begun {begun} times: the file is the uninterrupted run's,",
        "byte for byte, as are those of one process, the pool and Ray.",
    ]


def main() -> None:
    """Measure, print, and rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="New folder for the files, which stay.")
    parser.add_argument("--no-page", action="store_true", help="Print the table alone.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(options.keep or Path(temporary), options.inputs, options.kills)
    print("\n".join(found))
    if not options.no_page:
        rewrite(PAGE, "bulk", "\n".join(found))


if __name__ == "__main__":
    main()
