"""PyTorch networks made smaller. Imports torch when imported."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from edgekit.engine import Array, Feeds
from edgekit.errors import ModelRefused
from edgekit_converters.compress.layered import LayeredNetwork
from edgekit_converters.compress.learning import CLIP, schedule
from edgekit_converters.compress.network import Network, Progress
from edgekit_converters.compress.samples import Samples
from edgekit_converters.compress.torch_channels import Channels, layer_macs
from edgekit_converters.compress.torch_distillation import Distance, Tensors
from edgekit_converters.compress.torch_repair import repair
from edgekit_converters.compress.torch_statistics import gather
from edgekit_converters.compress.training import Tune
from edgekit_converters.input_size import Size
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._original_size import MEMBER, size_text
from edgekit_converters.sources._tensors import ordered_feeds, to_answer
from edgekit_converters.sources.pytorch import PyTorchSource


class TorchNetwork(LayeredNetwork):
    """A module on its way down.

    Args:
        source: The open model.
        round_to: Sizes of channel sets become multiples of this.
        decides: Name of the output that holds class scores.
        original: The open original, where it takes photos of another size than ``source``, the same network.

    Raises:
        ModelRefused: Nothing in it can be removed.
    """

    suffix = ".pt2"

    def __init__(
        self, source: PyTorchSource, *, round_to: int, decides: str | None, original: PyTorchSource | None = None
    ) -> None:
        if any(isinstance(module, torch.fx.GraphModule) for module in source.exportable.modules()):
            raise ModelRefused(
                f"{source.name} is an exported program, which has lost its modules",
                expected="package.module:factory or path/file.py:factory",
                remedy="name the factory that it was exported from, and give --weights",
            )
        self._source, self._round_to = source, round_to
        self._whole = _convolution_order(source.exportable)
        self._original_source = original or source
        self._original = self._whole if original is None else _convolution_order(original.exportable)
        self.model = copy.deepcopy(self._whole)
        self._open_batch = all(tensor.shape[0] is None for tensor in source.inputs)
        self._examples = source.examples(1)
        self._order = tuple(layer_macs(self.model, self._examples))
        self._kept = {name: torch.arange(len(self.model.get_submodule(name).weight)) for name in self._order}
        self._read = {name: torch.arange(self.model.get_submodule(name).weight.shape[1]) for name in self._order}
        self._refitted: set[str] = set()
        self.notes = ()
        self._roots = self._sound_roots()
        names = [tensor.name for tensor in source.outputs]
        self._decides = names.index(decides) if decides in names else None

    def _sound_roots(self) -> frozenset[str]:
        sets, others = self._channels().sound(self._round_to)
        if not sets:
            raise ModelRefused(
                f"{self._source.name} has no channels that can be removed",
                expected=f"convolutions or dense layers of more than {self._round_to} channels between others",
                remedy="a quantized recipe makes it smaller without removing anything",
            )
        if others:
            self.notes = (f"left as they are, for a removal changes more than the channels: {', '.join(others)}",)
        return frozenset(item.root for item in sets)

    @property
    def macs(self) -> int:
        """See :class:`Network`."""
        return sum(layer_macs(self.model, self._examples).values())

    @property
    def parameters(self) -> int:
        """See :class:`Network`."""
        return sum(weight.numel() for weight in self.model.parameters())

    def _channels(self) -> Channels:
        return Channels(self.model, self._examples)

    def _effects(self, readers: Sequence[str], batches: Iterator[Tensors]) -> Mapping[str, torch.Tensor]:
        return gather(self.model, readers, batches)

    def _remove(self, channels: Channels, chosen: Mapping[str, Sequence[int]]) -> None:
        channels.remove(chosen)

    def _repair(self, layers: Sequence[str], samples: Samples) -> None:
        repair(self.model, self._whole, layers, lambda: self._batches(samples), kept=self._kept, read=self._read)

    def _tensors(self, feeds: Feeds, of: PyTorchSource | None = None) -> Tensors:
        tensors = [torch.from_numpy(array) for array in ordered_feeds((of or self._source).inputs, feeds)]
        return tuple(_ordered(tensor) for tensor in tensors)

    def _distance(self) -> Distance:
        return Distance(self._original, [name for name in self._order if name in self._refitted], self._decides)

    def learn(self, samples: Samples, progress: Progress, *, rate: float, seed: int) -> Iterator[float]:
        """See :class:`Network`."""
        distance, weights = self._distance(), [w for w in self.model.parameters() if w.is_floating_point()]
        for weight in weights:
            weight.requires_grad_(True)
        optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
        batches = samples.endless(self._batch, seed)
        for step in itertools.count(1):
            done = progress(step)
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(min(done, 1.0))
            feeds, originals = next(batches)
            wanted = self._tensors(originals, self._original_source)
            loss = distance(self.model, self._tensors(feeds), wanted, self._kept)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, CLIP)
            optimizer.step()
            yield float(loss.detach())
            if done >= 1.0:
                return

    def _batch_distance(self, feeds: Feeds, originals: Feeds) -> float:
        measure = Distance(self._original, (), self._decides)
        with torch.no_grad():
            return float(measure(self.model, self._tensors(feeds), self._tensors(originals, self._original_source), {}))

    def copy(self) -> Network:
        """See :class:`Network`."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin._kept, twin._read, twin._refitted = dict(self._kept), dict(self._read), set(self._refitted)
        return twin

    def snapshot(self) -> object:
        """See :class:`Network`."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def restore(self, weights: object) -> None:
        """See :class:`Network`."""
        self.model.load_state_dict(weights)

    def between(self, start: object, end: object, share: float) -> object:
        """See :class:`Network`."""
        first, last = cast(dict[str, torch.Tensor], start), cast(dict[str, torch.Tensor], end)
        return {
            name: torch.lerp(first[name], tensor, share) if tensor.is_floating_point() else tensor
            for name, tensor in last.items()
        }

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """See :class:`Network`."""
        with torch.no_grad():
            answers = self.model(*self._tensors(feeds))
        return {
            tensor.name: to_answer((answer.float() if answer.is_floating_point() else answer).contiguous().numpy())
            for tensor, answer in zip(self._source.outputs, answers, strict=True)
        }

    def train(self, tune: Tune, steps: int) -> None:
        """See :class:`Network`."""
        from edgekit_converters.compress.torch_fake_quantization import train_quantized

        train_quantized(self.model, tune, steps, self._examples)

    def save(self, path: Path, original_size: Size | None = None) -> None:
        """See :class:`Network`."""
        plain = copy.deepcopy(self.model).to(memory_format=torch.contiguous_format)
        source = self._source
        model = _named(plain, [item.name for item in source.inputs], [item.name for item in source.outputs])
        shapes = source.dynamic_shapes()
        examples = source.examples(2 if shapes else 1)
        written = io.BytesIO()
        try:
            program = torch.export.export(model, examples, dynamic_shapes=None if shapes is None else shapes[0])
            extra = {} if original_size is None else {MEMBER: size_text(original_size)}
            torch.export.save(program, written, extra_files=extra)
        except Exception as error:
            raise ModelRefused(
                f"{self._source.name}: torch.export cannot trace the pruned module: {type(error).__name__}: "
                f"{first_line(error)}",
                expected="a module that torch.export takes",
            ) from error
        path.write_bytes(written.getbuffer())  # a full disk is none of torch's errors


def _named(model: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> nn.Module:
    """A module whose exported program has the names that the original's tensors have."""

    class Named(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            answers = dict(zip(outputs, self.model(*tensors), strict=True))
            return answers["output"] if list(answers) == ["output"] else answers

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *inputs)]
    Named.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return Named().eval()


def _ordered(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _convolution_order(exportable: Any) -> Any:
    """A copy whose pictures lie channels last, in which CPUs convolve about twice as fast."""
    model = copy.deepcopy(exportable).to(memory_format=torch.channels_last)
    for weight in model.parameters():
        weight.requires_grad_(weight.is_floating_point())
    return model
