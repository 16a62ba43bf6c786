"""Ask an original model for its answers to the inputs; run as a child process, for it needs the frameworks.

    python -m tests.benchmarks.arm.original NAME

Writes ``items.json`` and ``original.npz``: a batch for each output under the spec's names, and ``label``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.tasks import task_for
from edgekit_converters.api import build_request
from edgekit_converters.data import open_dataset
from edgekit_converters.prepare import prepare
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.request import Request
from edgekit_converters.sources import open_source
from edgekit_converters.specs import written_spec
from tests.benchmarks.arm.models import MODELS, Model


def request_of(model: Model) -> Request:
    """The request that `edgekit convert` makes of the model's words."""
    from edgekit_converters.cli import convert

    words = [*model.words(model.folder), "--recipe", "fp32", "-o", str(model.folder / "unused")]
    options: dict[str, Any] = dict(convert.make_context("convert", words).params)
    options.pop("as_json")
    options["calibration"] = None  # of no use to the original
    return build_request(options.pop("source"), options.pop("output"), **options)


def write(model: Model) -> None:
    """Write the model's inputs and answers."""
    request = request_of(model)
    with tempfile.TemporaryDirectory() as scratch, open_source(request.model, request.source) as source:
        spec = written_spec(request.spec, source, request.labels, request.tokenizer, Path(scratch))
        items = [_named(item.value, model.folder) for item in open_dataset(request.evaluation, spec)]
        answered = prepare(request, source, task_for(spec, Path(scratch)), Stages(Silent()), Path(scratch)).evaluation
        outputs = {name: np.concatenate([sample.outputs[name] for sample in answered]) for name in answered[0].outputs}
    (model.folder / "items.json").write_text(json.dumps(items, indent=1), encoding="utf-8")
    labels = np.array([-1 if truth is None else truth for truth in answered.truths()], np.int64)
    with (model.folder / "original.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, label=labels, **outputs)


def _named(value: Any, folder: Path) -> dict[str, str]:
    """A path below the folder is relative to it: the folder may be moved."""
    if not isinstance(value, Path):
        return {"text": str(value)}
    return {"path": str(value.relative_to(folder) if value.is_relative_to(folder) else value)}


if __name__ == "__main__":
    write(next(model for model in MODELS if model.name == sys.argv[1]))
