"""A network at an input size, with the data encoded for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import DataRefused, EdgeKitError, UsageError
from edgekit.spec import Spec
from edgekit.tasks import Task
from edgekit_converters.compress.network import Network
from edgekit_converters.compress.networks import network_of
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.compress.samples import Samples
from edgekit_converters.convert import task_of
from edgekit_converters.input_size import Size, fitted, open_at, own_size, sides, sides_below
from edgekit_converters.prepare import HELD_OUT_EVERY, Prepared, answered_as, datasets, encode, prepare
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.sources import Source
from edgekit_converters.store import SampleStore

_SIZES_ABOVE = 2
"""Smaller sizes tried that still cost more than the goal allows, whose channels make up for the rest."""


@dataclass(frozen=True)
class Setting:
    """A network at an input size.

    Attributes:
        network: The network.
        task: What its inputs and answers mean.
        learned: Samples to learn from.
        watched: Samples kept aside to judge the learning by.
        size: Height and width of its photos; ``None`` for those of the original.
        said: What the user said, for these photos.
        meant: Height and width of the photos that preprocessing is meant for, where they are larger: those of the
            original, or of the model that the original was compressed from.
        folder: Of the data.
    """

    network: Network
    task: Task
    learned: Samples
    watched: Samples
    size: Size | None
    said: Spec | None
    meant: Size | None
    folder: Path

    @property
    def shown(self) -> str:
        """The size in words."""
        return "as they are" if self.size is None else f"of {sides(self.size)}"


@dataclass(frozen=True)
class Whole:
    """What the original costs: MACs for one input, and weights."""

    macs: int
    parameters: int


class Settings:
    """The original's own setting, and those of smaller photos as they are asked for.

    Args:
        request: What to do.
        source: The open original.
        stages: Progress.
        scratch: A folder.

    Attributes:
        own: With the original's own inputs.
        whole: MACs and parameters of the original.
        data: Encoded for the original, with its answers.
        own_size: Photo size of the original; ``None`` where it is not to be varied.
    """

    def __init__(self, request: CompressRequest, source: Source, stages: Stages, scratch: Path) -> None:
        self._request, self._source, self._stages, self._scratch = request, source, stages, scratch
        self._smaller: dict[Size, Setting | EdgeKitError] = {}
        folder = scratch / "spec"
        folder.mkdir()
        conversion = request.conversion
        self._said = fitted(conversion.spec, source, source.original_size)
        self.task: Task = task_of(self._said, source, conversion, folder)
        self.own_size = own_size(self.task.spec)
        self._refuse_sizes()
        with stages.stage("find the channels"):
            self.network = network_of(source, round_to=request.round_to, decides=self.task.decides)
        self.whole = Whole(self.network.macs, self.network.parameters)

    def _refuse_sizes(self) -> None:
        for height, width in self._request.resolutions:
            if self.own_size is None:
                raise UsageError("--resolution for this model", expected="a classifier of photos of one size")
            rows, columns = self.own_size
            if height > rows or width > columns or (height, width) == self.own_size:
                raise UsageError(f"--resolution {height}x{width}", expected=f"less than the model's {rows}x{columns}")

    def read(self) -> Setting:
        """Encode the data for the original, ask it, and return its own setting."""
        asked = replace(self._request.conversion, recipes=("fp32",))
        self.data: Prepared = prepare(asked, self._source, self.task, self._stages, self._scratch)
        store = self.data.calibration
        if store is None or len(store) < 2:
            raise DataRefused("fewer than 2 samples to learn from", expected="a few hundred")
        learned, watched = _split(store, self.task, None)
        meant = self._source.original_size
        self.own = Setting(self.network, self.task, learned, watched, None, self._said, meant, self._scratch)
        return self.own

    def near(self, share: float) -> Iterator[Setting]:
        """Settings to reach a share of the original's MACs from, the original's own first.

        Sizes that the user named are all given; else the largest whose smaller photos alone save enough, and a few
        above it.

        Raises:
            EdgeKitError: The network does not take a size that the user named.
        """
        yield self.own
        if self.own_size is None or self._request.own_resolution:
            return
        named, pixels = self._request.resolutions, share * self.own_size[0] * self.own_size[1]
        below = sides_below(self.own_size)
        first = next((place for place, size in enumerate(below) if size[0] * size[1] <= pixels), len(below))
        for size in named or below[max(0, first - _SIZES_ABOVE) : first + 1]:
            try:
                setting = self._at(size)
            except EdgeKitError as refused:
                if named:
                    raise
                self._stages.note(f"the input stays as it is: {refused.received}")
                return
            yield setting

    def _at(self, size: Size) -> Setting:
        if size not in self._smaller:
            try:
                self._smaller[size] = self._opened(size)
            except EdgeKitError as refused:
                self._smaller[size] = refused
        found = self._smaller[size]
        if isinstance(found, EdgeKitError):
            raise found
        return found

    def _opened(self, size: Size) -> Setting:
        assert self.own_size is not None  # noqa: S101  sizes are varied only where there is one
        conversion, shown = self._request.conversion, sides(size)
        with self._stages.stage(f"read the data for {shown}"):
            source = open_at(conversion, self._source, size)
            folder = self._scratch / shown
            folder.mkdir()
            said = fitted(self._said, source, self.own_size)
            task = task_of(said, source, conversion, folder)
            round_to, decides = self._request.round_to, task.decides
            network = network_of(source, round_to=round_to, decides=decides, original=self._source)
            quiet = Stages(Silent())
            calibration, _, _ = datasets(conversion, task.spec, quiet)
            assert calibration is not None  # noqa: S101  the original was given some
            store = encode(calibration, task, source, quiet, folder=folder / "calibration", title=shown)
        originals = self.data.calibration
        if originals is None or store.names() != originals.names():
            raise DataRefused("the data changed while they were read", expected="the same samples each time")
        learned, watched = _split(store, task, originals)
        meant = self._source.original_size or self.own_size
        return Setting(network, task, learned, watched, size, said, meant, folder)

    def evaluation(self, setting: Setting) -> SampleStore:
        """The evaluation data as a setting's network takes them, with the original's answers."""
        if setting.size is None:
            return self.data.evaluation
        conversion, shown = self._request.conversion, sides(setting.size)
        _, evaluation, _ = datasets(conversion, setting.task.spec, Stages(Silent()))
        assert evaluation is not None  # noqa: S101  there is one wherever there is calibration data
        title, folder = f"read the evaluation data for {shown}", setting.folder / "evaluation"
        encoded = encode(evaluation, setting.task, self._source, self._stages, folder=folder, title=title)
        return answered_as(encoded, self.data.evaluation, setting.folder / "answered")

    def closest(self, share: float) -> tuple[Setting, Network]:
        """The setting from which a share of the original's MACs is reached with the least change of the answers.

        Returns:
            The setting, and a copy of its network that costs no more.
        """
        found = []
        for setting in self.near(share):
            network = setting.network.copy()
            if network.macs > share * self.whole.macs:
                with self._stages.stage(f"remove channels for photos {setting.shown}"):
                    network.prune(setting.learned, measure="macs", target=share * self.whole.macs)
            found.append((network.distance(setting.watched), setting, network))
        if len(found) > 1:
            words = ", ".join(f"{setting.shown} {distance:.3f}" for distance, setting, _ in found)
            self._stages.note(f"distance at {100 * share:.0f} % of the MACs, by the size of the photos: {words}")
        _, setting, network = min(found, key=lambda item: item[0])
        return setting, network


def _split(store: SampleStore, task: Task, originals: SampleStore | None) -> tuple[Samples, Samples]:
    kept = [index for index in range(len(store)) if index % HELD_OUT_EVERY]
    aside = range(0, len(store), HELD_OUT_EVERY)
    learned, watched = (Samples(store, task.spec, which, originals=originals) for which in (kept, aside))
    return learned, watched
