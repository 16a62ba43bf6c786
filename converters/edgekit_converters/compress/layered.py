"""What is the same of all networks that are made smaller layer by layer, whatever the framework."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.engine import Feeds
from edgekit_converters.compress.channels import ChannelSet, losing, note_kept, saliency
from edgekit_converters.compress.choice import Measure, choose
from edgekit_converters.compress.learning import STATISTICS_BATCH, STATISTICS_SAMPLES
from edgekit_converters.compress.network import BATCH, Network
from edgekit_converters.compress.samples import Samples


class LayeredNetwork(Network):
    """A network whose sets of channels are known; a framework finds, removes and refits them.

    A framework sets the attributes before anything else is called.
    """

    _round_to: int
    _open_batch: bool
    """Whether several inputs go at once."""
    _roots: frozenset[str]
    """Of the sets that may lose channels."""
    _order: Sequence[str]
    """Layers from the inputs to the outputs."""
    _kept: dict[str, Any]
    """Layer -> outputs of the original's layer that are left."""
    _read: dict[str, Any]
    """The same for its inputs."""
    _refitted: set[str]
    """Layers that lost inputs."""

    def prune(self, samples: Samples, *, measure: Measure, target: float) -> dict[str, int]:
        """See :class:`Network`."""
        channels = self._channels()
        sets: list[ChannelSet] = [item for item in channels.sets() if item.root in self._roots]
        readers = sorted({use.layer for item in sets for use in item.readers})
        seen = self._effects(readers, self._batches(samples))
        parts = channels.parts(sets)
        rest = getattr(self, measure) - sum(getattr(part, measure) for part in parts.values())
        chosen = choose(saliency(sets, seen), parts, measure=measure, target=target - rest, round_to=self._round_to)
        note_kept(sets, chosen, kept=self._kept, read=self._read)
        self._remove(channels, chosen)
        lost = losing(sets, chosen)
        self._refitted |= lost
        self._repair([name for name in self._order if name in lost], samples)
        return {root: len(places) for root, places in chosen.items()}

    def distance(self, samples: Samples) -> float:
        """See :class:`Network`."""
        total, count = 0.0, 0
        for feeds, originals in samples.pairs(self._batch):
            size = len(next(iter(feeds.values())))
            total += self._batch_distance(feeds, originals) * size
            count += size
        return total / count

    @property
    def _batch(self) -> int:
        """Inputs at once; a model with a fixed batch sees them one by one."""
        return BATCH if self._open_batch else 1

    def _batches(self, samples: Samples) -> Iterator[Any]:
        """Some of the samples as tensors."""
        left = STATISTICS_SAMPLES
        for feeds in samples.batches(STATISTICS_BATCH if self._open_batch else 1):
            tensors = self._tensors(feeds)
            yield tensors
            left -= len(tensors[0])
            if left <= 0:
                return

    @abstractmethod
    def _channels(self) -> Any:
        """The channels of the network as it is: ``sets()`` and ``parts()``."""

    @abstractmethod
    def _effects(self, readers: Sequence[str], batches: Iterator[Any]) -> Mapping[str, Any]:
        """Layer -> change of the answers when one of its inputs keeps its mean, ``[inputs, channels]``."""

    @abstractmethod
    def _remove(self, channels: Any, chosen: Mapping[str, Sequence[int]]) -> None:
        """Remove channels, root -> channels, from the network."""

    @abstractmethod
    def _repair(self, layers: Sequence[str], samples: Samples) -> None:
        """Refit layers that lost inputs."""

    @abstractmethod
    def _tensors(self, feeds: Feeds) -> Sequence[Any]:
        """The framework's tensors of a batch."""

    @abstractmethod
    def _batch_distance(self, feeds: Feeds, originals: Feeds) -> float:
        """Mean distance of a batch, see :meth:`distance`."""
