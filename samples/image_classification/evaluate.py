"""Measure each artifact of a bundle on labelled pictures, here or on the board: needs no framework.

python evaluate.py BUNDLE FOLDER        FOLDER has one subfolder a class, named as in the bundle's labels
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import edgekit
from edgekit.bundle import Artifact, Bundle
from edgekit.errors import DataRefused, EdgeKitError
from edgekit.images import IMAGE_SUFFIXES
from edgekit.metrics import Proportion

ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Score:
    """How an artifact did.

    Attributes:
        accuracy: Pictures whose best class is their folder's name.
        milliseconds: Mean time for one picture: reading, resizing, inference, decoding.
    """

    accuracy: Proportion
    milliseconds: float


def labelled_pictures(folder: Path) -> list[tuple[Path, str]]:
    """Pictures below a folder, each with the name of its subfolder. Raises DataRefused when there are none."""
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataRefused(f"{folder} holds no labelled pictures", expected="one subfolder of pictures a class")
    return [(path, path.parent.name) for path in files]


def score(bundle: Path, artifact: Artifact, pictures: Iterable[tuple[Path, str]]) -> Score:
    """Classify every picture with one artifact."""
    right = total = 0
    with edgekit.load(bundle, engine=ENGINES[artifact.format], recipe=artifact.recipe) as predictor:
        start = time.perf_counter()
        for path, name in pictures:
            right += predictor.predict(path).best.name == name
            total += 1
        seconds = time.perf_counter() - start
    return Score(Proportion(right, total), 1000 * seconds / total)


def main(bundle: Path, folder: Path) -> None:
    """Print one line an artifact."""
    pictures = labelled_pictures(folder)
    print(f"{len(pictures)} pictures")
    for artifact in Bundle(bundle).artifacts:
        result = score(bundle, artifact, pictures)
        low, high = result.accuracy.interval()
        print(
            f"{artifact.file:24} accuracy {100 * result.accuracy.value:.1f} % (95 %: {100 * low:.1f} to"
            f" {100 * high:.1f})   {result.milliseconds:.2f} ms a picture"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure each artifact of a bundle on labelled pictures.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        main(given.bundle, given.folder)
    except EdgeKitError as error:
        raise SystemExit(f"error: {error}") from error
