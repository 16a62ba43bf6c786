"""What a node of a Ray cluster does for a plan.

A worker process keeps the model open and the data encoded from one task to the next: Ray gives it several.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.cluster import this_node
from edgekit.errors import EdgeKitError, EnvironmentFault
from edgekit.parity import Parity
from edgekit.passing import PassingFolder
from edgekit_converters.input_size import Size
from edgekit_converters.plan.agenda import Work
from edgekit_converters.plan.fingerprint import Fingerprints
from edgekit_converters.plan.here import Here
from edgekit_converters.plan.making import Maker
from edgekit_converters.plan.stock import Stock
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.request import Request


@dataclass(frozen=True)
class Sent:
    """What comes back of a piece of work.

    Attributes:
        node: Where it was done.
        seconds: Wall time.
        common: What was converted there, see `Fingerprints.common`.
        files: File name -> content, of the bundle that was made.
        parity: Of an input size.
        own: The model's own input size.
        error: Why there is no bundle or parity.
        fatal: Why the plan cannot go on.
        notes: For the user.
    """

    node: str
    seconds: float
    common: Mapping[str, Any]
    files: Mapping[str, bytes] | None = None
    parity: Parity | None = None
    own: Size | None = None
    error: EdgeKitError | None = None
    fatal: EdgeKitError | None = None
    notes: tuple[str, ...] = ()


def seen(request: Request) -> Mapping[str, Any] | EdgeKitError:
    """Say what would be converted here, see `Fingerprints.common`, or why it cannot be read."""
    try:
        return Fingerprints(request).common
    except EdgeKitError as error:
        return error


def made(request: Request, common: Mapping[str, Any], work: Work) -> Sent:
    """Do a piece of work.

    Args:
        request: What to convert, with absolute paths.
        common: What it is on the machine that asks; where it is something else here, nothing is done.
        work: What to make.
    """
    node = this_node()
    try:
        if not _open:
            _open.append(_Bench(request))  # all tasks of a process are of one plan
        if _open[0].common != common:
            return Sent(node, 0.0, _open[0].common)
        return _open[0].made(work, node)
    except EnvironmentFault as error:
        fault = EnvironmentFault(f"node {node}: {error.received}", expected=error.expected, remedy=error.remedy)
        return Sent(node, 0.0, common, fatal=fault)
    except EdgeKitError as error:
        return Sent(node, 0.0, common, fatal=error)


class _Bench:
    """The model, open, and what is needed beside it."""

    def __init__(self, request: Request) -> None:
        self._folder = PassingFolder("edgekit-plan-")
        self._folder.take_all()
        self._stages = Stages(Silent())
        stock = Stock(request, self._folder.path / "plan", self._stages)
        self.common = stock.fingerprints.common
        scratch = self._folder.path / "scratch"
        scratch.mkdir()
        self._shop = Here(Maker(request, stock, self._stages, scratch), lambda: None)

    def made(self, work: Work, node: str) -> Sent:
        """Do a piece of work. Raises EdgeKitError when the plan cannot go on."""
        began = time.perf_counter()
        self._shop.start(work)
        outcome = self._shop.next()
        files = None
        if outcome.bundle is not None:
            files = {path.name: path.read_bytes() for path in outcome.bundle.path.iterdir()}
            shutil.rmtree(outcome.bundle.path)
        return Sent(
            node,
            time.perf_counter() - began,
            self.common,
            files,
            outcome.parity,
            outcome.own,
            outcome.error,
            notes=tuple(self._stages.notes),
        )


_open: list[_Bench] = []
