"""Train a small Keras network on the measurements of cell nuclei that scikit-learn ships. No medical device.

569 fine-needle aspirates of breast tumours, 30 measurements each (Wolberg, Street and Mangasarian 1995, UCI "Breast
Cancer Wisconsin (Diagnostic)"), 212 of them malignant. Written into the folder:

    cells.keras             the trained network: 30 scaled measurements to the probability of malignant
    cells.toml              the spec: the measurements, scaled as in training
    train.csv, test.csv     426 aspirates trained on, to calibrate with; 143 others, to measure with

    python samples/medical_diagnosis/cells.py FOLDER [--epochs N]
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.spec import Spec
from edgekit_converters.spec_file import write_spec
from edgekit_converters.tables import table_from_sklearn

TARGET = "diagnosis"
LABELS = ("benign", "malignant")
TEST = 143
EPOCHS = 40
SEED = 7


def build(width: int) -> Any:
    """Return the untrained network."""
    import keras

    layers: list[Any] = [
        keras.Input((width,), name="measurements"),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.3, seed=SEED),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid", name="malignant"),
    ]
    return keras.Sequential(layers, name="cells")


def main(folder: Path, epochs: int = EPOCHS) -> None:
    """Train and write everything that a conversion needs."""
    import keras
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    names = [str(name) for name in data.feature_names]
    malignant = (data.target == 0).astype(np.float32)  # scikit-learn has malignant as 0
    train, test, train_truth, test_truth = train_test_split(
        data.data, malignant, test_size=TEST, random_state=SEED, stratify=malignant
    )
    scaler = StandardScaler().fit(train)
    print(f"training on {len(train)} aspirates, {epochs} epochs", flush=True)
    keras.utils.set_random_seed(SEED)
    model = build(len(names))
    model.compile("adam", "binary_crossentropy")
    model.fit(scaler.transform(train), train_truth, batch_size=16, epochs=epochs, verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    trained = build(len(names))  # without the optimizer's state
    trained.set_weights(model.get_weights())
    trained.save(folder / "cells.keras")
    table = table_from_sklearn(scaler, names, target=TARGET)
    write_spec(folder / "cells.toml", Spec("tabular-classification", table=table, labels=LABELS))
    _write(folder / "train.csv", names, train, train_truth)
    _write(folder / "test.csv", names, test, test_truth)
    print(f"wrote {folder}/cells.keras, cells.toml, train.csv and test.csv")


def _write(path: Path, names: list[str], rows: NDArray[np.float64], truths: NDArray[np.float32]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, TARGET])
        writer.writerows([*row, LABELS[int(truth)]] for row, truth in zip(rows.tolist(), truths, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network on measurements of cell nuclei.")
    parser.add_argument("folder", type=Path, help="where to write the model and its data")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.folder, given.epochs)
