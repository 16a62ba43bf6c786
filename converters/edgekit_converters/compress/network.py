"""A trained network that can be made smaller: what the flow asks of a framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from edgekit.engine import Array, Feeds
from edgekit_converters.compress.choice import Measure
from edgekit_converters.compress.samples import Samples
from edgekit_converters.compress.training import Tune
from edgekit_converters.input_size import Size

BATCH = 32
Progress = Callable[[int], float]
"""Number of a step, from 1, to how much of the learning is over once it is done, 0..1."""


class Network(ABC):
    """A network and the original that it comes from.

    Attributes:
        notes: What could not be touched, for the user.
        suffix: Of the file that :meth:`save` writes.
    """

    notes: tuple[str, ...]
    suffix: str

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and dense layers for one input."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of weights."""

    @abstractmethod
    def prune(self, samples: Samples, *, measure: Measure, target: float) -> dict[str, int]:
        """Remove the channels that cost most for what they do, and refit the layers that read them.

        Args:
            samples: To measure importance and to refit on.
            measure: What is to fall.
            target: Until at most so much of it is left.

        Returns:
            Layer that names a set -> channels removed from it; empty where nothing can go any more.
        """

    @abstractmethod
    def learn(self, samples: Samples, progress: Progress, *, rate: float, seed: int) -> Iterator[float]:
        """Distil from the original, a step at a time; the learning rate rises at first, then falls to zero.

        Args:
            samples: Unlabelled samples.
            progress: Ends the learning when it reaches 1; the caller may stop earlier.
            rate: Largest learning rate.
            seed: Of the random changes.

        Yields:
            Distance to the original on each batch.
        """

    @abstractmethod
    def distance(self, samples: Samples) -> float:
        """Distance of the answers to the original's, as it is learned, on unchanged samples."""

    @abstractmethod
    def copy(self) -> Network:
        """A copy that can be pruned without changing this one."""

    @abstractmethod
    def snapshot(self) -> object:
        """The weights as they are."""

    @abstractmethod
    def restore(self, weights: object) -> None:
        """Go back to the weights of a snapshot of the same channels."""

    @abstractmethod
    def between(self, start: object, end: object, share: float) -> object:
        """Weights between two snapshots of the same channels: ``share`` of the way from the first to the second."""

    @abstractmethod
    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer; input and output names are the original's."""

    @abstractmethod
    def train(self, tune: Tune, steps: int) -> None:
        """Let a function of the user's train the network while it computes as its int8 artifact will."""

    @abstractmethod
    def save(self, path: Path, original_size: Size | None = None) -> None:
        """Write a source model that ``edgekit convert`` opens.

        Args:
            path: The file.
            original_size: Of the original's photos, where they are larger; the file says so.
        """
