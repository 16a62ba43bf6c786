"""Train a two-tower recommender in Keras on the ratings of MovieLens, or others of the same form.

The user's tower is an embedding and a layer of 128; the films' is a table of 128 numbers a film. Their product is the
film's score, trained with the softmax over all films (Liang et al. 2018, WWW, equation 2). Each user's last film is
held out. Written into the folder:

    recommender.keras       the trained model: the user's number to a score for each film
    recommender.toml        the spec: user ids, the column that is right, where the seen films are
    labels.txt              the films, one a line
    seen.json               the films that each user has rated, which are not offered to him
    calibration.csv         300 users, to calibrate with
    test.csv                each user with the film that he rated last

    python samples/recommender/train.py RATINGS.CSV FOLDER [--epochs N]

The columns of the file are userId, movieId, rating and timestamp; a movies.csv beside it gives the films their titles.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.spec import Spec
from edgekit.table import Column, TableEncoding
from edgekit_converters.spec_file import write_spec

if TYPE_CHECKING:
    import keras

LEAST_RATINGS = 5
CALIBRATION_USERS = 300
SIZES = (64, 128)
EPOCHS = 50
SEED = 7


@dataclass(frozen=True)
class Ratings:
    """Who rated what, each user's last film apart.

    Attributes:
        users: User ids.
        films: Names of the films.
        seen: ``(users, films)``: what was rated before.
        last: ``(users,)``: number of the film rated last.
    """

    users: tuple[str, ...]
    films: tuple[str, ...]
    seen: NDArray[np.bool_]
    last: NDArray[np.int64]


def load(path: Path) -> Ratings:
    """Read ratings; films that fewer than five users rated are left out, and users with a single film."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = [(int(row["userId"]), int(row["movieId"]), int(row["timestamp"])) for row in csv.DictReader(stream)]
    user, film, time = np.array(rows, np.int64).T
    kept = np.ones(len(user), bool)
    for column, least in ((film, LEAST_RATINGS), (user, 2)):
        values, counts = np.unique(column[kept], return_counts=True)
        kept &= np.isin(column, values[counts >= least])
    order = np.lexsort((film, time, user))
    order = order[kept[order]]
    users, user = np.unique(user[order], return_inverse=True)
    films, film = np.unique(film[order], return_inverse=True)
    final = np.append(user[1:] != user[:-1], True)
    seen = np.zeros((len(users), len(films)), bool)
    seen[user[~final], film[~final]] = True
    return Ratings(tuple(map(str, users)), _titles(path.parent, films), seen, film[final])


def _titles(folder: Path, films: NDArray[np.int64]) -> tuple[str, ...]:
    """Number and title of each film; the number alone where there is no movies.csv."""
    titles: dict[int, str] = {}
    if (folder / "movies.csv").is_file():
        with (folder / "movies.csv").open(newline="", encoding="utf-8-sig") as stream:
            titles = {int(row["movieId"]): row["title"] for row in csv.DictReader(stream)}
    return tuple(f"{film} {titles.get(film, '')}".strip().replace("|", "/") for film in films.tolist())


def build(users: int, films: int) -> keras.Model:
    """Return the untrained model."""
    import keras

    user = keras.Input((1,), dtype="int32", name="user")
    taste = keras.layers.Flatten()(keras.layers.Embedding(users, SIZES[0], name="taste")(user))
    taste = keras.layers.Dropout(0.5, seed=SEED)(taste)
    taste = keras.layers.Dense(SIZES[1], activation="relu")(taste)
    scores = keras.layers.Dense(films, kernel_regularizer=keras.regularizers.L2(1e-5), name="scores")(taste)
    return keras.Model(user, scores, name="recommender")


def train(data: Ratings, epochs: int) -> keras.Model:
    """Train on everything but the last films."""
    import keras

    def surprise(seen: Any, scores: Any) -> Any:
        chances = keras.ops.log_softmax(scores)
        return -keras.ops.mean(keras.ops.sum(seen * chances, -1) / keras.ops.sum(seen, -1))

    keras.utils.set_random_seed(SEED)
    model = build(len(data.users), len(data.films))
    model.compile(keras.optimizers.Adam(3e-3), surprise)
    numbers = np.arange(len(data.users), dtype=np.int32)[:, None]
    model.fit(numbers, data.seen.astype(np.float32), batch_size=64, epochs=epochs, verbose=0)
    return model


def spec_of(data: Ratings) -> Spec:
    """What edgekit has to know: how a user id becomes a number, and what a row of the test data says."""
    user = Column("userId", "categorical", vocabulary=data.users, encoding="index")
    return Spec(
        task="ranking",
        table=TableEncoding((user,), target="movieId"),
        options={"user": "userId", "top_n": 10, "seen_file": "seen.json"},
    )


def main(ratings: Path, folder: Path, epochs: int = EPOCHS) -> None:
    """Train and write everything that a conversion needs."""
    data = load(ratings)
    print(
        f"{data.seen.sum()} ratings of {len(data.films)} films by {len(data.users)} users, {epochs} epochs", flush=True
    )
    model = train(data, epochs)
    folder.mkdir(parents=True, exist_ok=True)
    trained = build(len(data.users), len(data.films))  # without the optimizer's state
    trained.set_weights(model.get_weights())
    trained.save(folder / "recommender.keras")
    write_spec(folder / "recommender.toml", spec_of(data))
    (folder / "labels.txt").write_text("\n".join(data.films) + "\n", encoding="utf-8")
    known = {
        user: [data.films[i] for i in np.flatnonzero(row)] for user, row in zip(data.users, data.seen, strict=True)
    }
    (folder / "seen.json").write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")
    _write_rows(folder / "calibration.csv", [[user] for user in data.users[:CALIBRATION_USERS]])
    _write_rows(folder / "test.csv", [[u, data.films[i]] for u, i in zip(data.users, data.last, strict=True)])
    print(f"wrote {folder}/recommender.keras, recommender.toml, labels.txt, seen.json, calibration.csv, test.csv")


def _write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["userId", "movieId"][: len(rows[0])], *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a recommender of films.")
    parser.add_argument("ratings", type=Path, help="ratings.csv of MovieLens")
    parser.add_argument("folder", type=Path, help="where to write the model and its data")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes about CPU instructions and absent CUDA drivers
    main(given.ratings, given.folder, given.epochs)
