"""What the exporters of PyTorch stumble over, said in another way while a module is traced.

Imports torch: import this module only where a PyTorch source is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

Rewrite = Callable[..., Any]


class Rewrites(TorchFunctionMode):  # type: ignore[misc]
    """Replaces calls of torch functions by equal ones while it is active.

    Args:
        rewrites: Function -> what is called in its place; it returns ``NotImplemented`` for arguments that need no
            replacement.
    """

    def __init__(self, rewrites: Mapping[Any, Rewrite]) -> None:
        super().__init__()
        self.rewrites = rewrites

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the rewrite, if there is one that applies, else the function."""
        kwargs = kwargs or {}
        rewrite = self.rewrites.get(func)
        answer = NotImplemented if rewrite is None else rewrite(*args, **kwargs)
        return func(*args, **kwargs) if answer is NotImplemented else answer


def _subtract_from_float(tensor: Any, number: Any, **kwargs: Any) -> Any:
    """``1.0 - mask`` with an integer mask: torch.onnx looks for a subtraction from a float and finds none."""
    if kwargs or not isinstance(number, float) or tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return NotImplemented
    return number - tensor.to(torch.get_default_dtype())


def _identity_matrix(rows: int, columns: int | None = None, **kwargs: Any) -> Any:
    """``eye``: litert-torch compares unsigned bytes in it and leaves an operator that LiteRT does not know."""
    kind = kwargs.pop("dtype", None) or torch.get_default_dtype()
    if set(kwargs) - {"device", "layout", "requires_grad"}:
        return NotImplemented
    down = torch.arange(rows, device=kwargs.get("device"))
    across = torch.arange(rows if columns is None else columns, device=kwargs.get("device"))
    return (down[:, None] == across[None, :]).to(kind)


class ComplexPair:
    """A complex tensor as two real ones, for converters that have no complex numbers.

    Attributes:
        real: Real part.
        imag: Imaginary part.
    """

    def __init__(self, real: torch.Tensor, imag: torch.Tensor) -> None:
        self.real, self.imag = real, imag

    def abs(self) -> torch.Tensor:
        """Magnitude."""
        return torch.sqrt(self.real.square() + self.imag.square())

    def along(self, axis: int) -> ComplexPair:
        """The discrete Fourier transform along an axis, as products with its cosine and sine matrices."""
        size = self.real.shape[axis]
        # Reduced modulo the size as integers: the angle of a large product would be inexact. Made outside of torch, or
        # the cosines would be traced, and LiteRT's converter has none in float64.
        angles = np.outer(np.arange(size), np.arange(size)) % size * (2 * np.pi / size)
        cosine, sine = (torch.from_numpy(part.astype(np.float32)) for part in (np.cos(angles), np.sin(angles)))

        def product(values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
            return (values.movedim(axis, -1) @ matrix).movedim(-1, axis)

        return ComplexPair(
            product(self.real, cosine) + product(self.imag, sine),
            product(self.imag, cosine) - product(self.real, sine),
        )


def _fourier(tensor: Any, s: Any = None, dim: Any = None, norm: Any = None, **kwargs: Any) -> Any:
    """The Fourier transform of a real tensor over several axes (FNet mixes tokens with it)."""
    if s is not None or norm not in (None, "backward") or kwargs or tensor.dtype != torch.float32:
        return NotImplemented
    pair = ComplexPair(tensor, torch.zeros_like(tensor))
    for axis in range(tensor.ndim) if dim is None else dim:
        pair = pair.along(axis)
    return pair


def _expand(tensor: Any, *sizes: Any, **kwargs: Any) -> Any:
    """``expand`` as a sum with zeros: litert-torch moves an expanded tensor to NHWC without its new size."""
    if kwargs or tensor.dtype != torch.float32:
        return NotImplemented
    expanded = tensor.expand(*sizes)
    return tensor + torch.zeros(expanded.shape) if expanded.shape != tensor.shape else tensor


def _expand_as(tensor: Any, other: Any) -> Any:
    """See `_expand`."""
    return _expand(tensor, *other.shape)


def _patches_of(tensor: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """``unfold`` into patches that do not overlap, as a reshape: the converters gather pixel by pixel."""
    down, across = _pair(kernel_size)
    batch, channels, height, width = tensor.shape if tensor.ndim == 4 else (0, 0, 1, 1)
    if not _tiles((height, width), kernel_size, dilation, padding, stride):
        return NotImplemented
    parts = tensor.reshape(batch, channels, height // down, down, width // across, across)
    return parts.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * down * across, -1)


def _picture_of(  # noqa: PLR0917  # the arguments of torch.nn.functional.fold
    tensor: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """``fold`` of patches that do not overlap, as a reshape: LiteRT cannot run the scatter it would become."""
    (height, width), (down, across) = _pair(output_size), _pair(kernel_size)
    if tensor.ndim != 3 or not _tiles((height, width), kernel_size, dilation, padding, stride):
        return NotImplemented
    batch, channels = tensor.shape[0], tensor.shape[1] // (down * across)
    parts = tensor.reshape(batch, channels, down, across, height // down, width // across)
    return parts.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels, height, width)


def _tiles(size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> bool:
    """Whether patches lie side by side and fill the picture."""
    whole = all(length % part == 0 for length, part in zip(size, _pair(kernel), strict=True))
    return whole and _pair(stride) == _pair(kernel) and _pair(dilation) == (1, 1) and _pair(padding) == (0, 0)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return first, second


COMMON: Mapping[Any, Rewrite] = {
    torch.Tensor.__rsub__: _subtract_from_float,
    torch.rsub: _subtract_from_float,
    torch.nn.functional.unfold: _patches_of,
    torch.nn.functional.fold: _picture_of,
}
FOR_TFLITE: Mapping[Any, Rewrite] = {**COMMON, torch.eye: _identity_matrix, torch.fft.fftn: _fourier}

# Costs a constant and a sum where it is not needed: for a model that did not convert without.
FOR_TFLITE_RETRY: Mapping[Any, Rewrite] = {
    **FOR_TFLITE,
    torch.Tensor.expand: _expand,
    torch.Tensor.expand_as: _expand_as,
}
