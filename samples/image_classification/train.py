"""Train a small image classifier in Keras: four convolutions with pooling, a dense layer of 512, softmax.

The data are the handwritten digits that scikit-learn ships: 1,797 pictures of 8 x 8 pixels by 13 writers (Alpaydin
and Kaynak, 1998, UCI "Optical Recognition of Handwritten Digits"), enlarged to 32 x 32. Written into the folder:

    digits.keras            the trained model: (batch, 32, 32, 3) RGB, 0..1, to 10 probabilities
    labels.txt              the class names, one a line
    calibration/0 … 9/      100 training pictures, to calibrate with
    test/0 … 9/             360 pictures that were not trained on, to measure accuracy with

    python samples/image_classification/train.py FOLDER [--epochs N]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

SIDE = 32
CLASSES = tuple("0123456789")
TEST_PICTURES = 360
CALIBRATION_PICTURES = 100
EPOCHS = 25
SEED = 7


@dataclass(frozen=True)
class Digits:
    """The data set.

    Attributes:
        train: ``(1437, 32, 32, 3)`` uint8 RGB.
        train_labels: ``(1437,)`` class numbers.
        test: ``(360, 32, 32, 3)`` uint8 RGB.
        test_labels: ``(360,)`` class numbers.
    """

    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def load_digits() -> Digits:
    """Load, enlarge and split the digits; the same split each time, each class in its share."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    data = load()
    pictures = np.stack([enlarge(picture) for picture in data.images])
    train, test, train_labels, test_labels = train_test_split(
        pictures, data.target, test_size=TEST_PICTURES, random_state=SEED, stratify=data.target
    )
    return Digits(train, train_labels, test, test_labels)


def enlarge(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn an ``(8, 8)`` picture of values 0..16 into ``(32, 32, 3)`` uint8 RGB."""
    import cv2

    gray = cv2.resize((picture * (255 / 16)).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.repeat(gray[:, :, None], 3, axis=2)


def build() -> keras.Model:
    """Return the untrained network; the augmentation layers work in training only."""
    import keras

    layers: list[Any] = [
        keras.Input((SIDE, SIDE, 3), name="picture"),
        keras.layers.RandomRotation(0.04, seed=SEED),
        keras.layers.RandomTranslation(0.08, 0.08, seed=SEED),
        keras.layers.RandomZoom(0.1, seed=SEED),
    ]
    for filters in (32, 64, 128, 128):
        layers += [keras.layers.Conv2D(filters, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5, seed=SEED),
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dense(len(CLASSES), activation="softmax", name="digit"),
    ]
    return keras.Sequential(layers, name="digits")


def train(data: Digits, epochs: int) -> keras.Model:
    """Train the network, one line an epoch."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.train / np.float32(255), data.train_labels, batch_size=32, epochs=epochs, verbose=2)
    return model


def write_pictures(folder: Path, pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write each picture as a PNG into the subfolder of its class."""
    import cv2

    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        path = folder / CLASSES[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture[:, :, ::-1])


def main(folder: Path, epochs: int = EPOCHS) -> None:
    """Train and write everything that a conversion needs."""
    data = load_digits()
    print(f"training on {len(data.train)} pictures, {epochs} epochs", flush=True)
    model = train(data, epochs)
    scores = model.predict(data.test / np.float32(255), verbose=0)
    right = int((scores.argmax(axis=1) == data.test_labels).sum())
    print(f"test accuracy: {right} of {len(data.test)} = {100 * right / len(data.test):.1f} %")

    folder.mkdir(parents=True, exist_ok=True)
    # The file would be three times as large with the optimizer's state, which only further training needs.
    trained = build()
    trained.set_weights(model.get_weights())
    trained.save(folder / "digits.keras")
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    write_pictures(folder / "calibration", data.train[:CALIBRATION_PICTURES], data.train_labels[:CALIBRATION_PICTURES])
    write_pictures(folder / "test", data.test, data.test_labels)
    print(f"wrote {folder}/digits.keras, labels.txt, calibration/ and test/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("folder", type=Path, help="where to write the model and the pictures")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.folder, given.epochs)
