"""The models that are served: each with predictors on threads of its own behind a bounded queue."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.binding import BoundEngine
from edgekit.engine import Array
from edgekit.errors import DataRefused, UsageError
from edgekit.spec import Spec
from edgekit.tasks import Task
from edgekit_runtimes.predictor import Predictor, load
from edgekit_runtimes.serve.answers import Answer, json_answer
from edgekit_runtimes.serve.inference_protocol import (
    HEADER_LENGTH,
    VERSION,
    build_response,
    describe,
    parse_request,
)
from edgekit_runtimes.serve.queue import Worker

Clock = Callable[[float], None]
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Seat:
    """What one thread of a model owns.

    Attributes:
        predictor: The open bundle.
        bound: Its engine, on the spec's tensors.
    """

    predictor: Predictor
    bound: BoundEngine


@dataclass(frozen=True)
class Model:
    """One served bundle.

    Attributes:
        name: In URLs.
        spec: Of the bundle.
        task: Encodes and decodes.
        platform: Engine and format, e.g. ``litert_tflite``.
        title: Artifact and engine, for people.
        worker: Where it runs.
        inferred: Told the seconds of each run of the engine.
    """

    name: str
    spec: Spec
    task: Task
    platform: str
    title: str
    worker: Worker[Seat]
    inferred: Clock

    def metadata(self) -> dict[str, Any]:
        """Return what the protocol says of a model."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": self.platform,
            "inputs": describe(self.spec.inputs),
            "outputs": describe(self.spec.outputs),
        }

    def infer(self, seat: Seat, body: bytes | bytearray, header_length: str | None) -> Answer:
        """Answer an inference request, on a thread of the worker. Raises DataRefused when it does not fit."""
        request = parse_request(body, header_length, self.spec)
        outputs = self._run(seat, request.feeds)
        content, length = build_response(self.name, request, outputs)
        if length is None:
            return Answer(200, content)
        return Answer(200, content, "application/octet-stream", ((HEADER_LENGTH, str(length)),))

    def predict(self, seat: Seat, feeds: Mapping[str, Array]) -> Answer:
        """Answer with the task's result for one encoded input, on a thread of the worker."""
        (result,) = self.task.answer(partial(self._run, seat), [feeds])
        content = {"model_name": self.name, "model_version": VERSION, "result": result.to_dict()}
        try:
            return json_answer(content)
        except ValueError as error:
            raise DataRefused("a result that holds NaN or infinity", expected="finite numbers") from error

    def _run(self, seat: Seat, feeds: Mapping[str, Array]) -> dict[str, Array]:
        start = time.perf_counter()
        outputs = seat.bound.run(feeds)
        self.inferred(time.perf_counter() - start)
        return outputs

    def close(self) -> None:
        """End the threads and release the engines; one that is still running is left to the end of the process."""
        if self.worker.close():
            for seat in self.worker.resources:
                seat.predictor.close()


def open_model(
    bundle: str,
    inferred: Callable[[str, float], None],
    *,
    engine: str | None,
    recipe: str | None,
    threads: int | None,
    workers: int,
    queue: int,
) -> Model:
    """Open a bundle for serving.

    Args:
        bundle: Folder, or ``NAME=FOLDER`` to serve it under another name.
        inferred: Told the model's name and the seconds of each run of the engine.
        engine: As for `edgekit_runtimes.predictor.load`.
        recipe: As for `edgekit_runtimes.predictor.load`.
        threads: Of each engine.
        workers: Threads that answer at the same time, each with an engine of its own.
        queue: Requests that may wait.

    Raises:
        EdgeKitError: The bundle cannot be opened, or its name does not fit into a URL.
    """
    name, path = _named(bundle)
    predictors = [load(path, engine=engine, recipe=recipe, threads=threads) for _ in range(workers)]
    first = predictors[0]
    name = name or first.bundle.manifest.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"a model named {name!r}", expected="letters, digits, . _ -", remedy=f"serve NAME={path}")
    spec = first.bundle.spec
    describe((*spec.inputs, *spec.outputs))  # refuses dtypes that the protocol has no name for
    seats = [Seat(p, BoundEngine(p.engine, spec, p.artifact.inputs, p.artifact.outputs)) for p in predictors]
    return Model(
        name=name,
        spec=spec,
        task=first.task,
        platform=f"{first.engine.name}_{first.artifact.format}",
        title=f"{first.artifact.file} on {first.engine.name} {first.engine.version}",
        worker=Worker(name, seats, queue),
        inferred=lambda seconds: inferred(name, seconds),
    )


def _named(bundle: str) -> tuple[str | None, Path]:
    name, separator, path = bundle.partition("=")
    if not separator or Path(bundle).exists():
        return None, Path(bundle)
    return name, Path(path)


def by_name(models: Sequence[Model]) -> dict[str, Model]:
    """Return the models under their names. Raises UsageError when two have the same."""
    found = {model.name: model for model in models}
    if len(found) != len(models):
        raise UsageError(
            f"bundles named {', '.join(model.name for model in models)}",
            expected="different names",
            remedy="give one another name: NAME=BUNDLE",
        )
    return found
