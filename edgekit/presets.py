"""Named preprocessing that many published models share."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.spec import Preprocess, Spec

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_YOLO = Preprocess("letterbox", antialias=False, scale=1 / 255)

PRESETS: dict[str, tuple[str, Spec]] = {
    "imagenet": (
        "torchvision classifiers: short side 256 bilinear, centre crop, ImageNet mean and std",
        Spec(
            "image-classification",
            preprocess=Preprocess(
                "short-side", (256, 256), crop=True, scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD
            ),
        ),
    ),
    "efficientnet-lite": (
        "EfficientNet-Lite: short side 256 bicubic, centre crop, (x - 127) / 128",
        Spec(
            "image-classification",
            preprocess=Preprocess("short-side", (256, 256), "bicubic", crop=True, mean=(127.0,), std=(128.0,)),
        ),
    ),
    "unit": ("stretched to the input, 0..1", Spec("image-classification", preprocess=Preprocess(scale=1 / 255))),
    "minus-one-one": (
        "stretched to the input, -1..1 (Keras MobileNet, Inception, Xception)",
        Spec("image-classification", preprocess=Preprocess(scale=1 / 127.5, mean=(1.0,))),
    ),
    "raw": (
        "stretched to the input, pixels 0..255 (models that scale inside: EfficientNet, ConvNeXt of Keras)",
        Spec("image-classification", preprocess=Preprocess()),
    ),
    "segmentation": (
        "torchvision's DeepLab, FCN and LR-ASPP, SegFormer: stretched, ImageNet mean and std, a class for each pixel",
        Spec(
            "semantic-segmentation",
            preprocess=Preprocess(scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
        ),
    ),
    "yolo-seg": (
        "YOLOv8-seg and later: letterboxed, 0..1, boxes with masks",
        Spec("instance-segmentation", preprocess=_YOLO, options={"form": "yolo-seg"}),
    ),
    "yolo-pose": (
        "YOLOv8-pose and later: letterboxed, 0..1, people with 17 points",
        Spec("keypoints", preprocess=_YOLO, options={"form": "yolo-pose", "threshold": 0.25}),
    ),
    "movenet": (
        "MoveNet: letterboxed in black, pixels 0..255, one person with 17 points",
        Spec(
            "keypoints",
            preprocess=Preprocess("letterbox", antialias=False, pad_value=0),
            options={"form": "points", "order": "yx"},
        ),
    ),
    "tokens": ("sentences through a tokenizer.json (--tokenizer)", Spec("text-classification")),
    "tensors": ("arrays as they are (.npz, .npy)", Spec("tensors")),
}


def preset(name: str) -> Spec:
    """Return a preset as a spec without inputs and outputs. Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}", expected=", ".join(PRESETS))
    return PRESETS[name][1]
