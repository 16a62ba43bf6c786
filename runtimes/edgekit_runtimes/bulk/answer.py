"""From a chunk to its rows: the one way to a result, in this process, in another and on another machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from edgekit.binding import BoundEngine
from edgekit.bundle import bundle_sha256
from edgekit.errors import BundleRefused, DataRefused, EdgeKitError, EnvironmentFault, UsageError
from edgekit.tasks.base import Streams
from edgekit_runtimes.bulk import table
from edgekit_runtimes.bulk.chunk import Chunk, Entry
from edgekit_runtimes.bulk.files import said
from edgekit_runtimes.bulk.inputs import Read, read
from edgekit_runtimes.inputs.item import Item
from edgekit_runtimes.pipeline import Outcome, Pipeline, answer_group
from edgekit_runtimes.predictor import Predictor, load
from edgekit_runtimes.settings import set_fast_decode, set_top_k


@dataclass(frozen=True)
class Setup:
    """How inputs are answered: all that their results depend on, and where it runs.

    Attributes:
        bundle: Folder of the bundle.
        bundle_hash: See `edgekit.bundle.bundle_sha256`.
        engine: Name of an engine, where one was asked for.
        recipe: Named precision, where one was asked for.
        options: Options of the task.
        top_k: Classes in a result.
        batch: Inputs given to the engine at once.
        fast_decode: Whether large JPEGs are decoded at a fraction of their size.
        threads: Threads of an engine.
        all_cores: Whether inputs are answered on all cores of this process, instead of one after the other.
    """

    bundle: str
    bundle_hash: str
    engine: str | None = None
    recipe: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    top_k: int | None = None
    batch: int = 1
    fast_decode: bool = False
    threads: int | None = None
    all_cores: bool = False


@dataclass(frozen=True)
class Part:
    """A chunk's results.

    Attributes:
        digest: Of the chunk.
        data: A Parquet file.
        rows: Number of inputs.
        failed: Number of those without a result.
        about: Artifact, engine and versions that gave them.
    """

    digest: str
    data: bytes
    rows: int
    failed: int
    about: str


class Answerer:
    """Answers chunks with a bundle that is opened once. Use as a context manager, or `close` it.

    Args:
        setup: How.

    Attributes:
        about: Artifact, engine and versions.

    Raises:
        EdgeKitError: The bundle cannot be opened here, or is not the one that the run began with.
    """

    def __init__(self, setup: Setup) -> None:
        from importlib.metadata import version

        if bundle_sha256(Path(setup.bundle)) != setup.bundle_hash:
            raise BundleRefused(f"{setup.bundle} has changed while it was run", remedy="start the run again")
        self.setup = setup
        self._predictor = load(
            setup.bundle, engine=setup.engine, recipe=setup.recipe, threads=setup.threads, options=setup.options
        )
        self.spec = self._predictor.bundle.spec
        self._columns = table.columns(self.spec)
        if setup.options and not isinstance(self._predictor.task, Streams):
            raise UsageError(
                f"--option for task {self._predictor.task.name!r}", expected="a bundle that generates text"
            )
        if setup.top_k is not None:
            set_top_k(self._predictor, setup.top_k)
        if setup.fast_decode:
            set_fast_decode(self._predictor)
        engine = self._predictor.engine
        ours = version("edgekit-ai")
        self.about = f"{self._predictor.artifact.file} on {engine.name} {engine.version}, edgekit {ours}"
        self._pipeline = (
            Pipeline(self._predictor, threads=setup.threads, batch=setup.batch, answer=guarded)
            if setup.all_cores
            else None
        )

    def part(self, chunk: Chunk) -> Part:
        """Answer a chunk. Raises EnvironmentFault where something is missing on this machine."""
        return self.part_of(chunk.digest, self.rows(chunk.entries))

    def part_of(self, digest: str, rows: Sequence[table.Row]) -> Part:
        """Return rows as the part of a chunk."""
        failed = sum(row["status"] == "failed" for row in rows)
        return Part(digest, table.encode(rows, self.spec), len(rows), failed, self.about)

    def rows(self, entries: Iterable[Entry]) -> list[table.Row]:
        """Answer entries in order, one row an input."""
        reads = [one for entry in entries for one in read(entry, self.spec)]
        outcomes = self._outcomes(reads)
        return [self._row(one, outcome) for one, outcome in zip(reads, outcomes, strict=True)]

    def set_aside(self, name: str, error: str) -> table.Row:
        """Return the row of an input that was not answered."""
        return table.failure(name, None, error, self._columns)

    def _outcomes(self, reads: Sequence[Read]) -> Iterable[Outcome]:
        items = [one.item for one in reads]
        if self._pipeline is not None:
            return self._pipeline.over(items)
        size = self.setup.batch
        groups = (items[start : start + size] for start in range(0, len(items), size))
        return (outcome for group in groups for outcome in guarded(self._predictor, self._predictor.runner, group))

    def _row(self, one: Read, outcome: Outcome) -> table.Row:
        try:
            return table.row(outcome, one.sha256, self._columns)
        except DataRefused as error:
            return table.failure(one.item.name, one.sha256, error.received, self._columns)

    def close(self) -> None:
        """Release the engines."""
        with suppress(RuntimeError):
            if self._pipeline is not None:
                self._pipeline.close()
            self._predictor.close()

    def __enter__(self) -> Answerer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def guarded(
    predictor: Predictor,
    engine: BoundEngine | SimpleQueue[BoundEngine],
    group: Sequence[Item],
    *,
    pictures: bool = False,
) -> list[Outcome]:
    """As `answer_group`, but whatever one input raises sets that input aside: a run of days must not end on it.

    Raises:
        EnvironmentFault: Something is missing on this machine, so that other inputs would fail as well.
    """
    try:
        return answer_group(predictor, engine, group, pictures=pictures)
    except (EnvironmentFault, UsageError, BundleRefused):
        raise
    except Exception as error:
        if len(group) > 1:
            return [outcome for item in group for outcome in guarded(predictor, engine, [item], pictures=pictures)]
        why = error.received if isinstance(error, EdgeKitError) else f"{type(error).__name__}: {said(error)}"
        return [Outcome(group[0], error=DataRefused(f"{group[0].name}: {why}"))]
