"""Bundles on emulated boards, against this machine and against the originals; rewrites the tables of docs/device.md.

    EDGEKIT_DATA=… python -m tests.benchmarks.arm [--only keywords] [--recipes int8] [--seconds 300] [--table] [--anew]

Every machine runs the whole way: it reads a photo, recording or sentence, encodes it and runs the artifact with one
thread. Everything is kept in ``.cache/arm``; an interrupted run goes on where it stopped. An artifact that would take
longer than ``--seconds`` answers fewer inputs there, which the table says. Exit code 1: an int8 artifact answers more
than 1 % of the inputs otherwise than here, or a command imports a framework on a board.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from edgekit.bundle import Bundle
from edgekit.tasks.classification import deciding_output
from tests.benchmarks.arm import report
from tests.benchmarks.arm.machines import ENCODED, ENGINES, EVER, Machine, machines
from tests.benchmarks.arm.models import MODELS, Model, items_of, made
from tests.benchmarks.arm.report import HERE, Row
from tests.benchmarks.arm.startup import Startup, traced
from tests.benchmarks.document import rewrite
from tests.benchmarks.quality import ROOT

DOCUMENT = ROOT / "docs" / "device.md"
RECIPES = ("int8", "fp32", "dynamic-int8", "fp16", "int8-int16")
"""What is worth most comes first."""


def main() -> None:
    """Measure what is missing and rewrite the document between its markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models, with commas between them")
    parser.add_argument("--recipes", default="", help="recipes, with commas between them")
    parser.add_argument("--seconds", type=float, default=300.0, help="for an artifact on a machine")
    parser.add_argument("--table", action="store_true", help="write what is measured, and measure no artifact")
    parser.add_argument("--anew", action="store_true", help="measure again what is measured already")
    options = parser.parse_args()
    models = [model for model in MODELS if model.name in (options.only.split(",") if options.only else model.name)]
    recipes = [name for name in RECIPES if name in (options.recipes.split(",") if options.recipes else name)]
    everyone = machines()
    for recipe in [] if options.table else recipes:
        for model in models:
            measure(model, recipe, everyone, options.seconds, anew=options.anew)
    models = [model for model in models if everyone[0].has(model, "tflite", recipes[0])]
    found = [row for model in models for row in rows_of(model, everyone, recipes)]
    starts = startups(everyone[1], MODELS[0])
    write(found, models, everyone, starts)
    sys.exit(int(any(row.strays for row in found) or any(start.frameworks for start in starts.values())))


def measure(model: Model, recipe: str, everyone: Sequence[Machine], seconds: float, *, anew: bool) -> None:
    """Measure what is missing of a model in one recipe."""
    if recipe not in model.recipes:
        return
    made(model)
    for machine in everyone:
        for form in ENGINES:
            # x86 answers all inputs, for the boards to be compared with.
            machine.answers(model, form, recipe, seconds if machine.root else EVER, anew=anew)
        machine.verdicts(model, recipe, anew=anew)


def rows_of(model: Model, everyone: Sequence[Machine], recipes: Sequence[str]) -> list[Row]:
    """A row for each artifact of a model that was measured on every machine."""
    bundle = Bundle(model.bundle)
    decides = deciding_output(bundle.spec)
    assert decides is not None, f"{model.name} decides nothing"
    with np.load(model.folder / "original.npz", allow_pickle=False) as stored:
        original = dict(stored)
    rows = []
    for artifact in bundle.artifacts:
        complete = all(machine.has(model, artifact.format, artifact.recipe) for machine in everyone)
        if artifact.recipe in recipes and complete:
            there = {machine.name: machine.answers(model, artifact.format, artifact.recipe) for machine in everyone}
            found = {
                machine.name: report.measured(
                    decides,
                    original,
                    there[HERE],
                    there[machine.name],
                    machine.verdicts(model, artifact.recipe)[artifact.file],
                )
                for machine in everyone
            }
            rows.append(Row(model.title, ENGINES[artifact.format], artifact, found))
    return rows


def startups(board: Machine, model: Model) -> dict[str, Startup]:
    """Command -> what it imports and opens on a board."""
    assert board.root is not None
    bundle, item = str(model.bundle), str(model.folder / items_of(model)[0]["path"])
    commands = {
        "--help": ["--help"],
        "verify --recipe int8": ["verify", bundle, "--recipe", "int8"],
        "run, LiteRT": ["run", bundle, item, "--recipe", "int8", "--engine", "litert"],
        "run, ONNX Runtime": ["run", bundle, item, "--recipe", "int8", "--engine", "onnxruntime"],
    }
    found = {command: traced(board.root, *words) for command, words in commands.items()}
    for command, start in found.items():
        if start.code:
            sys.exit(f"edgekit {command} on a board: {start.errors}")
    return found


def write(
    rows: Sequence[Row], models: Sequence[Model], everyone: Sequence[Machine], starts: dict[str, Startup]
) -> None:
    """Rewrite the document between the markers."""
    titles = {machine.name: machine.title for machine in everyone}
    inputs = {model.title: differences(model, everyone) for model in models}
    parts = [
        report.answers_table(rows, titles),
        report.summary(rows),
        report.inputs_table(inputs, titles),
        report.startup_table(starts),
    ]
    rewrite(DOCUMENT, "arm", *parts)


def differences(model: Model, everyone: Sequence[Machine]) -> dict[str, tuple[float, float]]:
    """Machine -> how far its encoded inputs are from x86's."""
    here, *there = (machine.answers(model, "tflite", ENCODED) for machine in everyone)
    found = (report.input_difference(here, encoded) for encoded in there)
    return dict(zip((machine.name for machine in everyone[1:]), found, strict=True))


if __name__ == "__main__":
    main()
