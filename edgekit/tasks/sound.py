"""What all tasks on sound share: recordings as windows, windows as input tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.sound.encoding import SoundEncoding
from edgekit.sound.features import features
from edgekit.sound.reading import Sound, StreamedSound, blocks
from edgekit.sound.windows import sliding
from edgekit.spec import Spec
from edgekit.tasks.base import Encoded, Run, Takes, Task, context_of

MAX_WINDOWS = 1024
"""Windows of a recording that are encoded at once; longer ones have to be a `StreamedSound`."""
_PART = 64
"""Windows of a streamed recording that are encoded and answered at a time."""

Item = str | Path | bytes | Sound | StreamedSound | NDArray[Any]


@dataclass(frozen=True)
class SoundContext:
    """What decoding has to know of a recording.

    Attributes:
        lengths: Samples of each window before padding.
        rest: Gives the windows that are still to be encoded, of a streamed recording.
    """

    lengths: tuple[int, ...]
    rest: Callable[[], Iterator[NDArray[np.float32]]] | None = field(default=None, compare=False, repr=False)


class SoundTask(Task):
    """Takes a recording: a path, the bytes of a WAV file, a `Sound`, or an array at the spec's rate.

    Attributes:
        tensor: The input.
        sound: How a recording becomes it.
    """

    takes: ClassVar[Takes] = "sound"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if len(spec.inputs) != 1 or spec.sound is None:
            raise SpecRefused(
                f"{self.name} with {len(spec.inputs)} inputs and {'a' if spec.sound else 'no'} table [sound]",
                expected="one input, and [sound] in the spec",
                remedy="pass --spec with a [sound] table, or a preset such as mlperf-tiny-kws",
            )
        self.tensor = spec.inputs[0]
        self.sound: SoundEncoding = spec.sound
        self._shape = self._tensor_shape()

    def _tensor_shape(self) -> tuple[int, ...]:
        """Shape of one window, without the batch; refuses an encoding that does not give the model's numbers."""
        sound, wanted = self.sound, self.tensor.shape[1:]
        found: tuple[int, ...] = (sound.window,)
        if sound.features != "waveform":
            frames = next((n for n in wanted if n and n not in (1, sound.bins)), None)
            count = frames if sound.short == "frames" and frames else sound.frames(sound.window)
            found = (sound.bins, count) if sound.layout == "bins-frames" else (count, sound.bins)
        proper = [size for size in wanted if size != 1]
        expected = [size for size in found if size != 1]
        if len(proper) != len(expected) or any(n not in (None, m) for n, m in zip(proper, expected, strict=True)):
            raise SpecRefused(
                f"[sound] gives {list(found)} for input {self.tensor.name!r} of shape {list(self.tensor.shape)}",
                expected="the model's own numbers, apart from axes of size 1",
                remedy="set window, frame_length, frame_step, bins and layout as the model was trained",
            )
        sizes = iter(expected)
        return tuple(1 if size == 1 else next(sizes) for size in wanted)

    def encode(self, item: Item) -> dict[str, Array]:
        """Turn a recording into input tensors, a window each. Raises DataRefused when it cannot be read."""
        found = self.windows(item)
        limit = _PART if isinstance(item, StreamedSound) else MAX_WINDOWS + 1
        heard = list(islice(found, limit))
        if len(heard) > MAX_WINDOWS:
            seconds = (MAX_WINDOWS - 1) * self.sound.step / self.sound.sample_rate
            raise DataRefused(
                f"{item!s:.200} lasts longer than {seconds:.0f} s",
                expected=f"at most {MAX_WINDOWS} windows at once",
                remedy="use edgekit run, pass edgekit.sound.reading.StreamedSound(path), or cut it into clips",
            )
        more = isinstance(item, StreamedSound) and len(heard) == limit
        return self.encoded(heard, self._rest(item, found) if more else None)

    def _rest(self, item: Item, begun: Iterator[NDArray[np.float32]]) -> Callable[[], Iterator[NDArray[np.float32]]]:
        """Files are read again, because a run whose batch fails asks again; a pipe can be read only once."""
        if isinstance(item, StreamedSound) and isinstance(item.source, Path):
            return lambda: islice(self.windows(item), _PART, None)
        return lambda: begun

    def encoded(
        self,
        heard: Sequence[NDArray[np.float32]],
        rest: Callable[[], Iterator[NDArray[np.float32]]] | None = None,
    ) -> Encoded:
        """Turn windows of samples into input tensors."""
        frames = self._shape[self.sound.layout == "bins-frames"] if self.sound.short == "frames" else None
        made = [features(one, self.sound, frames).reshape(self._shape) for one in heard]
        feeds = {self.tensor.name: np.stack(made).astype(self.tensor.dtype, copy=False)}
        return Encoded(feeds, SoundContext(tuple(len(one) for one in heard), rest))

    def windows(self, item: Item) -> Iterator[NDArray[np.float32]]:
        """Yield the windows of a recording, unpadded. Raises DataRefused when it cannot be read."""
        rate = self.sound.sample_rate
        given = Sound(item, rate) if isinstance(item, np.ndarray) else item
        return sliding(blocks(given, rate), self.sound.window, self.sound.step)

    def answer(self, run: Run, feeds: Sequence[Mapping[str, Array]]) -> list[Any]:
        """Infer encoded recordings, one after the other; a streamed one part by part."""
        return [found for one in feeds for found in self._answer(run, one)]

    def _answer(self, run: Run, feeds: Mapping[str, Array]) -> list[Any]:
        context = context_of(feeds)
        if not isinstance(context, SoundContext) or context.rest is None:
            return self.decode(run(feeds), None if context is None else [context])
        outputs, lengths = [self.kept(run(feeds))], list(context.lengths)
        more_windows = context.rest()
        while part := list(islice(more_windows, _PART)):
            more = self.encoded(part)
            outputs.append(self.kept(run(more)))
            lengths += [len(one) for one in part]
        whole = {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
        return self.decode(whole, [SoundContext(tuple(lengths))])

    def kept(self, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What decoding needs of the outputs of one part of a streamed recording."""
        return outputs


def grouped(count: int, contexts: Sequence[Any] | None) -> list[tuple[slice, SoundContext | None]]:
    """Return the windows of each recording; without contexts each window is one.

    Args:
        count: Windows in all.
        contexts: Of the recordings.

    Raises:
        DataRefused: There are not as many windows as the recordings have.
    """
    if contexts is None or all(context is None for context in contexts):
        return [(slice(at, at + 1), None) for at in range(count)]
    found, at = [], 0
    for context in contexts:
        length = len(context.lengths) if isinstance(context, SoundContext) else 1
        found.append((slice(at, at + length), context if isinstance(context, SoundContext) else None))
        at += length
    if at != count:
        raise DataRefused(f"outputs of {count} windows", expected=f"{at}")
    return found
