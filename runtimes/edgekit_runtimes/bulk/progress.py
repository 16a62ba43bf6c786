"""How far a run is: a bar on a terminal, otherwise a line every half minute; with the rate and the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any

import click

_LINE_SECONDS = 30.0
_RATE_SECONDS = 60.0


class Progress:
    """Use as a context manager.

    Args:
        count: Returns the number of inputs, or ``None``; it may take long and runs beside the work.
        clock: Seconds.
    """

    def __init__(self, count: Callable[[], int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._done = self._failed = self._here = 0
        self._total: int | None = None
        self._told = clock()
        self._bar: Any = None
        self._counter = threading.Thread(target=self._count, args=(count,), daemon=True)

    def _count(self, count: Callable[[], int | None]) -> None:
        try:
            self._total = count()
        except OSError:
            self._total = None

    def found(self, rows: int, failed: int) -> None:
        """Count inputs that an earlier run has dealt with: they do not count for the rate."""
        self._done += rows
        self._failed += failed
        self._show()

    def answered(self, rows: int, failed: int) -> None:
        """Count inputs that were answered now."""
        self._here += rows
        self._times.append((self._clock(), self._here))
        while len(self._times) > 2 and self._times[-1][0] - self._times[0][0] > _RATE_SECONDS:
            self._times.popleft()
        self.found(rows, failed)

    def text(self) -> str:
        """Say how far it is, in a line."""
        of = f" of {self._total:,}" if self._total is not None else ""
        parts = [f"{self._done:,}{of} inputs", f"{self._failed:,} failed"]
        rate = self._rate()
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            if self._total is not None:
                seconds = max(0, self._total - self._done) / rate
                parts.append(f"{timedelta(seconds=round(seconds))} left")
        return ", ".join(parts)

    def _rate(self) -> float:
        (start, before), (now, after) = self._times[0], self._times[-1]
        return (after - before) / (now - start) if now > start else 0.0

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(0, completed=self._done, total=self._total, description=self.text())
        elif self._clock() - self._told >= _LINE_SECONDS:
            self._told = self._clock()
            click.echo(self.text(), err=True)

    def __enter__(self) -> Progress:
        self._counter.start()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
            self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
