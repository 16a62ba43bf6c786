"""Which channels matter, and how the layers that read them make up for those that are gone."""

import copy
import weakref
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from edgekit_converters.compress.channels import saliency
from edgekit_converters.compress.torch_channels import Channels
from edgekit_converters.compress.torch_distillation import Distance
from edgekit_converters.compress.torch_repair import repair, taps
from edgekit_converters.compress.torch_statistics import gather
from edgekit_converters.sources._torch_graph import Exportable

BATCHES = [(torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(seed)),) for seed in range(4)]


def network() -> nn.Module:
    """Channel 5 doubles channel 2, channel 6 is not read, channel 0 is read most."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.Flatten())
    with torch.no_grad():
        made[0].weight[5], made[0].bias[5] = 2 * made[0].weight[2], 2 * made[0].bias[2]
        made[2].weight[:, 6] = 0
        made[2].weight[:, 0] *= 10
    return Exportable(made, [""]).eval()


def test_a_channel_matters_as_much_as_the_answers_depend_on_it() -> None:
    model = network()
    (item,) = (one for one in Channels(model, BATCHES[0]).sets() if one.root == "model.0")
    scores = saliency([item], gather(model, ["model.2"], BATCHES))["model.0"]
    assert scores[6] == 0
    assert scores.argmax() == 0
    assert scores[0] > 5 * max(scores[1:])


def test_a_channel_that_never_changes_does_not_matter() -> None:
    model = network()
    with torch.no_grad():
        model.model[0].weight[3], model.model[0].bias[3] = 0, 5
    (item,) = (one for one in Channels(model, BATCHES[0]).sets() if one.root == "model.0")
    scores = saliency([item], gather(model, ["model.2"], BATCHES))["model.0"]
    assert scores[3] < 1e-6 * scores[0]


def test_the_statistics_leave_no_activation_behind() -> None:
    """Fault: what every layer took of every batch stayed in memory for ever, 93 MB of 8 photos for MobileNetV2."""
    seen: list[Any] = []
    model = network()
    model.model[2].register_forward_pre_hook(lambda _, taken: seen.append(weakref.ref(taken[0])))
    gather(model, ["model.2"], BATCHES)
    assert [taken() for taken in seen] == [None] * len(BATCHES)


def test_the_statistics_leave_no_gradient_behind() -> None:
    model = network()
    gather(model, ["model.2"], BATCHES)
    assert all(weight.grad is None for weight in model.parameters())


class Scales(nn.Module):  # type: ignore[misc]
    """One head for two scales, and a layer that reads only the larger of them, as in a detector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.large, self.small = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = torch.relu(self.large(x))
        answer: torch.Tensor = self.head(large).mean((2, 3)) + self.head(torch.relu(self.small(large))).mean((2, 3))
        return answer


def test_a_layer_that_is_used_at_several_scales_counts_once_for_each_input() -> None:
    model = Exportable(Scales(), [""]).eval()
    effects = gather(model, ["model.head", "model.small"], BATCHES)
    assert [effects[layer].shape for layer in ("model.head", "model.small")] == [(128, 8), (128, 8)]
    (item,) = Channels(model, BATCHES[0]).sound(2)[0]
    with torch.no_grad():
        model.model.head.weight[:, 3] = 0
        model.model.small.weight[:, 3] = 0
    scores = saliency([item], gather(model, ["model.head", "model.small"], BATCHES))[item.root]
    assert scores[3] == 0
    assert min(*scores[:3], *scores[4:]) > 0


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(5, 7, 3, padding="same", dilation=2), (9, 8)),
        (nn.Conv2d(5, 7, (3, 2), padding=(1, 0), stride=(2, 1)), (9, 8)),
        (nn.Conv2d(5, 7, 1, stride=2), (9, 8)),
        (nn.Conv2d(5, 7, 1, padding=1), (9, 8)),
        (nn.Conv2d(5, 7, 3, padding=1, padding_mode="reflect"), (9, 8)),
        (nn.Conv1d(5, 7, 3, padding=1), (9,)),
        (nn.Conv3d(5, 7, 3, padding="valid"), (4, 5, 6)),
    ],
    ids=["same", "strides", "strided point", "padded point", "reflect", "one axis", "three axes"],
)
def test_what_a_layer_reads_times_its_weights_is_what_it_gives(layer: nn.Module, shape: tuple[int, ...]) -> None:
    read = torch.rand(2, 5, *shape)
    with torch.no_grad():
        given = layer(read).movedim(1, -1).reshape(-1, 7)
        assert torch.allclose(taps(read, layer) @ layer.weight.flatten(1).T + layer.bias, given, atol=1e-5)


def left(inputs: Iterable[int], outputs: Iterable[int]) -> dict[str, dict[str, torch.Tensor]]:
    return {"read": {"model.2": torch.tensor(list(inputs))}, "kept": {"model.2": torch.tensor(list(outputs))}}


def test_least_squares_restores_what_the_rest_can_say() -> None:
    original, model = network(), network()
    Channels(model, BATCHES[0]).remove({"model.0": [5, 6]})
    unseen = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(99))

    def error() -> float:
        with torch.no_grad():
            wanted, given = original(unseen)[0], model(unseen)[0]
        return float((given - wanted).norm() / wanted.norm())

    before = error()
    repair(model, original, ["model.2"], lambda: iter(BATCHES), **left([0, 1, 2, 3, 4, 7], [0, 1, 2, 3]))
    assert before > 0.05
    assert error() < 0.1 * before


def test_least_squares_aims_at_the_outputs_that_are_left() -> None:
    original = network()
    model = copy.deepcopy(original)
    model.model[2] = nn.Conv2d(8, 2, 3, padding=1, bias=False)
    repair(model, original, ["model.2"], lambda: iter(BATCHES), **left(range(8), [1, 3]))
    with torch.no_grad():
        wanted = original(BATCHES[0][0])[0].reshape(32, 4, 64)[:, [1, 3]]
        given = model(BATCHES[0][0])[0].reshape(32, 2, 64)
    assert float((given - wanted).norm() / wanted.norm()) < 0.05


class Rows(nn.Module):  # type: ignore[misc]
    """A dense layer on the places of a photo, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.inside, self.last = nn.Conv2d(3, 5, 1), nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.inside(self.grid(x).flatten(2).transpose(1, 2)).mean(1))
        return answer


def test_a_layer_on_places_in_a_row_is_not_compared_with_the_row_of_a_larger_photo() -> None:
    torch.manual_seed(0)
    model = Exportable(Rows(), [""]).eval()
    photo, kept = BATCHES[0][0][:8], {"model.grid": torch.arange(5), "model.inside": torch.arange(6)}

    def distance(*names: str) -> float:
        return float(Distance(model, names, None)(model, (photo[..., ::2, ::2],), (photo,), kept))

    with torch.no_grad():
        assert distance("model.inside") == distance()
        assert distance("model.grid", "model.inside") == distance("model.grid") > distance()
