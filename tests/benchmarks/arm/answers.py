"""Runs on each machine, real or emulated: writes what an artifact answers there to the real inputs.

Arguments: a bundle, an engine, a recipe, ``items.json``, the ``.npz`` to write, and seconds of processor time. When all
inputs would take longer than that, fewer are answered, spread evenly. Beside a batch for each output under the spec's
names, the ``.npz`` holds ``index``, the inputs that were answered, and ``seconds`` of the processor for each.
Where the recipe is ``-`` it holds what the task encodes the inputs to, under the spec's input names.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_runtimes.predictor import Predictor, load

FEWEST = 10
SERVICE = ("index", "seconds")
"""Names in the file that are no outputs."""


def values_of(listed: Path) -> list[Any]:
    """What the task encodes; paths are relative to their list."""
    items = json.loads(listed.read_text(encoding="utf-8"))
    return [listed.parent / item["path"] if "path" in item else item["text"] for item in items]


def answer(predictor: Predictor, values: list[Any], seconds: float) -> dict[str, Any]:
    """Answer as many inputs as the time allows, one by one."""
    for _ in range(2):  # an emulator translates what runs for the first time
        started = time.process_time()
        predictor.runner.run(predictor.task.encode(values[0]))
        each = time.process_time() - started
    count = min(len(values), max(FEWEST, int(seconds / max(each, 1e-6))))
    index = [number * len(values) // count for number in range(count)]
    rows, times = [], []
    for number in index:
        feeds = predictor.task.encode(values[number])
        started = time.process_time()
        rows.append(predictor.runner.run(feeds))
        times.append(time.process_time() - started)
    outputs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return {"index": np.array(index), "seconds": np.array(times), **outputs}


def encoded(predictor: Predictor, values: list[Any]) -> dict[str, Any]:
    """Encode all inputs."""
    rows = [predictor.task.encode(value) for value in values]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def main(bundle: str, engine: str, recipe: str, files: tuple[str, str], seconds: float) -> None:
    """Write the file; ``files`` are the list of inputs and what is written."""
    listed, out = map(Path, files)
    values = values_of(listed)
    with load(bundle, engine=engine, recipe=None if recipe == "-" else recipe, threads=1) as predictor:
        found = encoded(predictor, values) if recipe == "-" else answer(predictor, values, seconds)
    with out.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], (sys.argv[4], sys.argv[5]), float(sys.argv[6]))
