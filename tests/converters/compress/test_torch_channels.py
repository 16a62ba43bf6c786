"""Channels of PyTorch networks are removed from every layer that depends on them, or not at all."""

import pytest
import torch
from torch import nn

from edgekit_converters.compress.torch_channels import Channels, layer_macs
from edgekit_converters.sources._torch_graph import Exportable


class Branches(nn.Module):  # type: ignore[misc]
    """A residual, a depthwise convolution, a concatenation and a flattened end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.expand = nn.Sequential(nn.Conv2d(16, 24, 1), nn.BatchNorm2d(24), nn.ReLU6())
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.project = nn.Conv2d(24, 16, 1)
        self.side = nn.Conv2d(16, 8, 3, padding=1)
        self.join = nn.Conv2d(24, 12, 1)
        self.last = nn.Linear(12 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        joined = self.join(torch.cat([x, self.side(x)], 1))
        pooled = nn.functional.adaptive_avg_pool2d(torch.relu(joined), 4)
        answer: torch.Tensor = self.last(pooled.flatten(1))
        return answer


class FlattenedJoin(Branches):
    """Two branches that a dense layer reads at all their places: torch-pruning counts them wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.join, self.last = nn.Identity(), nn.Linear(24 * 16, 5)


class Normalized(nn.Module):  # type: ignore[misc]
    """A hidden layer that is normalized over its channels: without some of them the others change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.norm(self.hidden(torch.relu(self.first(x)))))
        return answer


EXAMPLES = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)),)


@pytest.fixture
def branches() -> nn.Module:
    torch.manual_seed(0)
    return Exportable(Branches(), [""]).eval()


def test_all_sets_but_the_answers_are_found(branches: nn.Module) -> None:
    sets, left_alone = Channels(branches, EXAMPLES).sound(4)
    found = {tuple(sorted(use.layer.rpartition("model.")[2] for use in item.uses)) for item in sets}
    assert found == {
        ("expand.0", "join", "project", "side", "stem"),
        ("depthwise", "expand.0", "project"),
        ("join", "side"),
        ("join", "last"),
    }
    assert left_alone == []


def test_removal_answers_as_if_the_channels_were_silent(branches: nn.Module) -> None:
    channels = Channels(branches, EXAMPLES)
    chosen = {item.root: [1, 3, 4, 6] for item in channels.sound(4)[0]}
    silent = Exportable(Branches(), [""]).eval()
    silent.load_state_dict(branches.state_dict())
    with torch.no_grad():
        for item in channels.sets():
            for use in item.readers:
                gone = [place for place, root in zip(use.indices, use.roots, strict=True) if root in (1, 3, 4, 6)]
                silent.get_submodule(use.layer).weight[:, gone] = 0
        channels.remove(chosen)
        assert branches.model.stem.out_channels == 12
        assert branches.model.depthwise.groups == 20
        assert branches.model.join.in_channels == 12 + 4
        assert branches.model.last.in_features == 8 * 16
        assert torch.allclose(branches(*EXAMPLES)[0], silent(*EXAMPLES)[0], atol=1e-5)


def test_a_set_whose_removal_changes_more_is_left_alone() -> None:
    torch.manual_seed(0)
    network = Exportable(Normalized(), [""]).eval()
    sets, left_alone = Channels(network, (torch.rand(2, 6),)).sound(4)
    assert [item.root for item in sets] == ["model.first"]
    assert left_alone == ["model.hidden"]


def test_a_set_that_does_not_run_without_its_channels_is_left_alone() -> None:
    torch.manual_seed(0)
    sets, left_alone = Channels(Exportable(FlattenedJoin(), [""]).eval(), EXAMPLES).sound(4)
    assert [item.root for item in sets] == ["model.depthwise"]
    assert left_alone == ["model.side"]


def test_macs_are_counted_as_papers_do(branches: nn.Module) -> None:
    found = layer_macs(branches, EXAMPLES)
    assert found["model.stem"] == 3 * 9 * 16 * 256
    assert found["model.depthwise"] == 9 * 24 * 256
    assert found["model.last"] == 12 * 16 * 5
