"""Measure each artifact of a bundle on questions with known answers, here or on the board: needs no framework.

python samples/question_answering/evaluate.py BUNDLE QUESTIONS      a .jsonl file or SQuAD's .json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import edgekit
from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError
from edgekit.metrics import Proportion, bootstrapped
from edgekit.tasks.question_answering import QuestionAnswering
from edgekit.tasks.question_files import questions
from edgekit.tasks.squad import exact_match, token_f1

ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}


def known(bundle: Path, file: Path) -> list[tuple[dict[str, str], tuple[str, ...]]]:
    """Return questions and their right answers."""
    spec, found = Bundle(bundle).spec, []
    for where, ask in questions(file):
        item, answers = ask()
        found.append((item, QuestionAnswering.truth(spec, answers, where) or ()))
    return found


def score(given: list[str], right: list[tuple[str, ...]]) -> str:
    """Return exact match and F1 in words."""
    pairs = list(zip(right, given, strict=True))
    exact = Proportion(sum(int(exact_match(*pair)) for pair in pairs), len(pairs))
    scores = np.array([token_f1(*pair) for pair in pairs])
    return f"exact match {exact}   F1 {bootstrapped('F1', len(pairs), lambda draw: float(scores[draw].mean()))}"


def main(bundle: Path, file: Path) -> None:
    """Print one line an artifact."""
    asked = known(bundle, file)
    print(f"{len(asked)} questions")
    for artifact in Bundle(bundle).artifacts:
        with edgekit.load(bundle, engine=ENGINES[artifact.format], recipe=artifact.recipe) as predictor:
            start = time.perf_counter()
            given = [str(predictor.predict(item).to_dict()["text"]) for item, _ in asked]
            milliseconds = 1000 * (time.perf_counter() - start) / len(asked)
        print(f"{artifact.file:26} {score(given, [right for _, right in asked])}   {milliseconds:.0f} ms a question")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure each artifact of a bundle on questions with known answers.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("questions", type=Path)
    given = parser.parse_args()
    try:
        main(given.bundle, given.questions)
    except EdgeKitError as error:
        raise SystemExit(f"error: {error}") from error
