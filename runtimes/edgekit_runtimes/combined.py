"""Several bundles that answer the same inputs: a detector and a segmenter on one video.

Each input is read and decoded once, whatever the number of bundles; every bundle encodes it in its own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.binding import BoundEngine
from edgekit.engine import Array
from edgekit.errors import UsageError
from edgekit.tasks import Drawable, Result, Task
from edgekit.tasks.base import Takes
from edgekit.tasks.picture import PictureTask
from edgekit_runtimes.predictor import Predictor, load


@dataclass(frozen=True)
class Combined:
    """What several bundles say of one input.

    Attributes:
        results: Name of a bundle -> its result, in the order in which the bundles were named.
    """

    results: Mapping[str, Result]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: that of each result under the bundle's name."""
        return {name: result.to_dict() for name, result in self.results.items()}

    def __str__(self) -> str:
        return "; ".join(f"{name}: {result}" for name, result in self.results.items())

    def draw(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw one result over the other, the first at the bottom; results without a drawing are left out."""
        for result in self.results.values():
            if isinstance(result, Drawable):
                picture = result.draw(picture)
        return picture


class CombinedFeeds(dict[str, Array]):
    """Encoded tensors of one input, for each bundle.

    Attributes:
        parts: What each bundle's task made of the input.
    """

    def __init__(self, parts: Sequence[dict[str, Array]]) -> None:
        super().__init__({f"{number}:{name}": a for number, part in enumerate(parts) for name, a in part.items()})
        self.parts = tuple(parts)


class CombinedTask(Task):
    """Encodes an input for each of several tasks, which all take the same.

    Args:
        tasks: Name of a bundle -> its task.
    """

    name = "combined"

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        first = next(iter(tasks.values()))
        super().__init__(first.spec, first.root)
        self.tasks = dict(tasks)
        self.takes: Takes = first.takes  # type: ignore[misc]  # of its parts

    def encode(self, item: Any) -> dict[str, Array]:
        """Encode for each task; a photo is read once."""
        first = next(iter(self.tasks.values()))
        value = first.read(item) if isinstance(first, PictureTask) else item
        return CombinedFeeds([task.encode(value) for task in self.tasks.values()])

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Not for use: each part is decoded by its own task, see `CombinedPredictor`."""
        raise NotImplementedError


class CombinedEngine(BoundEngine):
    """One engine for each bundle.

    Attributes:
        parts: The engines, in the order of the bundles.
    """

    def __init__(self, parts: Sequence[BoundEngine]) -> None:
        self.parts = tuple(parts)
        self.batch = None if all(part.batch is None for part in parts) else 1


class CombinedPredictor(Predictor):
    """Answers with all of several bundles. Its bundle, artifact and engine are those of the first.

    Args:
        predictors: Name of a bundle -> its predictor; they are closed with this one.
    """

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self.parts = dict(predictors)
        first = next(iter(self.parts.values()))
        self.bundle, self.artifact, self.engine = first.bundle, first.artifact, first.engine
        self.task: Task = CombinedTask({name: part.task for name, part in self.parts.items()})
        self.runner = CombinedEngine([part.runner for part in self.parts.values()])

    def predict_batch(self, items: Iterable[Any]) -> list[Result]:
        """Predict on several inputs, as `Predictor.predict_batch`; results are `Combined`."""
        feeds = [self.task.encode(item) for item in items]
        return self.results(self.runner, feeds) if feeds else []

    def results(self, runner: BoundEngine, feeds: Sequence[Mapping[str, Array]]) -> list[Result]:
        """Infer with each bundle's engine and decode with its task."""
        assert isinstance(runner, CombinedEngine)  # noqa: S101  made by this class
        found = [
            part.results(engine, [one.parts[number] for one in feeds if isinstance(one, CombinedFeeds)])
            for number, (part, engine) in enumerate(zip(self.parts.values(), runner.parts, strict=True))
        ]
        return [Combined(dict(zip(self.parts, answers, strict=True))) for answers in zip(*found, strict=True)]

    @property
    def on_cpu(self) -> bool:
        """Whether built-in engines run all artifacts on the CPU."""
        return all(part.on_cpu for part in self.parts.values())

    @property
    def artifact_bytes(self) -> int:
        """Bytes of all artifacts."""
        return sum(part.artifact_bytes for part in self.parts.values())

    def copy(self, *, threads: int | None = None) -> CombinedPredictor:
        """Open all artifacts once more."""
        with ExitStack() as opened:
            parts = {name: opened.enter_context(part.copy(threads=threads)) for name, part in self.parts.items()}
            opened.pop_all()
        return CombinedPredictor(parts)

    def close(self) -> None:
        """Release all engines."""
        for part in self.parts.values():
            part.close()


def load_together(
    bundles: Sequence[str | Path], *, engine: str | None = None, recipe: str | None = None, threads: int | None = None
) -> CombinedPredictor:
    """Open several bundles that take the same inputs.

    Args:
        bundles: Folders, drawn in this order.
        engine: As for `edgekit_runtimes.predictor.load`, for all of them.
        recipe: Likewise.
        threads: Likewise.

    Raises:
        UsageError: Two bundles of one name, or bundles that take different things.
        EdgeKitError: As for `load`.
    """
    with ExitStack() as opened:
        parts: dict[str, Predictor] = {}
        for where in bundles:
            part = opened.enter_context(load(where, engine=engine, recipe=recipe, threads=threads))
            name = part.bundle.manifest.name
            if name in parts:
                raise UsageError(f"two bundles named {name}", expected="different names", remedy="convert with --name")
            parts[name] = part
        takes = {name: part.task.takes for name, part in parts.items()}
        if len(set(takes.values())) > 1:
            listed = ", ".join(f"{name}: {kind}" for name, kind in takes.items())
            raise UsageError(f"bundles that take different inputs ({listed})", expected="the same for all")
        opened.pop_all()
    return CombinedPredictor(parts)
