"""The artifacts of a plan made by a Ray cluster: each is a task, its bundle comes back as bytes.

The model and the data stay where they are: every node finds them under the paths that this machine has, and is asked
for their hashes before anything is made. Nothing is measured on the cluster but answers: times belong to the machine
that they are for, with nothing beside them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.cluster import Done, Tasks, connected, on_each_node
from edgekit.errors import EdgeKitError, EnvironmentFault, ModelRefused
from edgekit_converters.input_size import sides
from edgekit_converters.plan import worker
from edgekit_converters.plan.agenda import Outcome, Work
from edgekit_converters.plan.planner import Cluster
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import Piece
from edgekit_converters.progress import Stages
from edgekit_converters.request import Request

_OPTIONS = {
    "model": "MODEL", "weights": "--weights", "tokenizer": "--tokenizer", "calibration": "--calibration",
    "evaluation": "--eval",
}  # fmt: skip
_ROOM = "set aside more of a node for each with --ray-cpus, or try it without --ray"
_SHARE = "put the files on a file system that all nodes share, or copy them to each"


class Workers:
    """A workshop on a cluster. Use as a context manager: outside of it nothing runs on the cluster.

    Args:
        request: What to convert.
        cluster: Where.
        stock: Where artifacts go.
        stages: Progress.
        opened: Called when the model and the data are known to be good, before an artifact is kept.
    """

    def __init__(
        self, request: Request, cluster: Cluster, stock: Stock, stages: Stages, opened: Callable[[], None]
    ) -> None:
        self._request, self._cluster = everywhere(request), cluster
        self._stock, self._stages, self._opened = stock, stages, opened
        self._common = stock.fingerprints.common
        self._stack = ExitStack()
        self._tasks: Tasks[Work] | None = None

    def start(self, work: Work) -> None:
        """Hand a piece of work to Ray; the first one joins the cluster and has all nodes looked at."""
        if self._tasks is None:
            self._tasks = self._joined()
        self._tasks.start(work, worker.made, self._request, self._common, work)

    def next(self) -> Outcome:
        """Wait for a piece of work.

        Raises:
            EdgeKitError: The model or the data are refused, a node sees other ones, or lacks something.
        """
        assert self._tasks is not None  # noqa: S101  something was started
        return self._taken(self._tasks.next())

    def _joined(self) -> Tasks[Work]:
        self._stack.enter_context(self._stages.stage("make the variants on Ray"))
        self._stack.enter_context(connected(self._cluster.address))
        seen = on_each_node(worker.seen, self._request, cpus=self._cluster.cpus)
        for node, common in seen.items():
            if isinstance(common, EdgeKitError):
                raise EnvironmentFault(f"node {node}: {common.received}", remedy=_SHARE)
            refuse_other(node, self._request, self._common, common)
        return self._stack.enter_context(Tasks(self._cluster.cpus))

    def _taken(self, done: Done[Work]) -> Outcome:
        work = done.key
        called = work.name if isinstance(work, Piece) else sides(work)
        if done.lost is not None:
            self._stages.note(f"{called}: {done.lost}")
            said = f"{called}: {done.lost}" if isinstance(work, Piece) else f"not made: {done.lost}"
            return Outcome(work, error=ModelRefused(said, remedy=_ROOM), lost=True)
        sent: worker.Sent = done.value
        refuse_other(sent.node, self._request, self._common, sent.common)
        for note in sent.notes:
            self._stages.note(note)
        if sent.fatal is not None:
            raise sent.fatal
        self._opened()
        bundle = None
        if isinstance(work, Piece) and sent.files is not None:
            bundle = self._stock.keep(work, sent.files)
            self._stages.note(f"{called}: made in {sent.seconds:.1f} s by node {sent.node}")
        return Outcome(work, bundle, sent.parity, sent.own, sent.error)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def everywhere(request: Request) -> Request:
    """Return the request with absolute paths: workers have another current folder."""
    source = request.source
    return replace(
        request,
        model=_absolute(request.model),
        calibration=_absolute(request.calibration),
        evaluation=_absolute(request.evaluation),
        tokenizer=None if request.tokenizer is None else request.tokenizer.absolute(),
        folder=request.folder.absolute(),
        source=replace(source, weights=None if source.weights is None else source.weights.absolute()),
    )


def _absolute(word: Any) -> Any:
    if not isinstance(word, (str, Path)):
        return word
    place, _, name = str(word).rpartition(":")
    if Path(word).exists():
        return os.path.abspath(word)
    return f"{os.path.abspath(place)}:{name}" if place.endswith(".py") and Path(place).is_file() else word


def refuse_other(node: str, request: Request, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Compare what a node converts with what this machine would.

    Args:
        node: Its name.
        request: The conversion.
        here: `Fingerprints.common` of this machine.
        there: That of the node.

    Raises:
        EnvironmentFault: They differ; the node and the first difference are named.
    """
    other = [name for name, value in here.items() if there.get(name) != value]
    if not other:
        return
    name = other[0]
    if name in ("tools", "edgekit"):
        raise EnvironmentFault(
            f"node {node} has {_versions(there[name], here[name])}",
            expected=f"{_versions(here[name], there[name])}, as here",
            remedy="install the same versions on every node",
        )
    word = _OPTIONS.get(name, "a file of --spec")
    path = request.source.weights if name == "weights" else getattr(request, name, "")
    raise EnvironmentFault(
        f"node {node} sees another content of {word} {path}".rstrip(),
        expected="the same files under the same paths on every node",
        remedy=_SHARE,
    )


def _versions(mine: Any, others: Any) -> str:
    if not isinstance(mine, Mapping):
        return f"edgekit {mine}"
    names = [name for name in {**mine, **others} if mine.get(name) != others.get(name)]
    return ", ".join(f"{name} {mine.get(name, 'not at all')}" for name in names)
