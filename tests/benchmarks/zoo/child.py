"""One architecture of the zoo, in a process of its own: build, convert, compare, quantize.

Prints one JSON object a line: ``{"start": [format, recipe]}`` before a piece of work, its result after it.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgekit.binding import transpose_layout
from edgekit.engine import Array, TensorInfo
from edgekit.errors import EdgeKitError
from edgekit.isolate import EngineProcess
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.targets import Exported, ExportOptions, export
from tests.benchmarks.zoo import keras_entries, torch_entries, weights
from tests.benchmarks.zoo.entries import Entry, feeds

FP32_LIMIT = 1e-4
LEAST_SPREAD = 1e-3
CALIBRATION_SAMPLES, EVALUATION_SAMPLES = 16, 4


def all_entries() -> list[Entry]:
    """Every architecture."""
    return [*keras_entries.entries(), *torch_entries.entries()]


def open_entry(entry: Entry) -> Source:
    """Build an entry with telling random weights and open it as a source."""
    model = entry.build()
    if entry.family == "keras":
        weights.randomise_keras(model, feeds(entry, 32, seed=9))
        return open_source(model)
    weights.randomise_torch(model, feeds(entry, 16, seed=9))
    hints = tuple(InputHint((None, *item.shape), name, item.dtype) for name, item in entry.inputs.items())
    return open_source(model, SourceOptions(inputs=hints))


def named_feeds(entry: Entry, source: Source, count: int, seed: int) -> dict[str, Array]:
    """Feeds under the source's own input names (Keras numbers them)."""
    drawn = feeds(entry, count, seed)
    by_place = entry.family == "keras"
    return {
        spec.name: array if by_place else drawn[spec.name]
        for spec, array in zip(source.inputs, drawn.values(), strict=True)
    }


def run_all(
    run: Callable[[dict[str, Array]], dict[str, Array]], batch: dict[str, Array], *, whole: bool
) -> dict[str, Array]:
    """Run a batch at once, or one sample at a time."""
    if whole:
        return run(batch)
    singles = [run({name: array[i : i + 1] for name, array in batch.items()}) for i in range(EVALUATION_SAMPLES)]
    return {name: np.concatenate([one[name] for one in singles]) for name in singles[0]}


def bound(engine: EngineProcess, source: Source, exported: Exported) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """An artifact as a function on the source's names and layouts."""

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        laid_out = {
            tensor: transpose_layout(feeds[spec.name], spec.layout, layout)
            for spec, tensor, layout in zip(source.inputs, exported.inputs, exported.layouts, strict=True)
        }
        raw = engine.run(laid_out)
        return {spec.name: raw[tensor] for spec, tensor in zip(source.outputs, exported.outputs, strict=True)}

    return run


def relative_l2(reference: dict[str, Array], given: dict[str, Array]) -> dict[str, float]:
    """Relative L2 of every output; inf where the artifact gave NaN or another shape."""
    found = {}
    for name, array in reference.items():
        wanted, got = array.astype(np.float64), given[name].astype(np.float64)
        if wanted.shape != got.shape or not np.isfinite(got).all():
            found[name] = float("inf")
            continue
        found[name] = _norm(wanted - got) / max(_norm(wanted), 1e-12)
    return found


def spread(reference: dict[str, Array]) -> float:
    """How much the first output differs between samples, relative to its size: 0 means parity says nothing."""
    first = next(iter(reference.values())).astype(np.float64)
    return _norm(first - first.mean(0, keepdims=True)) / max(_norm(first), 1e-12)


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))


class Samples:
    """Calibration samples under the artifact's names and in its dtypes, drawn anew at every pass."""

    def __init__(self, entry: Entry, source: Source, exported: Exported, inputs: Sequence[TensorInfo]) -> None:
        self.entry, self.source, self.exported = entry, source, exported
        self.dtypes = {info.name: info.dtype for info in inputs}

    def __iter__(self) -> Iterator[dict[str, Array]]:
        drawn = named_feeds(self.entry, self.source, CALIBRATION_SAMPLES, seed=5)
        bound = list(zip(self.source.inputs, self.exported.inputs, self.exported.layouts, strict=True))
        for i in range(CALIBRATION_SAMPLES):
            yield {
                tensor: transpose_layout(drawn[spec.name][i : i + 1], spec.layout, layout).astype(self.dtypes[tensor])
                for spec, tensor, layout in bound
            }


