"""A bulk run from its words to its Parquet file.

Chunks that the ledger has are left out; the others are answered in this process, by a pool or by a Ray cluster; each
part is committed as it comes; in the end the parts become one file. Results and their order depend on the inputs and
the set-up alone, so an interrupted run that went on gives the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from edgekit.bundle import Bundle, bundle_sha256
from edgekit.cores import usable_cores
from edgekit.errors import PartialFailure, QualityError, UsageError
from edgekit.tasks import task_class
from edgekit_runtimes.bulk.answer import Answerer, Part, Setup
from edgekit_runtimes.bulk.chunk import Chunk, chunks
from edgekit_runtimes.bulk.ledger import Ledger
from edgekit_runtimes.bulk.options import Budget, BulkOptions
from edgekit_runtimes.bulk.progress import Progress
from edgekit_runtimes.bulk.publish import Output, damaged, finished, publish, write_errors
from edgekit_runtimes.bulk.source import Source
from edgekit_runtimes.signals import Stopped

SCHEMA = 1
CHUNK = 512
SLOW_CHUNK = 8
"""Where an input takes seconds: no more than those are lost by a kill."""

Backend = Callable[[Iterator[Chunk]], Generator[Part, None, None]]


@dataclass(frozen=True)
class Request:
    """What ``edgekit run`` was asked for.

    Attributes:
        setup: How inputs are answered.
        words: The inputs.
        output: Where results go.
        options: The options of bulk runs.
    """

    setup: Setup
    words: tuple[str, ...]
    output: Output
    options: BulkOptions


def setup_for(bundle: Path, **asked: Any) -> Setup:
    """Return the set-up for a bundle; the arguments are fields of `Setup`. Raises BundleRefused."""
    return Setup(str(bundle), bundle_sha256(bundle), **asked)


def run(request: Request) -> None:
    """Answer all inputs.

    Raises:
        UsageError: Options that do not go together; an output of another set-up.
        QualityError: More inputs failed than the budget allows; nothing is published.
        PartialFailure: Done, with some inputs failed.
        EdgeKitError: The bundle cannot be opened, the disk is full, something is missing here.
        click.exceptions.Exit: Stopped by a signal.
    """
    options, output = request.options, request.output
    _check(request)
    budget = options.budget()
    spec = Bundle(request.setup.bundle, check=False).spec
    size = options.chunk or (SLOW_CHUNK if task_class(spec.task).name == "text-generation" else CHUNK)
    source = Source(spec, request.words, options.column, size)
    source.check_column()
    job = _job(request.setup, options, size)
    output.refuse_foreign()
    found = None if options.restart or output.ledger.exists() else _already(output, job, source)
    if found is None:
        with Ledger(output.ledger, output.parts, job, str(output.path), restart=options.restart) as ledger:
            output.begin(restart=options.restart)
            found = _already(output, job, source)
            if found is not None:  # killed between the two, or by another run meanwhile
                ledger.remove()
            else:
                found = _Run(request, source, ledger, budget, job).to_end()
                click.echo(f"{output.path}: {found[0]:,} inputs, {found[1]:,} failed", err=True)
    rows, failed = found
    if failed:
        raise PartialFailure(f"{failed:,} of {rows:,} inputs failed: {output.errors} says why")


def _already(output: Output, job: Mapping[str, Any], source: Source) -> tuple[int, int] | None:
    """Return inputs and failures of a file that is published; ``None`` where there is none."""
    about = output.published()
    if about is None:
        return None
    rows, failed = finished(output, about, job, [chunk.digest for chunk in chunks(source.entries(), source.size)])
    click.echo(f"{output.path}: already has all {rows:,} inputs", err=True)
    return rows, failed


def _check(request: Request) -> None:
    options = request.options
    if options.gpus is not None and options.ray is None:
        raise UsageError("--gpus without --ray", expected="--ray auto --gpus 1", remedy="name --engine for one machine")
    if "-" in request.words:
        raise UsageError("standard input into a Parquet file", expected="files", remedy="write results.jsonl instead")


def _job(setup: Setup, options: BulkOptions, size: int) -> Mapping[str, Any]:
    """What results depend on, for the ledger and the file's own record."""
    from importlib.metadata import version

    return {
        "schema": SCHEMA,
        "bundle": setup.bundle_hash,
        "engine": setup.engine,
        "recipe": setup.recipe,
        "options": dict(setup.options),
        "top_k": setup.top_k,
        "batch": setup.batch,
        "fast_decode": setup.fast_decode,
        "column": options.column,
        "chunk": size,
        "edgekit": version("edgekit-ai"),
    }


