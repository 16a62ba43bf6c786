"""What a node of a Ray cluster does for a plan.

A worker process keeps the model open and the data encoded from one task to the next: Ray gives it several.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgekit.cluster import this_node
from edgekit.errors import EdgeKitError, EnvironmentFault
from edgekit.parity import Parity
from edgekit_converters.input_size import Size
from edgekit_converters.plan.agenda import Work
from edgekit_converters.plan.fingerprint import Fingerprints
from edgekit_converters.plan.here import Here
from edgekit_converters.plan.making import Maker
from edgekit_converters.plan.stock import Stock
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.request import Request

_REMOVER = 'exec 3<&0; (cat <&3 >/dev/null 2>&1; rm -rf -- "$0") >/dev/null 2>&1 &'
"""Waits for the end of its standard input, which comes with the end of the process that holds the other side."""


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
            return Sent(node, 0.0, _open.pop().common)
        return _open[0].made(work, node)
    except EnvironmentFault as error:
        fault = EnvironmentFault(f"node {node}: {error.received}", expected=error.expected, remedy=error.remedy)
        return Sent(node, 0.0, common, fatal=fault)
    except EdgeKitError as error:
        return Sent(node, 0.0, common, fatal=error)


class _Bench:
    """The model, open, and what is needed beside it."""

    def __init__(self, request: Request) -> None:
        self._until_end, folder = _passing_folder()
        self._stages = Stages(Silent())
        stock = Stock(request, folder / "plan", self._stages)
        self.common = stock.fingerprints.common
        (folder / "scratch").mkdir()
        self._shop = Here(Maker(request, stock, self._stages, folder / "scratch"), lambda: None)

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


def _passing_folder() -> tuple[IO[bytes] | None, Path]:
    """Make a folder that is removed when this process ends: Ray kills its workers, whose own cleaning up never runs.

    Returns:
        What must not be closed before, and the folder.
    """
    folder = tempfile.mkdtemp(prefix="edgekit-plan-")
    remover = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    remover.wait()
    return remover.stdin, Path(folder)