class Zoo:
    """The work on one entry.

    Args:
        entry: The architecture.
        folder: Where artifacts go.
        out: Where results go, one JSON object a line.
    """

    def __init__(self, entry: Entry, folder: Path, out: TextIO) -> None:
        self.entry, self.folder, self.out = entry, folder, out
        self.source = open_entry(entry)
        self.batch = named_feeds(entry, self.source, EVALUATION_SAMPLES, seed=7)
        # Both, because not every output has its batch in front (XLNet's memories).
        self.singly = run_all(self.source.run, self.batch, whole=False)
        open_batch = self.source.inputs[0].shape[0] is None
        self.at_once = run_all(self.source.run, self.batch, whole=True) if open_batch else self.singly

    def say(self, **values: Any) -> None:
        """Write one line."""
        self.out.write(json.dumps(values) + "\n")
        self.out.flush()

    def format(self, name: str, recipes: Sequence[str]) -> None:
        """Convert to one format, then to each recipe."""
        path = self.folder / f"{self.entry.name}.{name}"
        exported = self._attempt(name, "fp32", lambda: self._float(name, path))
        for recipe in recipes:
            if recipe != "fp32" and exported is not None:
                self._attempt(name, recipe, lambda recipe=recipe: self._quantized(path, recipe, exported))

    def _attempt(self, name: str, recipe: str, work: Any) -> Exported | None:
        self.say(start=[name, recipe])
        begun = time.perf_counter()
        result: dict[str, Any] = {"model": self.entry.name, "family": self.entry.family, "domain": self.entry.domain}
        exported = None
        try:
            exported, found = work()
            result |= found
        except EdgeKitError as error:
            result |= {"status": "refused", "cause": str(error)[:1500]}
        except Exception as error:
            result |= {"status": "failed", "cause": f"{type(error).__name__}: {error}"[:1500]}
        result |= {"format": name, "recipe": recipe, "seconds": round(time.perf_counter() - begun, 2)}
        self.say(**result)
        return exported

    def _float(self, name: str, path: Path) -> tuple[Exported, dict[str, Any]]:
        exported = export(self.source, name, path, ExportOptions())
        found = self._compared(path, exported)
        found["notes"] = list(exported.notes)
        found["spread"] = spread(self.singly)
        if found["spread"] < LEAST_SPREAD:
            found |= {"status": "failed", "cause": f"the outputs hardly depend on the input ({found['spread']:.1e})"}
        elif not found["relative_l2"] <= FP32_LIMIT:
            found |= {"status": "failed", "cause": f"relative L2 {found['relative_l2']:.1e} in {found['worst']}"}
        return exported, found

    def _compared(self, path: Path, exported: Exported) -> dict[str, Any]:
        with EngineProcess(path) as engine:
            open_batch = all(info.shape[0] is None for info in engine.inputs)
            given = run_all(bound(engine, self.source, exported), self.batch, whole=open_batch)
        errors = relative_l2(self.at_once if open_batch else self.singly, given)
        worst = max(errors, key=lambda output: errors[output])
        size = path.stat().st_size
        finite = bool(np.isfinite(errors[worst]))
        return {
            "status": "pass" if finite else "failed",
            "cause": "" if finite else f"{worst} is not finite or of another shape",
            "relative_l2": errors[worst],
            "worst": worst,
            "open_batch": open_batch,
            "bytes": size,
        }

    def _quantized(self, path: Path, recipe: str, exported: Exported) -> tuple[Exported, dict[str, Any]]:
        from edgekit_converters.quantize import check_artifact, quantize, recipe_named

        target = path.with_name(f"{path.stem}.{recipe}{path.suffix}")
        with EngineProcess(path) as engine:
            samples = Samples(self.entry, self.source, exported, engine.inputs)
        wanted = recipe_named(recipe)
        quantize(path, target, wanted, samples if wanted.static else None)
        check_artifact(target, wanted, "float")
        return exported, self._compared(target, exported)


def end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the parent's, and end."""
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Run one entry as `run.py` asks for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--formats", default="tflite,onnx")
    parser.add_argument("--recipes", default="fp32")
    options = parser.parse_args()
    threading.Thread(target=end_with_parent, daemon=True).start()
    # Results go to the real stdout; what libraries print goes to stderr.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    entry = next(item for item in all_entries() if item.name == options.name)
    zoo = Zoo(entry, options.folder, out)
    for name in options.formats.split(","):
        zoo.format(name, options.recipes.split(","))


if __name__ == "__main__":
    main()
