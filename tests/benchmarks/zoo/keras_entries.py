"""The smallest member of every `keras.applications` family, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.zoo.entries import Entry, Input

# Name -> smallest picture that it is built for here, small to keep the zoo quick; and whether the model scales
# pictures 0..255 itself.
APPLICATIONS: dict[str, tuple[int, bool]] = {
    "ConvNeXtTiny": (64, True),
    "DenseNet121": (64, False),
    "EfficientNetB0": (64, True),
    "EfficientNetV2B0": (64, True),
    "InceptionResNetV2": (96, False),
    "InceptionV3": (96, False),
    "MobileNet": (64, False),
    "MobileNetV2": (64, False),
    "MobileNetV3Small": (64, True),
    "NASNetMobile": (64, False),
    "ResNet50": (64, False),
    "ResNet50V2": (64, False),
    "VGG16": (48, False),
    "Xception": (96, False),
}


def _builder(name: str, size: int) -> Callable[[], Any]:
    def build() -> Any:
        import keras

        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3), classes=100, classifier_activation=None
        )
        model.edgekit_input = model.inputs[0].name
        return model

    return build


def entries() -> list[Entry]:
    """All of them."""
    found = []
    for name, (size, raw) in APPLICATIONS.items():
        picture = Input("image", (size, size, 3), scale=50.0 if raw else 0.5, offset=120.0 if raw else 0.0)
        found.append(Entry(name, "keras", "vision", _builder(name, size), {"input": picture}))
    return found
