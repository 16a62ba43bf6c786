"""Train a small keyword spotter (DS-CNN, Zhang et al. 2017, arXiv:1711.07128) on your own clips.

python train.py OUT --from CLIPS     CLIPS has one subfolder a word, with WAV files of about a second

Writes OUT/keywords.keras, labels.txt, calibration.csv and test.csv; every fifth clip of a word is kept for the test.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit.sound.encoding import MLPERF_TINY_KWS as FRONT_END
from edgekit.sound.features import features
from edgekit.sound.reading import SOUND_SUFFIXES, blocks

if TYPE_CHECKING:
    import keras

EPOCHS = 25
SEED = 0
COPIES = 4
"""Variants of each training clip: shifted in time, with noise."""
SHIFT = 1_600
CALIBRATION_CLIPS = 100
FILTERS, BLOCKS = 64, 4


@dataclass(frozen=True)
class Clips:
    """Files and their classes.

    Attributes:
        words: Class names.
        train: Files to learn from, with their classes.
        test: Files kept aside.
    """

    words: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]


def find_clips(folder: Path) -> Clips:
    """Split the clips of each word. Ends the program where there are not two words."""
    words = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if len(words) < 2:
        raise SystemExit(f"{folder}: {len(words)} subfolders; expected one for each word, with WAV files")
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for number, word in enumerate(words):
        files = sorted(p for p in (folder / word).rglob("*") if p.suffix.lower() in SOUND_SUFFIXES)
        for at, path in enumerate(files):
            (test if at % 5 == 4 else train).append((path.resolve(), number))
    return Clips(words, tuple(train), tuple(test))


def hear(path: Path) -> NDArray[np.float32]:
    """A second of a clip."""
    samples = np.concatenate(list(blocks(path, FRONT_END.sample_rate)))[: FRONT_END.window]
    padded: NDArray[np.float32] = np.pad(samples, (0, FRONT_END.window - len(samples)))
    return padded


def varied(samples: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Shift a clip by up to a tenth of a second, and add faint noise."""
    moved = np.roll(samples, int(random.integers(-SHIFT, SHIFT + 1)))
    noise = random.standard_normal(len(samples)) * random.uniform(0, 0.05) * np.abs(samples).max()
    found: NDArray[np.float32] = (moved + noise).astype(np.float32)
    return found


def encoded(files: Sequence[tuple[Path, int]], copies: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """MFCC ``(clips, 49, 10, 1)`` and classes, with so many variants of each clip besides."""
    random = np.random.default_rng(SEED)
    inputs, classes = [], []
    for path, number in files:
        samples = hear(path)
        heard = [samples, *(varied(samples, random) for _ in range(copies))]
        inputs += [features(one, FRONT_END)[..., None] for one in heard]
        classes += [number] * len(heard)
    return np.stack(inputs), np.array(classes)


def build(words: int) -> keras.Model:
    """A convolution and four depthwise-separable ones."""
    import keras

    layers: list[keras.Layer] = [
        keras.Input((49, 10, 1), name="mfcc"),
        keras.layers.Conv2D(FILTERS, (10, 4), strides=2, padding="same", use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Dropout(0.2, seed=SEED),
    ]
    for _ in range(BLOCKS):
        layers += [
            keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(FILTERS, 1, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [
        keras.layers.Dropout(0.4, seed=SEED),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(words, activation="softmax", name="word"),
    ]
    return keras.Sequential(layers, name="keywords")


def main(folder: Path, clips_folder: Path, epochs: int = EPOCHS) -> None:
    """Train and write what a conversion needs."""
    import keras

    clips = find_clips(clips_folder)
    inputs, classes = encoded(clips.train, COPIES)
    print(f"training on {len(clips.train)} clips of {len(clips.words)} words, {epochs} epochs", flush=True)
    keras.utils.set_random_seed(SEED)
    model = build(len(clips.words))
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(inputs) // 32))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs, classes, batch_size=32, epochs=epochs, verbose=2)

    held_out, truths = encoded(clips.test)
    right = int((model.predict(held_out, verbose=0).argmax(axis=1) == truths).sum())
    print(f"test accuracy: {right} of {len(truths)} = {100 * right / len(truths):.1f} %")
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "keywords.keras")
    (folder / "labels.txt").write_text("".join(f"{word}\n" for word in clips.words), encoding="utf-8")
    step = max(1, len(clips.train) // CALIBRATION_CLIPS)
    _write_list(folder / "calibration.csv", clips.train[::step], clips.words)
    _write_list(folder / "test.csv", clips.test, clips.words)
    print(f"wrote {folder}/keywords.keras, labels.txt, calibration.csv and test.csv")


def _write_list(path: Path, files: Sequence[tuple[Path, int]], words: tuple[str, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "label"))
        writer.writerows((str(file), words[number]) for file, number in files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a keyword spotter.")
    parser.add_argument("folder", type=Path, help="where to write the model and the lists of clips")
    parser.add_argument("--from", dest="clips", type=Path, required=True, help="folder with one subfolder a word")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.folder, given.clips, given.epochs)
