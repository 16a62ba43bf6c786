"""FastestDet in PyTorch: a ShuffleNetV2 with one detection head (https://github.com/dog-qiuqiu/FastestDet).

Layers are called as in the published state dicts, so that their weights fit:

    edgekit convert samples/object_detection/fastestdet.py:build --weights weight_AP05_0.253207_280-epoch.pth …
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 80
_STAGES = {"stage2": (24, 48, 4), "stage3": (48, 96, 8), "stage4": (96, 192, 4)}
_WIDTH = 96


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False) -> list[nn.Module]:
    """A convolution without bias, and its batch normalization."""
    groups = inputs if depthwise else 1
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Unit(nn.Module):  # type: ignore[misc]
    """A ShuffleNetV2 unit (Ma et al. 2018, arXiv:1807.11164).

    With stride 1 every second channel passes unchanged, which is the shuffle and the split in one.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 2
        taken = inputs if stride == 2 else inputs // 2
        self.branch_main = nn.Sequential(
            *_conv(taken, middle), nn.ReLU(),
            *_conv(middle, middle, 3, stride, depthwise=True),
            *_conv(middle, outputs - taken), nn.ReLU(),
        )  # fmt: skip
        self.branch_proj: nn.Module | None = None
        if stride == 2:
            depthwise = _conv(inputs, inputs, 3, 2, depthwise=True)
            self.branch_proj = nn.Sequential(*depthwise, *_conv(inputs, inputs), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        if self.branch_proj is not None:
            return _joined(self.branch_proj(features), self.branch_main(features))
        count, channels, height, width = features.shape
        pairs = features.reshape(count, channels // 2, 2, height, width)
        return _joined(pairs[:, :, 0], self.branch_main(pairs[:, :, 1]))


class Backbone(nn.Module):  # type: ignore[misc]
    """ShuffleNetV2; gives the features at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_conv(3, 24, 3, 2), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for name, (inputs, outputs, units) in _STAGES.items():
            more = (Unit(outputs, outputs, 1) for _ in range(units - 1))
            self.add_module(name, nn.Sequential(Unit(inputs, outputs, 2), *more))

    def forward(self, photo: Tensor) -> list[Tensor]:
        """``(N, 3, H, W)`` to three feature maps."""
        features = self.maxpool(self.first_conv(photo))
        maps = []
        for name in _STAGES:
            features = self.get_submodule(name)(features)
            maps.append(features)
        return maps


class Pointwise(nn.Module):  # type: ignore[misc]
    """A 1 x 1 convolution with ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_conv(inputs, outputs), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        features = self.conv1x1(features)
        return features


class Pyramid(nn.Module):  # type: ignore[misc]
    """One, two and three depthwise convolutions side by side, for small and large objects."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv1x1 = Pointwise(inputs, outputs)
        for depth in (1, 2, 3):
            layers = (layer for _ in range(depth) for layer in (*_conv(outputs, outputs, 5, depthwise=True), nn.ReLU()))
            self.add_module(f"S{depth}", nn.Sequential(*layers))
        self.output = nn.Sequential(*_conv(3 * outputs, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        reduced = self.Conv1x1(features)
        seen = _joined(*(self.get_submodule(f"S{depth}")(reduced) for depth in (1, 2, 3)))
        return functional.relu(reduced + self.output(seen))


class Branch(nn.Module):  # type: ignore[misc]
    """What the head says of one thing: a depthwise and a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(*_conv(inputs, inputs, 5, depthwise=True), nn.ReLU(), *_conv(inputs, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        features = self.conv5x5(features)
        return features


class DetectHead(nn.Module):  # type: ignore[misc]
    """Objectness, box and class of each cell."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = Pointwise(inputs, inputs)
        self.obj_layers = Branch(inputs, 1)
        self.reg_layers = Branch(inputs, 4)
        self.cls_layers = Branch(inputs, classes)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, 5 + classes, H, W)``."""
        shared = self.conv1x1(features)
        classes = functional.softmax(self.cls_layers(shared), dim=1)
        return _joined(functional.sigmoid(self.obj_layers(shared)), self.reg_layers(shared), classes)


class FastestDet(nn.Module):  # type: ignore[misc]
    """Photo ``(N, 3, H, W)``, BGR, 0..1, to cells ``(N, 5 + classes, H / 16, W / 16)``."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.SPP = Pyramid(48 + 96 + 192, _WIDTH)
        self.detect_head = DetectHead(_WIDTH, classes)

    def forward(self, photo: Tensor) -> Tensor:
        """Answer for photos."""
        fine, middle, coarse = self.backbone(photo)
        coarse = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        fine = functional.avg_pool2d(fine, 3, 2, 1)
        cells: Tensor = self.detect_head(self.SPP(_joined(fine, middle, coarse)))
        return cells


def _joined(*parts: Tensor) -> Tensor:
    """Concatenate along the channels."""
    return torch.cat(parts, dim=1)


def build() -> nn.Module:
    """The network for the 80 classes of COCO."""
    return FastestDet().eval()
