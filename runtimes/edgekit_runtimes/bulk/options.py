"""Options of ``edgekit run`` that only a Parquet output takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from edgekit.errors import UsageError

_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)")
_OPTIONS = (
    click.option("--workers", type=click.IntRange(min=1), help="For a .parquet: processes, or Ray actors."),
    click.option("--ray", metavar="ADDRESS", help="For a .parquet: on a Ray cluster: auto, local or HOST:PORT."),
    click.option("--gpus", type=click.FloatRange(min=0), help="For each Ray actor: GPUs, or a share of one."),
    click.option("--column", help="Of an INPUT that ends in .parquet: the column with the inputs."),
    click.option(
        "--chunk",
        type=click.IntRange(min=2),
        help="For a .parquet: inputs that are kept, or lost by a kill, together: 512; 8 for generated text.",
    ),
    click.option(
        "--max-failures", metavar="N|P%", help="For a .parquet: end with exit code 4 when more inputs have failed."
    ),
    click.option("--restart", is_flag=True, help="For a .parquet: begin again instead of going on."),
)


@dataclass(frozen=True)
class Budget:
    """How many inputs may fail.

    Attributes:
        number: Failures, or per cent of the inputs.
        percent: Which of the two.
    """

    number: float
    percent: bool = False

    MEANINGFUL = 1000
    """Inputs from which on a share is judged before the end: the first ones may be the bad ones."""

    def exceeded(self, rows: int, failed: int, *, ended: bool = False) -> bool:
        """Whether a run should end; ``ended`` when nothing more is to come."""
        if not self.percent:
            return failed > self.number
        return (ended or rows >= self.MEANINGFUL) and 100 * failed > self.number * rows

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.percent else ''}"


@dataclass(frozen=True)
class BulkOptions:
    """What was asked for.

    Attributes:
        workers: Processes or actors.
        ray: ``auto``, ``local`` or the address of a cluster.
        gpus: For each actor.
        column: Of a Parquet source.
        chunk: Inputs in a chunk.
        max_failures: The budget.
        restart: Whether to begin again.
    """

    workers: int | None = None
    ray: str | None = None
    gpus: float | None = None
    column: str | None = None
    chunk: int | None = None
    max_failures: str | None = None
    restart: bool = False

    def given(self) -> list[str]:
        """Names of the options that were given."""
        asked = [field.name for field in fields(self) if getattr(self, field.name) not in (None, False)]
        return [f"--{name.replace('_', '-')}" for name in asked]

    def budget(self) -> Budget | None:
        """The budget of failures; ``None`` for none. Raises UsageError."""
        if self.max_failures is None:
            return None
        match = _BUDGET.fullmatch(self.max_failures.strip())
        number = float(match["number"]) if match else -1.0
        if match is None or (match["percent"] and number > 100) or (not match["percent"] and "." in match["number"]):
            raise UsageError(f"--max-failures {self.max_failures}", expected="a number of inputs, or per cent as 2%")
        return Budget(number, bool(match["percent"]))


def bulk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command; it takes them together, as ``bulk``."""

    @wraps(command)
    def taking(**given: Any) -> None:
        own = {field.name: given.pop(field.name) for field in fields(BulkOptions)}
        command(**given, bulk=BulkOptions(**own))

    taken: Callable[..., None] = taking
    for option in reversed(_OPTIONS):
        taken = option(taken)
    return taken
