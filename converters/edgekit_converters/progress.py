"""Progress of long work: what the user sees is decided by the caller."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.progress import TaskID

T = TypeVar("T")


class Reporter(Protocol):
    """Receives the stages of the work."""

    def stage(self, title: str, total: int | None) -> AbstractContextManager[object]:
        """Enter a stage of so many steps (``None``: unknown)."""

    def advance(self) -> None:
        """Finish a step of the current stage."""

    def note(self, text: str) -> None:
        """Tell the user something worth knowing."""


class Silent:
    """Shows nothing; the default of the Python interface."""

    def stage(self, title: str, total: int | None) -> AbstractContextManager[object]:
        """Enter a stage."""
        return nullcontext()

    def advance(self) -> None:
        """Finish a step."""

    def note(self, text: str) -> None:
        """Ignore the text."""


class Stages:
    """Runs stages, keeps their notes and their seconds.

    Args:
        reporter: What the user sees.

    Attributes:
        seconds: Stage title -> seconds.
        notes: Notes so far.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[None]:
        """Enter a stage; its seconds are added up under its title."""
        start = time.perf_counter()
        try:
            with self._reporter.stage(title, total):
                yield
        finally:
            self.seconds[title] = self.seconds.get(title, 0.0) + time.perf_counter() - start

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, one step each."""
        for item in items:
            yield item
            self._reporter.advance()

    def note(self, text: str) -> None:
        """Keep a note and show it."""
        if text not in self.notes:
            self.notes.append(text)
            self._reporter.note(text)


class LogReporter:
    """A line on standard error for each finished stage, for logs and pipes."""

    @contextmanager
    def stage(self, title: str, total: int | None) -> Iterator[None]:
        """Say so when the stage is finished."""
        start = time.perf_counter()
        yield
        steps = f", {total} samples" if total else ""
        print(f"{title}: {time.perf_counter() - start:.1f} s{steps}", file=sys.stderr, flush=True)  # noqa: T201

    def advance(self) -> None:
        """Count nothing."""

    def note(self, text: str) -> None:
        """Write the note."""
        print(f"note: {text}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def reporter_for_terminal() -> Iterator[Reporter]:
    """Bars where standard error is a terminal, lines where it is not."""
    if not sys.stderr.isatty():
        yield LogReporter()
        return
    with RichReporter() as bars:
        yield bars


class RichReporter:
    """Progress bars on standard error, which leaves standard output for the result."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        # A handle of its own: standard error itself is kept from the libraries' chatter while they convert.
        self._stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8")
        self._console = Console(file=self._stream)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks: list[TaskID] = []

    def __enter__(self) -> RichReporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._stream.close()

    @contextmanager
    def stage(self, title: str, total: int | None) -> Iterator[None]:
        """Show a bar, or a spinner where the number of steps is unknown."""
        task = self._progress.add_task(title, total=total)
        self._tasks.append(task)
        try:
            yield
        finally:
            self._tasks.pop()
        known = total or 1
        self._progress.update(task, total=known, completed=known)

    def advance(self) -> None:
        """Move the innermost bar."""
        if self._tasks:
            self._progress.advance(self._tasks[-1])

    def note(self, text: str) -> None:
        """Print a note above the bars."""
        self._console.print(f"[yellow]note[/yellow] {text}", highlight=False)
