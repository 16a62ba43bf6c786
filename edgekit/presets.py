"""Named preprocessing that many published models share."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.spec import Preprocess, Spec, TextEncoding

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

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
    "tokens": ("sentences through a tokenizer.json (--tokenizer)", Spec("text-classification")),
    "question-answering": (
        "BERT-family span heads: windows of 384 tokens (--tokenizer)",
        Spec("question-answering", text=TextEncoding("tokenizer.json", 384)),
    ),
    "token-classification": (
        "BERT-family taggers: windows of 128 tokens (--tokenizer, --labels O, B-PER, …)",
        Spec("token-classification", text=TextEncoding("tokenizer.json")),
    ),
    "tensors": ("arrays as they are (.npz, .npy)", Spec("tensors")),
}


def preset(name: str) -> Spec:
    """Return a preset as a spec without inputs and outputs. Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}", expected=", ".join(PRESETS))
    return PRESETS[name][1]
