"""The tables: every artifact on every machine, and what starting costs there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.bundle import Artifact
from edgekit.engine import Array
from tests.benchmarks.arm.answers import SERVICE
from tests.benchmarks.arm.models import INPUTS
from tests.benchmarks.arm.startup import Startup
from tests.benchmarks.document import table

ALIKE = 0.99
"""Share of inputs that an int8 artifact has to answer alike on all machines."""
HERE = "x86"


@dataclass(frozen=True)
class Measured:
    """An artifact on one machine.

    Attributes:
        inputs: Inputs that were answered.
        agreement: Share of them that are answered as the original does.
        alike: Share of them that are answered as on x86.
        difference: Largest difference of an output from x86, as a share of the largest output there.
        verdict: What ``edgekit verify`` says there.
    """

    inputs: int
    agreement: float
    alike: float
    difference: float
    verdict: str


@dataclass(frozen=True)
class Row:
    """An artifact on every machine.

    Attributes:
        model: In the table.
        engine: What runs it.
        artifact: The artifact.
        measured: Machine -> what was measured there.
    """

    model: str
    engine: str
    artifact: Artifact
    measured: Mapping[str, Measured]

    @property
    def strays(self) -> list[str]:
        """Machines where an int8 artifact answers too many inputs otherwise than on x86."""
        return [name for name, found in self.measured.items() if self.artifact.recipe == "int8" and found.alike < ALIKE]


def measured(
    decides: str, original: Mapping[str, Array], here: Mapping[str, Array], there: Mapping[str, Array], verdict: str
) -> Measured:
    """Compare what a machine answers with the original and with x86.

    Args:
        decides: Output whose largest entry is the answer.
        original: The original's outputs to all inputs.
        here: The answers on x86.
        there: The answers on the machine, to inputs that x86 answered too.
        verdict: What ``edgekit verify`` says there.
    """
    index = there["index"]
    near = np.searchsorted(here["index"], index)
    if not np.array_equal(here["index"][near], index):
        raise ValueError("x86 has not answered the same inputs")
    choice = there[decides].argmax(-1)
    outputs = [name for name in there if name not in SERVICE]
    return Measured(
        len(index),
        float((choice == original[decides][index].argmax(-1)).mean()),
        float((choice == here[decides][near].argmax(-1)).mean()),
        max(float(np.abs(there[name] - here[name][near]).max() / np.abs(here[name]).max()) for name in outputs),
        verdict,
    )


def answers_table(rows: Sequence[Row], machines: Mapping[str, str]) -> str:
    """The table of all artifacts; ``machines`` gives their titles."""
    boards = [name for name in machines if name != HERE]
    titles = ", ".join(machines.values())
    far = ", ".join(machines[name] for name in boards)
    headings = (
        "model", "engine", "recipe", f"inputs: {far}", f"as the original, %: {titles}", f"as x86, %: {far}",
        f"largest difference from x86: {far}", f"verify: {titles}",
    )  # fmt: skip
    return table(headings, [_cells(row, list(machines), boards) for row in rows])


def _cells(row: Row, machines: Iterable[str], boards: Iterable[str]) -> list[str]:
    everywhere, there = ([row.measured[name] for name in names] for names in (machines, boards))
    return [
        row.model,
        row.engine,
        row.artifact.recipe,
        _joined(str(found.inputs) for found in there),
        _joined(f"{100 * found.agreement:.0f}" for found in everywhere),
        _joined(f"{100 * found.alike:.0f}" for found in there),
        _joined(f"{found.difference:.1g}" for found in there),
        _joined(found.verdict for found in everywhere),
    ]


def _joined(words: Iterable[str]) -> str:
    """The words, or the one word that all of them are."""
    listed = list(words)
    return listed[0] if len(set(listed)) == 1 else ", ".join(listed)


def inputs_table(differences: Mapping[str, Mapping[str, tuple[float, float]]], machines: Mapping[str, str]) -> str:
    """What a model is fed there against x86: largest and mean difference, as shares of the largest entry."""
    boards = [name for name in machines if name != HERE]
    rows = [
        [model, *(f"{found[name][0]:.1g} ({found[name][1]:.1g})" for name in boards)]
        for model, found in differences.items()
    ]
    return table(("encoded inputs of", *(f"{machines[name]}: largest (mean) difference" for name in boards)), rows)


def input_difference(here: Mapping[str, Array], there: Mapping[str, Array]) -> tuple[float, float]:
    """Largest and mean difference of encoded inputs, each as a share of the largest entry; the worst input counts."""
    found = []
    for name, near in here.items():
        apart = np.abs(there[name].astype(np.float64) - near)
        found.append((float(apart.max() / np.abs(near).max()), float(apart.mean() / np.abs(near).max())))
    return max(found)


def startup_table(rows: Mapping[str, Startup]) -> str:
    """What each command imports and opens."""
    headings = (
        "command on an emulated Pi 5",
        "processes",
        "modules",
        "packages beside Python's own",
        "files opened",
        "different files",
    )
    return table(
        headings,
        [
            [
                f"`edgekit {command}`",
                str(found.processes),
                str(len(found.modules)),
                ", ".join(found.packages),
                str(len(found.files)),
                str(len(set(found.files))),
            ]
            for command, found in rows.items()
        ],
    )


def summary(rows: Sequence[Row]) -> str:
    """A sentence on what int8 has to keep."""
    strays = [f"{row.model}, {row.engine}" for row in rows if row.strays]
    least = min(found.alike for row in rows for found in row.measured.values() if row.artifact.recipe == "int8")
    goal = f"int8 artifacts answer at least {100 * least:.0f} % of {INPUTS} inputs alike on every machine"
    return f"{goal}; below {100 * ALIKE:.0f} %: {'; '.join(strays) or 'none'}."