class _Run:
    """One run over what the ledger does not have yet."""

    def __init__(
        self, request: Request, source: Source, ledger: Ledger, budget: Budget | None, job: Mapping[str, Any]
    ) -> None:
        self._request, self._source, self._ledger = request, source, ledger
        self._budget, self._job = budget, job
        self._order: list[str] = []
        self._rows = self._failed = 0

    def to_end(self) -> tuple[int, int]:
        """Return inputs and failures of all that is published."""
        output, ledger = self._request.output, self._ledger
        if ledger.done:
            click.echo(f"{output.path}: goes on after {ledger.rows:,} inputs", err=True)
        try:
            self._answer_all()
            while damaged(ledger, self._order):  # on a disk that lies; what is damaged is answered again
                self._answer_all()
            self._within_budget(ended=True)
            publish(output, ledger, self._order, self._job, self._source.spec)
        except Stopped as stop:
            kept = f"{ledger.rows:,} inputs are done and kept in {output.parts}; the same command goes on from there"
            click.echo(f"stopped by {stop}: {kept if ledger.rows else 'nothing was done yet'}", err=True)
            raise click.exceptions.Exit(stop.code) from None
        lines = [ledger.done[chunk] for chunk in self._order]
        return sum(line.rows for line in lines), sum(line.failed for line in lines)

    def _answer_all(self) -> None:
        self._order.clear()
        self._rows = self._failed = 0
        with Progress(self._source.count) as progress, closing(self._backend()(self._pending(progress))) as parts:
            for part in parts:
                self._ledger.commit(part)
                self._count(part.rows, part.failed)
                progress.answered(part.rows, part.failed)

    def _pending(self, progress: Progress) -> Iterator[Chunk]:
        """Chunks that are not done yet, each once, in order."""
        seen: set[str] = set()
        for chunk in chunks(self._source.entries(), self._source.size):
            digest = chunk.digest
            self._order.append(digest)
            if digest in seen:
                continue
            seen.add(digest)
            if self._ledger.has(digest):
                line = self._ledger.done[digest]
                self._count(line.rows, line.failed)
                progress.found(line.rows, line.failed)
            else:
                yield chunk

    def _count(self, rows: int, failed: int) -> None:
        self._rows += rows
        self._failed += failed
        self._within_budget()

    def _within_budget(self, *, ended: bool = False) -> None:
        if self._budget is None or not self._budget.exceeded(self._rows, self._failed, ended=ended):
            return
        write_errors(self._request.output, self._ledger, self._order)
        raise QualityError(
            f"{self._failed:,} of {self._rows:,} inputs failed: {self._request.output.errors} says why",
            expected=f"at most --max-failures {self._budget}",
            remedy="mend them, or allow more; what is done is kept, and nothing was published",
        )

    def _backend(self) -> Backend:
        setup, options = self._request.setup, self._request.options
        if options.ray is not None:
            from edgekit_runtimes.bulk.on_ray import Cluster, answered

            cluster = Cluster(options.ray, options.workers, options.gpus or 0.0)
            return lambda pending: answered(setup, pending, cluster)
        if options.workers is not None and options.workers > 1:
            from edgekit_runtimes.bulk import pool

            workers = options.workers
            shared = replace(setup, threads=setup.threads or max(1, usable_cores() // workers))
            return lambda pending: pool.answered(shared, pending, workers)
        return lambda pending: _here(replace(setup, all_cores=True), pending)


def _here(setup: Setup, pending: Iterator[Chunk]) -> Generator[Part, None, None]:
    """Answer chunks in this process, on all of its cores."""
    answerer: Answerer | None = None
    try:
        for chunk in pending:
            if answerer is None:
                answerer = Answerer(setup)
                click.echo(answerer.about, err=True)
            yield answerer.part(chunk)
    finally:
        if answerer is not None:
            answerer.close()


def refused_with(output: str, given: Mapping[str, object], outputs: Sequence[str]) -> None:
    """Raise UsageError for options that do not go with a Parquet output."""
    if len(outputs) > 1:
        raise UsageError(f"{output} with another output", expected="a Parquet output alone")
    for name, value in given.items():
        if value not in (None, False, ()):
            raise UsageError(f"{name} with -o {output}", expected="another output for it, such as results.jsonl")
