"""A run over many inputs: what is bad is reported and skipped, the rest completes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused, PartialFailure, UsageError
from edgekit.tasks import Result
from edgekit_runtimes.inputs.items import Item
from edgekit_runtimes.outputs.records import Records
from edgekit_runtimes.predictor import Predictor


@dataclass
class Run:
    """Predicts item by item and remembers what failed.

    Attributes:
        predictor: What answers.
        records: Where results go.
        draw: Folder for annotated copies of the photos; ``None`` draws nothing.
        done: Number of items with a result.
        failed: Refusals, in order.
    """

    predictor: Predictor
    records: Records
    draw: Path | None = None
    done: int = 0
    failed: list[DataRefused] = field(default_factory=list)
    _drawn: set[Path] = field(default_factory=set)

    def over(self, items: Iterable[Item]) -> None:
        """Predict on every item."""
        for item in items:
            try:
                self._one(item)
                self.done += 1
            except DataRefused as error:  # noqa: PERF203  # one bad item must not end the run
                self.failed.append(error)
                self.records.failure(item.name, error)

    def finish(self) -> None:
        """Raise what went wrong: the refusal of a single item itself, otherwise PartialFailure listing each."""
        if not self.failed:
            return
        if len(self.failed) == 1 and self.done == 0:
            raise self.failed[0]
        listed = "".join(f"\n  {error.received}" for error in self.failed)
        raise PartialFailure(f"{len(self.failed)} of {len(self.failed) + self.done} inputs failed:{listed}")

    def _one(self, item: Item) -> None:
        value = item.load()
        if self.draw is None:
            self.records.result(item.name, self.predictor.predict(value))
            return
        from edgekit.images import read_image

        picture = read_image(value)
        result = self.predictor.predict(picture)
        self._write_copy(self.draw, item, picture, result)
        self.records.result(item.name, result)

    def _write_copy(self, folder: Path, item: Item, picture: Any, result: Result) -> None:
        from edgekit_runtimes.outputs.pictures import annotate, result_lines, write_picture

        path = folder / (item.inside or Path(item.name)).with_suffix(".jpg")
        number = 2
        while path in self._drawn:
            path = path.with_name(f"{path.stem}-{number}.jpg")
            number += 1
        if path.resolve() == Path(item.name).resolve():
            raise UsageError(f"--draw {folder} would overwrite {item.name}", expected="another folder")
        self._drawn.add(path)
        write_picture(path, annotate(picture, result_lines(result)))
