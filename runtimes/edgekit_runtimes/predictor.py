"""A bundle ready to answer: artifact, engine and task in one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.binding import BoundEngine
from edgekit.bundle import Artifact, Bundle
from edgekit.engine import BUILT_IN, Array, Engine, open_engine
from edgekit.errors import DataRefused, UsageError
from edgekit.tasks import Result, Task, task_for
from edgekit.tasks.base import Streams
from edgekit_runtimes.choice import open_artifact


class Predictor:
    """Predicts on real inputs. Use as a context manager, or `close` it.

    Attributes:
        bundle: The bundle.
        artifact: The artifact that runs.
        engine: The engine that runs it.
        task: What encodes inputs and decodes outputs.
        runner: The engine under the spec's names.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact, engine: Engine, task: Task) -> None:
        self.bundle = bundle
        self.artifact = artifact
        self.engine = engine
        self.task = task
        self.runner = BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs)

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

    def stream(self, item: Any) -> Generator[str, None, Result]:
        """Predict on one input and give the result's text piece by piece, as it comes.

        Args:
            item: A prompt, or a mapping of ``text`` and settings for it, as for `predict`.

        Yields:
            Pieces of text; together they are the result's.

        Returns:
            The result.

        Raises:
            UsageError: The bundle's task does not generate text.
            DataRefused: The input cannot be used.
        """
        if not isinstance(self.task, Streams):
            raise UsageError(f"stream for task {self.task.name!r}", expected="a bundle that generates text")
        return self.task.stream(self.runner.run, self.task.encode(item))

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
        return self.task.answer(self.runner.run, feeds) if feeds else []

    def results(self, runner: BoundEngine, feeds: Sequence[Mapping[str, Array]]) -> list[Result]:
        """Infer encoded inputs of one sample each on an engine of one's own, and decode; any thread may call it.

        Args:
            runner: The engine: `runner`, or that of a `copy`. It serves one thread at a time.
            feeds: What the task made of the inputs.

        Returns:
            One result an input.

        Raises:
            DataRefused: The engine fails on them, or an input held more than one sample.
        """
        found: list[Result] = self.task.answer(runner.run, feeds)
        if len(found) != len(feeds):
            raise DataRefused(f"an input of {len(found)} samples", expected="one sample")
        return found

    @property
    def on_cpu(self) -> bool:
        """Whether a built-in engine runs the artifact on the CPU."""
        return self.engine.name in BUILT_IN and "CPU" in str(getattr(self.engine, "provider", "CPU"))

    @property
    def artifact_bytes(self) -> int:
        """Size of what is opened."""
        return self.artifact.bytes

    def copy(self, *, threads: int | None = None) -> Predictor:
        """Open the artifact once more, on the same engine.

        Args:
            threads: Threads of the engine; ``None`` lets it choose.
        """
        path = self.bundle.file(self.artifact.file)
        return Predictor(self.bundle, self.artifact, open_engine(path, self.engine.name, threads=threads), self.task)

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
    bundle: str | Path,
    *,
    engine: str | None = None,
    recipe: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Predictor:
    """Open a bundle for prediction.

    Of the bundle's files, those that are used are compared with their checksums; ``edgekit verify`` checks all.

    Args:
        bundle: Folder of the bundle.
        engine: Name of an engine; by default the built-in one for the artifact's format.
        recipe: Named precision; by default the fastest artifact that passed its gate, see
            `edgekit_runtimes.choice`.
        threads: Threads of the engine; ``None`` lets it choose.
        options: Options of the task that replace those of the bundle, e.g. ``{"temperature": 0.8}``.

    Raises:
        EdgeKitError: The bundle is damaged, what was asked for is not there, or nothing in it can run here.
    """
    opened = Bundle(bundle, check=False)
    opened.check_files(opened.spec.files)
    task = task_for(opened.spec.replace(options={**opened.spec.options, **(options or {})}), opened.path)
    artifact, runner = open_artifact(opened, engine, recipe, threads)
    return Predictor(opened, artifact, runner, task)
