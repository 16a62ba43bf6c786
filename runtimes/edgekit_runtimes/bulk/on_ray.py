"""Chunks answered by a Ray cluster: Ray Data schedules, moves and holds back; actors open the bundle once.

The driver lists the inputs, hands chunks to ``map_batches`` and writes the parts that come back. The bundle's bytes
travel through Ray's object store, so workers need no path of the driver's; each compares every file with its checksum.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from edgekit import errors
from edgekit.bundle import Bundle
from edgekit.cluster import connected
from edgekit.errors import EdgeKitError, EnvironmentFault
from edgekit.passing import PassingFolder
from edgekit_runtimes.bulk.answer import Part, Setup
from edgekit_runtimes.bulk.chunk import Chunk
from edgekit_runtimes.bulk.pool import Isolated
from edgekit_runtimes.signals import check_stop

_WINDOW = 4096
_FOR_EACH_ACTOR = 16
"""Chunks in a window: it ends with some actors idle, so there should be many for each."""


@dataclass(frozen=True)
class Cluster:
    """Where and how wide.

    Attributes:
        address: ``auto`` for the cluster that runs here, ``local`` to start one for this run, or an address.
        workers: Actors; ``None`` for as many as the cluster has room for.
        gpus: GPUs, or a share of one, for each actor.
    """

    address: str
    workers: int | None = None
    gpus: float = 0.0


class Actor:
    """Answers chunks on a worker, in a child process, so that an input that kills it does not kill the actor.

    Ray gives the chunk of a dead actor to another for ever; here it is set aside as by `edgekit_runtimes.bulk.pool`.
    Dead nodes are Ray's to handle.

    Args:
        setup: JSON form of a `Setup`; its bundle is a name alone.
        bundle: Reference to the bundle's files: name -> bytes.
    """

    def __init__(self, setup: Mapping[str, Any], bundle: Any) -> None:
        import __main__

        # A spawned child runs the script of its parent's ``__main__``: Ray's, which takes seconds to import.
        vars(__main__).pop("__file__", None)
        self._setup, self._bundle = Setup(**setup), bundle
        self._process: Isolated | None = None
        self._folder: PassingFolder | None = None

    def __call__(self, batch: Any) -> Any:
        """Answer one chunk: a table with its part, or with the error that ends the run."""
        import pyarrow as pa

        chunk = Chunk.from_bytes(batch["chunk"][0].as_py())
        try:
            part = self._open().part(chunk)
            fields = {**asdict(part), "fault": None}
        except EdgeKitError as error:
            described = [type(error).__name__, error.received, error.expected, error.remedy]
            fields = {"digest": chunk.digest, "data": b"", "rows": 0, "failed": 0, "about": ""}
            fields["fault"] = json.dumps(described)
        return pa.Table.from_pylist([fields], schema=_schema())

    def _open(self) -> Isolated:
        if self._process is None:
            import ray

            self._folder = PassingFolder("edgekit-bundle-")
            folder = self._folder.path
            for name, data in ray.get(self._bundle).items():
                (folder / Path(name).name).write_bytes(data)
            Bundle(folder)
            self._process = Isolated(replace(self._setup, bundle=str(folder)))
        return self._process


def answered(setup: Setup, chunks: Iterator[Chunk], cluster: Cluster) -> Generator[Part, None, None]:
    """Answer chunks on a cluster.

    Args:
        setup: How.
        chunks: Taken window by window; a window's names are held at a time.
        cluster: Where.

    Yields:
        Their parts, in the order in which they are finished.

    Raises:
        EdgeKitError: There is no such cluster, or the bundle cannot be opened on its workers.
    """
    try:
        with connected(cluster.address), _quiet_data():
            run = _Run(setup, cluster)
            while window := list(islice(chunks, run.window)):
                yield from run.over(window)
    except KeyboardInterrupt:  # Ray raises its own for that of the signal's handler, where it waits in native code
        check_stop()
        raise


class _Run:
    """Windows of chunks through Ray Data."""

    def __init__(self, setup: Setup, cluster: Cluster) -> None:
        import ray

        folder = Path(setup.bundle)
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        self._bundle = ray.put(files)
        self._setup, self._cluster = setup, cluster
        self._threads = setup.threads or 1
        self.actors = cluster.workers or self._room(ray.cluster_resources())
        self.window = max(_WINDOW, _FOR_EACH_ACTOR * self.actors)

    def _room(self, resources: Mapping[str, float]) -> int:
        room = int(resources.get("CPU", 1)) // self._threads
        if self._cluster.gpus:
            room = min(room, int(resources.get("GPU", 0) / self._cluster.gpus))
        if room < 1:
            wanted = f"{self._threads} CPUs" + (f" and {self._cluster.gpus:g} GPUs" if self._cluster.gpus else "")
            raise EnvironmentFault(
                f"no worker of the Ray cluster has room for {wanted}", remedy="lower --gpus, --threads"
            )
        return room

    def over(self, window: Sequence[Chunk]) -> Iterator[Part]:
        """Answer a window."""
        import pyarrow as pa
        from ray import data

        blocks = [pa.table({"chunk": pa.array([chunk.to_bytes()], pa.binary())}) for chunk in window]
        setup = {**asdict(self._setup), "threads": self._threads, "all_cores": False}
        dataset = data.from_arrow(blocks).map_batches(
            Actor,
            fn_constructor_args=(setup, self._bundle),
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=min(self.actors, len(blocks))),
            num_cpus=self._threads,
            num_gpus=self._cluster.gpus or None,
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for fields in batch.to_pylist():
                if fault := fields.pop("fault"):
                    raise _rebuilt(fault)
                yield Part(**fields)


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Ray Data without its own bars and reports."""
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = data.DataContext.get_current()
    before = (context.enable_progress_bars, context.print_on_execution_start)
    context.enable_progress_bars, context.print_on_execution_start = False, False
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before


def _schema() -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    head = [("digest", text), ("data", pa.binary()), ("rows", number), ("failed", number)]
    return pa.schema([*head, ("about", text), ("fault", text)])


def _rebuilt(fault: str) -> EdgeKitError:
    name, received, expected, remedy = json.loads(fault)
    kind: type[EdgeKitError] = getattr(errors, name) if name in errors.__all__ else EdgeKitError
    return kind(received, expected=expected, remedy=remedy)
