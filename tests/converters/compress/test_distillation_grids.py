"""Layers of a network for smaller photos, compared with the original's, whose photos are larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekit_converters.compress.torch_distillation import Distance

SMALL, LARGE = (8, 12), (16, 24)


class ChannelsLast(nn.Module):  # type: ignore[misc]
    """A dense layer at every pixel, as in ConvNeXt."""

    def __init__(self, *, flat: bool = False) -> None:
        super().__init__()
        self.dense, self.flat = nn.Linear(3, 5), flat

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor]:
        last = photo.permute(0, 2, 3, 1)
        return (self.dense(last.flatten(1, 2) if self.flat else last).flatten(1, -2).mean(1),)


def halves(size: tuple[int, int]) -> torch.Tensor:
    """Black at the left, white at the right: the same picture at every size."""
    photo = torch.zeros(2, 3, *size)
    photo[..., size[1] // 2 :] = 1
    return photo


@pytest.mark.parametrize("flat", [False, True])
def test_a_dense_layer_at_every_pixel_is_compared_on_the_smaller_grid(flat: bool) -> None:
    torch.manual_seed(0)
    model = ChannelsLast(flat=flat).eval()
    distance = Distance(model, ["dense"], None)
    given = distance(model, (halves(SMALL),), (halves(LARGE),), {"dense": torch.arange(5)})
    assert given.detach() < 1e-6
    mirrored = distance(model, (halves(SMALL).flip(3),), (halves(LARGE),), {"dense": torch.arange(5)})
    assert bool(mirrored.detach() > 0.01) is not flat  # tokens in a row lie on no grid: only the answers are compared


@pytest.mark.parametrize("flat", [False, True])
def test_keras_does_the_same(flat: bool) -> None:
    from edgekit_converters.compress.keras_distillation import Distance as KerasDistance
    from edgekit_converters.sources._quiet import import_keras

    keras = import_keras()

    def network(size: tuple[int, int]) -> Any:
        taken = keras.Input((*size, 3))
        inside = keras.layers.Reshape((-1, 3))(taken) if flat else taken
        seen = keras.layers.Dense(5, name="dense")(inside)
        pool = keras.layers.GlobalAveragePooling1D() if flat else keras.layers.GlobalAveragePooling2D()
        return keras.Model(taken, pool(seen))

    keras.utils.set_random_seed(0)
    original, small = network(LARGE), network(SMALL)
    small.set_weights(original.get_weights())
    distance = KerasDistance(original, ["dense"], {"dense": np.arange(5)}, None)
    photos = [halves(size).permute(0, 2, 3, 1).numpy() for size in (SMALL, LARGE)]
    assert float(distance(small, [photos[0]], [photos[1]])) < 1e-6
    mirrored = np.ascontiguousarray(photos[0][:, :, ::-1])
    assert (float(distance(small, [mirrored], [photos[1]])) > 0.01) is not flat
