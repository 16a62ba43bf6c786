"""A bundle ready to answer: artifact, engine and task in one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgekit.binding import BoundEngine
from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Engine
from edgekit.errors import DataRefused
from edgekit.tasks import Result, Task, task_for
from edgekit_runtimes.choice import open_artifact


class Predictor:
    """Predicts on real inputs. Use as a context manager, or `close` it.

    Attributes:
        bundle: The bundle.
        artifact: The artifact that runs.
        engine: The engine that runs it.
        task: What encodes inputs and decodes outputs.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact, engine: Engine, task: Task) -> None:
        self.bundle = bundle
        self.artifact = artifact
        self.engine = engine
        self.task = task
        self._runner = BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs)

    def predict(self, item: Any) -> Result:
        """Predict on one input.

        Args:
            item: Path of a photo or a picture array, a sentence, or named arrays, as the bundle's task says.

        Raises:
            DataRefused: The input cannot be used, or holds more than one sample.
        """
        results = self.predict_batch([item])
        if len(results) != 1:
            raise DataRefused(f"an input of {len(results)} samples", expected="one sample", remedy="use predict_batch")
        return results[0]

    def predict_batch(self, items: Iterable[Any]) -> list[Result]:
        """Predict on several inputs at once; an artifact with a fixed batch runs them one after another.

        Args:
            items: Inputs as for `predict`; all of them are held in memory.

        Returns:
            One result for each sample, in order.

        Raises:
            DataRefused: An input cannot be used.
        """
        feeds = [self.task.encode(item) for item in items]
        if not feeds:
            return []
        if len(feeds) == 1:
            return self.task.decode(self._runner.run(feeds[0]))
        return self.task.decode(
            self._runner.run({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
        )

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    bundle: str | Path, *, engine: str | None = None, recipe: str | None = None, threads: int | None = None
) -> Predictor:
    """Open a bundle for prediction.

    Of the bundle's files, those that are used are compared with their checksums; ``edgekit verify`` checks all.

    Args:
        bundle: Folder of the bundle.
        engine: Name of an engine; by default the built-in one for the artifact's format.
        recipe: Named precision; by default the fastest artifact that passed its gate, see
            `edgekit_runtimes.choice`.
        threads: Threads of the engine; ``None`` lets it choose.

    Raises:
        EdgeKitError: The bundle is damaged, what was asked for is not there, or nothing in it can run here.
    """
    opened = Bundle(bundle, check=False)
    text = opened.spec.text
    opened.check_files([text.tokenizer] if text else [])
    task = task_for(opened.spec, opened.path)
    artifact, runner = open_artifact(opened, engine, recipe, threads)
    return Predictor(opened, artifact, runner, task)
