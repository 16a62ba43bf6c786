"""Runs on each machine, real or emulated: writes what an artifact answers there to the real inputs.

Arguments: a bundle, an engine, a recipe, ``items.json``, the ``.npz`` to write, and seconds. When all inputs
would take longer than that, fewer are answered, spread evenly. Beside a batch for each output under the spec's names,
the ``.npz`` holds ``index``, the inputs that were answered, and ``seconds`` of each.
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


def value_of(item: dict[str, str]) -> Any:
    """What the task encodes."""
    return Path(item["path"]) if "path" in item else item["text"]


def answer(predictor: Predictor, items: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    """Answer as many inputs as the time allows, one by one."""
    started = time.perf_counter()
    predictor.runner.run(predictor.task.encode(value_of(items[0])))
    each = time.perf_counter() - started
    count = min(len(items), max(FEWEST, int(seconds / each)))
    index = [number * len(items) // count for number in range(count)]
    rows, times = [], []
    for number in index:
        feeds = predictor.task.encode(value_of(items[number]))
        started = time.perf_counter()
        rows.append(predictor.runner.run(feeds))
        times.append(time.perf_counter() - started)
    outputs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return {"index": np.array(index), "seconds": np.array(times), **outputs}


def encoded(predictor: Predictor, items: list[dict[str, str]]) -> dict[str, Any]:
    """Encode all inputs."""
    rows = [predictor.task.encode(value_of(item)) for item in items]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def main(bundle: str, engine: str, recipe: str, listed: str, out: str, seconds: str) -> None:
    """Write the file."""
    items = json.loads(Path(listed).read_text(encoding="utf-8"))
    with load(bundle, engine=engine, recipe=None if recipe == "-" else recipe, threads=1) as predictor:
        found = encoded(predictor, items) if recipe == "-" else answer(predictor, items, float(seconds))
    with Path(out).open("wb") as stream:
        np.savez(stream, allow_pickle=False, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
