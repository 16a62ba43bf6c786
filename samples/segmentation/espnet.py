"""ESPNet (Mehta et al. 2018, arXiv:1803.06815) in PyTorch, as its published CamVid weights need it.

A factory for ``edgekit convert samples/segmentation/espnet.py:camvid --weights espnet_p_2_q_8_camvid.pth``. Parameter
names are those of the published state dict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DILATIONS = (1, 2, 4, 8, 16)


class Norm(nn.Module):  # type: ignore[misc]
    """Batch normalization and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.act(self.bn(x))


class Conv(nn.Module):  # type: ignore[misc]
    """A convolution that keeps the size, divided by its stride."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.conv(x)


class ConvNorm(Norm):
    """A 3 x 3 convolution, batch normalization, PReLU."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__(outside)
        self.conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(self.conv(x))


class Pyramid(nn.Module):  # type: ignore[misc]
    """The efficient spatial pyramid: reduce, dilated convolutions side by side, fused by running sums.

    The sums of ever larger dilations remove the grid that dilated convolutions leave (section 3.1 of the paper).
    """

    def __init__(self, inside: int, outside: int, *, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        narrow = outside // len(DILATIONS)
        self.c1 = Conv(inside, narrow, kernel, stride)
        for dilation in DILATIONS:
            wide = outside - (len(DILATIONS) - 1) * narrow if dilation == 1 else narrow
            self.add_module(f"d{dilation}", Conv(narrow, wide, 3, dilation=dilation))

    def fused(self, x: Tensor) -> Tensor:  # noqa: D102
        reduced = self.c1(x)
        branches = [self.get_submodule(f"d{dilation}")(reduced) for dilation in DILATIONS]
        sums = branches[:2]
        for branch in branches[2:]:
            sums.append(sums[-1] + branch)
        return torch.cat(sums, dim=1)


class Block(Pyramid):
    """A spatial pyramid of constant width, with a residual where the number of channels stays."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.residual = inside == outside
        self.bn = Norm(outside)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        fused = self.fused(x)
        return self.bn(x + fused if self.residual else fused)


class Down(Pyramid):
    """A spatial pyramid that halves height and width."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, kernel=3, stride=2)
        self.bn = nn.BatchNorm2d(outside, eps=1e-3)
        self.act = nn.PReLU(outside)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.act(self.bn(self.fused(x)))


class Encoder(nn.Module):  # type: ignore[misc]
    """ESPNet-C: features at a half, a quarter and an eighth of the photo; the photo is fed in again at each."""

    def __init__(self, classes: int, p: int, q: int) -> None:
        super().__init__()
        self.level1 = ConvNorm(3, 16, stride=2)
        self.b1 = Norm(16 + 3)
        self.level2_0 = Down(16 + 3, 64)
        self.level2 = nn.Sequential(*(Block(64, 64) for _ in range(p)))
        self.b2 = Norm(128 + 3)
        self.level3_0 = Down(128 + 3, 128)
        self.level3 = nn.Sequential(*(Block(128, 128) for _ in range(q)))
        self.b3 = Norm(256)
        self.classifier = Conv(256, classes, 1)
        self.shrink = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: D102
        half = self.shrink(photo)
        first = self.b1(torch.cat([self.level1(photo), half], dim=1))
        down = self.level2_0(first)
        second = self.b2(torch.cat([self.level2(down), down, self.shrink(half)], dim=1))
        down = self.level3_0(second)
        third = self.b3(torch.cat([down, self.level3(down)], dim=1))
        return first, second, self.classifier(third)


class ESPNet(nn.Module):  # type: ignore[misc]
    """The encoder and a light decoder that doubles the resolution three times.

    Args:
        classes: Number of classes.
        p: Pyramids at a quarter of the resolution.
        q: Pyramids at an eighth.
    """

    def __init__(self, classes: int, p: int, q: int) -> None:
        super().__init__()
        self.encoder = Encoder(classes, p, q)
        self.level3_C = Conv(128 + 3, classes, 1)
        self.br = nn.BatchNorm2d(classes, eps=1e-3)
        self.conv = ConvNorm(16 + 3 + classes, classes)
        self.up_l3 = nn.Sequential(_doubled(classes))
        self.combine_l2_l3 = nn.Sequential(Norm(2 * classes), Block(2 * classes, classes))
        self.up_l2 = nn.Sequential(_doubled(classes), Norm(classes))
        self.classifier = _doubled(classes)

    def forward(self, photo: Tensor) -> Tensor:
        """Take ``(batch, 3, height, width)``, sides divisible by 8; give logits ``(batch, classes, height, width)``."""
        first, second, scores = self.encoder(photo)
        upper = self.up_l3(self.br(scores))
        upper = self.up_l2(self.combine_l2_l3(torch.cat([self.level3_C(second), upper], dim=1)))
        return self.classifier(self.conv(torch.cat([upper, first], dim=1)))


def _doubled(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)


def camvid() -> ESPNet:
    """ESPNet for the 11 classes of CamVid and one for what has none."""
    return ESPNet(classes=12, p=2, q=8)
