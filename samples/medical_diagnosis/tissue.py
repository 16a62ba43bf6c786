"""Train a small Keras network that tells stained tissue from unstained, on a micrograph. No medical device.

The picture is the immunohistochemistry slide that scikit-image ships (prostate tissue, brown stain DAB on blue
haematoxylin, 512 x 512 pixels). Nobody labelled it: the label of a patch of 32 x 32 pixels is a rule, colour
deconvolution (Ruifrok and Johnston 2001, Analytical and Quantitative Cytology and Histology 23:291), Otsu's threshold
on the brown stain, and "stained" where at least a fifth of the pixels are above it. The network learns to repeat that
rule. The left three quarters of the slide train, the right quarter tests. Written into the folder:

    tissue.keras                    the trained network: (batch, 32, 32, 3) RGB, 0..1, to 2 probabilities
    labels.txt                      unstained, stained
    train/, test/                   patches, one subfolder a class: 713 that overlap by half, 64 that do not

    python samples/medical_diagnosis/tissue.py FOLDER [--epochs N]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32
LABELS = ("unstained", "stained")
LEAST_STAINED = 0.2
SPLIT = 384
"""Columns of the slide that train."""
EPOCHS = 25
SEED = 7

Patches = tuple[NDArray[np.uint8], NDArray[np.int64]]


def stained_pixels(slide: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels carry the brown stain, ``(height, width)``; the threshold is the slide's own."""
    from skimage.color import rgb2hed
    from skimage.filters import threshold_otsu

    brown = rgb2hed(slide)[..., 2]
    above: NDArray[np.bool_] = brown > threshold_otsu(brown)
    return above


def patches(slide: NDArray[np.uint8], brown: NDArray[np.bool_], columns: range, step: int) -> Patches:
    """Cut patches whose left edges start in some columns, and label them by the rule."""
    corners = [(y, x) for y in range(0, slide.shape[0] - SIDE + 1, step) for x in columns[::step]]
    cut = np.stack([slide[y : y + SIDE, x : x + SIDE] for y, x in corners])
    labels = np.array([brown[y : y + SIDE, x : x + SIDE].mean() >= LEAST_STAINED for y, x in corners], np.int64)
    return cut, labels


def load() -> tuple[Patches, Patches]:
    """Patches to train on, overlapping by half, and patches to test on; no pixel is in both."""
    from skimage.data import immunohistochemistry

    slide = immunohistochemistry()
    brown = stained_pixels(slide)
    train = patches(slide, brown, range(SPLIT - SIDE + 1), SIDE // 2)
    return train, patches(slide, brown, range(SPLIT, slide.shape[1] - SIDE + 1), SIDE)


def build() -> Any:
    """Return the untrained network."""
    import keras

    layers: list[Any] = [
        keras.Input((SIDE, SIDE, 3), name="patch"),
        keras.layers.RandomFlip(seed=SEED),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(len(LABELS), activation="softmax", name="kind"),
    ]
    return keras.Sequential(layers, name="tissue")


def main(folder: Path, epochs: int = EPOCHS) -> None:
    """Train and write everything that a conversion needs."""
    import keras

    train, test = load()
    print(f"training on {len(train[0])} patches, {int(train[1].sum())} of them stained, {epochs} epochs", flush=True)
    keras.utils.set_random_seed(SEED)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(train[0] / np.float32(255), train[1], batch_size=32, epochs=epochs, verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    trained = build()  # without the optimizer's state
    trained.set_weights(model.get_weights())
    trained.save(folder / "tissue.keras")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    for name, part in (("train", train), ("test", test)):
        _write(folder / name, part)
    print(f"wrote {folder}/tissue.keras, labels.txt, train/ and test/ ({int(test[1].sum())} of {len(test[1])} stained)")


def _write(folder: Path, part: Patches) -> None:
    import cv2

    for number, (patch, label) in enumerate(zip(*part, strict=True)):
        path = folder / LABELS[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), patch[:, :, ::-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network that tells stained tissue from unstained.")
    parser.add_argument("folder", type=Path, help="where to write the model and the patches")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.folder, given.epochs)
