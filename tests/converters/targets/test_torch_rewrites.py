from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.targets import export, tflite_file
from edgekit_converters.targets.quiet import quiet
from edgekit_converters.targets.torch_folding import fold_constants
from edgekit_converters.targets.torch_rewrites import COMMON, FOR_TFLITE, FOR_TFLITE_RETRY, ComplexPair, Rewrites
from tests.converters.targets.conftest import errors

PICTURE = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
PATCHES = torch.randn(2, 3 * 8, 12, generator=torch.Generator().manual_seed(1))
CASES: dict[str, tuple[Mapping[Any, Any], Callable[[], Any]]] = {
    "float minus integer mask": (COMMON, lambda: 1.0 - torch.tensor([[1, 0, 1]])),
    "float minus float": (COMMON, lambda: 1.0 - PICTURE),
    "integer minus integer": (COMMON, lambda: 1 - torch.tensor([[1, 0, 1]])),
    "unfold side by side": (COMMON, lambda: functional.unfold(PICTURE, (4, 2), stride=(4, 2))),
    "unfold overlapping": (COMMON, lambda: functional.unfold(PICTURE, 3, padding=1)),
    "unfold with a rest": (COMMON, lambda: functional.unfold(PICTURE, 5, stride=5)),
    "fold side by side": (COMMON, lambda: functional.fold(PATCHES, (8, 12), (4, 2), stride=(4, 2))),
    "eye": (FOR_TFLITE, lambda: torch.eye(5)),
    "eye of another shape and dtype": (FOR_TFLITE, lambda: torch.eye(3, 5, dtype=torch.int64)),
    "real part of a Fourier transform": (FOR_TFLITE, lambda: torch.fft.fftn(PICTURE, dim=(1, 3)).real),
    "imaginary part": (FOR_TFLITE, lambda: torch.fft.fftn(PICTURE, dim=(-1,)).imag),
    "magnitude": (FOR_TFLITE, lambda: torch.fft.fftn(PICTURE).abs()),
    "normalised Fourier transform": (FOR_TFLITE, lambda: torch.fft.fftn(PICTURE, norm="ortho").real),
    "expand": (FOR_TFLITE_RETRY, lambda: PICTURE[..., :1].expand(2, 3, 8, 4)),
    "expand to the same": (FOR_TFLITE_RETRY, lambda: PICTURE.expand(-1, -1, -1, -1)),
    "expand as": (FOR_TFLITE_RETRY, lambda: PICTURE[:, :1].expand_as(PICTURE)),
    "expand integers": (FOR_TFLITE_RETRY, lambda: torch.arange(3)[:, None].expand(3, 2)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rewritten_call_answers_as_torch_does(case: str) -> None:
    rewrites, call = CASES[case]
    wanted = call()
    with Rewrites(rewrites):
        given = call()
    assert given.shape == wanted.shape
    assert given.dtype == wanted.dtype
    assert torch.allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_a_complex_pair_takes_the_place_of_complex_numbers_only_for_tflite() -> None:
    with Rewrites(FOR_TFLITE):
        assert isinstance(torch.fft.fftn(PICTURE), ComplexPair)
    with Rewrites(COMMON):
        assert torch.fft.fftn(PICTURE).is_complex()


def test_constants_are_computed_and_weights_are_not() -> None:
    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4))
            self.register_buffer("scale", torch.full((4,), 2.0))

        def forward(self, x: Any) -> Any:
            rows, _ = torch.meshgrid(*[torch.arange(4, dtype=torch.float64)] * 2, indexing="ij")
            table = (10000**rows).sin().to(torch.float32)
            return (x @ table) * self.weight.exp() * self.scale

    net, x = Net().eval(), torch.randn(1, 4)
    with quiet():
        folded = fold_constants(net, {"x": x})
    targets = [str(node.target) for node in folded.graph.nodes]
    assert not any("arange" in target or "pow" in target or "sin" in target for target in targets)
    assert any("exp" in target for target in targets)
    assert torch.allclose(folded(x=x), net(x), rtol=1e-6)


def test_what_is_written_into_is_not_taken_for_a_constant() -> None:
    class Net(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            table = torch.zeros(2, 4)
            first = table + 1
            table[:, 1] = x[:, 0]
            return table + first

    net, x = Net(), torch.randn(2, 4)
    with quiet():
        folded = fold_constants(net, {"x": x})
    for value in (x, x + 1):
        assert torch.equal(folded(x=value), net(value))


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_what_the_libraries_miss_is_converted(kind: str, tmp_path: Path) -> None:
    """Each line of this module fails in litert-torch 0.10 or torch.onnx 2.13 as it stands."""

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Conv2d(3, 9, 1)

        def forward(self, picture: Any, mask: Any) -> Any:
            patches = functional.unfold(picture, 4, stride=4).reshape(-1, 3, 16, 6)
            query, key, value = self.project(patches).split([1, 4, 4], dim=1)
            context = (key * query.softmax(-1)).sum(-1, keepdim=True)
            mixed = value * context.expand_as(value)
            table = 10000 ** torch.arange(6, dtype=torch.float64)
            tokens = torch.fft.fftn(mixed.flatten(2), dim=(1, 2)).real.mean(1)[:, :6]
            return tokens * (1.0 - mask) + (tokens @ torch.eye(6)) * (1 / table).to(torch.float32)

    hints = (InputHint((None, 3, 8, 12), "picture"), InputHint((None, 6), "mask", "int64"))
    source = open_source(Net(), SourceOptions(inputs=hints))
    path = tmp_path / f"net.{kind}"
    exported = export(source, kind, path)
    assert max(errors(source, path, exported, batch=1).values()) < 1e-5
    if kind == "tflite":
        assert not any(name.startswith("STABLEHLO") for name in tflite_file.read(path).operators)


def test_angles_of_a_long_fourier_transform_stay_exact() -> None:
    long = torch.randn(1, 4096, generator=torch.Generator().manual_seed(2))
    with Rewrites(FOR_TFLITE):
        given = torch.fft.fftn(long, dim=(1,)).real.numpy()
    wanted = np.fft.fft(long.numpy().astype(np.float64)).real
    assert np.linalg.norm(given - wanted) / np.linalg.norm(wanted) < 1e-5
