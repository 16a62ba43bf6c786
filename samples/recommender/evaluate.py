"""Measure each artifact of a recommender on held-out films, here or on the board: needs no framework.

python evaluate.py BUNDLE TEST.CSV
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import edgekit
from edgekit.bundle import Artifact, Bundle
from edgekit.errors import EdgeKitError
from edgekit.rows import Row, read_rows
from edgekit.tasks.ranking import Ranking, Recommendation, ndcg, recall

ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Score:
    """How an artifact did, mean over users.

    Attributes:
        recall: Share of users whose film is among the ten.
        ndcg: 1 for a film in the first place, less further down, 0 when it is not among the ten.
        milliseconds: For one user: inference, leaving out what was seen, sorting.
    """

    recall: float
    ndcg: float
    milliseconds: float


def score(bundle: Path, artifact: Artifact, rows: Sequence[Row]) -> Score:
    """Ask one artifact for each user's ten films."""
    recalls, gains = [], []
    with edgekit.load(bundle, engine=ENGINES[artifact.format], recipe=artifact.recipe) as predictor:
        spec = predictor.bundle.spec
        target = str(spec.table.target if spec.table else None)
        rights = [Ranking.truth(spec, row.load()[target], row.where) or frozenset() for row in rows]
        predictor.predict(rows[0].load())  # the first one reads what was seen
        start = time.perf_counter()
        for row, right in zip(rows, rights, strict=True):
            result = predictor.predict(row.load())
            assert isinstance(result, Recommendation)  # noqa: S101  for the type checker
            ranked = [item.index for item in result.items]
            recalls.append(recall(ranked, right))
            gains.append(ndcg(ranked, right))
        seconds = time.perf_counter() - start
    return Score(sum(recalls) / len(rows), sum(gains) / len(rows), 1000 * seconds / len(rows))


def main(bundle: Path, test: Path) -> None:
    """Print one line an artifact."""
    opened = Bundle(bundle)
    table = opened.spec.table
    rows = list(read_rows(test, [*table.names, str(table.target)] if table else []))
    print(f"{len(rows)} users")
    for artifact in opened.artifacts:
        found = score(bundle, artifact, rows)
        print(
            f"{artifact.file:34} recall@10 {found.recall:.4f}   NDCG@10 {found.ndcg:.5f}"
            f"   {found.milliseconds:.2f} ms a user"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure each artifact of a recommender on held-out films.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("test", type=Path)
    given = parser.parse_args()
    try:
        main(given.bundle, given.test)
    except EdgeKitError as error:
        raise SystemExit(f"error: {error}") from error
