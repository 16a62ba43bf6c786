"""Answer customers' questions from a list of answers, or hand over to a person.

``build`` turns the questions of faq.json into vectors with a text-embedding bundle, fits an intent classifier on them
and chooses the similarity below which a person has to answer. ``ask`` answers; ``evaluate`` measures on the phrasings
that ``build`` never saw. All of it runs on the device: numpy and the bundle, no framework.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit.engine import Array
from edgekit.metrics import Proportion

FAQ = Path(__file__).with_name("faq.json")


@dataclass(frozen=True)
class Reply:
    """What a question gets.

    Attributes:
        answer: Number of the answer; ``None`` for a person.
        similarity: Cosine to the nearest known question.
        intent: Number of the most probable intent.
    """

    answer: int | None
    similarity: float
    intent: int


@dataclass(frozen=True)
class Index:
    """What answering needs beside the encoder.

    Attributes:
        vectors: ``(questions, dimensions)``, of length 1.
        owners: ``(questions,)``: number of each question's answer.
        weights: ``(dimensions + 1, intents)``: a linear classifier with its bias in the last row.
        threshold: Similarity below which a person answers.
    """

    vectors: Array
    owners: Array
    weights: Array
    threshold: float

    def reply(self, vector: Array) -> Reply:
        """Answer the question of this vector."""
        alike = self.vectors @ vector
        best = int(alike.argmax())
        intent = int((np.append(vector, 1) @ self.weights).argmax())
        answer = int(self.owners[best]) if alike[best] >= self.threshold else None
        return Reply(answer, float(alike[best]), intent)


def embed(predictor: Any, texts: Sequence[str]) -> Array:
    """Vectors of length 1, ``(texts, dimensions)``."""
    vectors = np.stack([result.vector for result in predictor.predict_batch(texts)])
    unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def fit(vectors: Array, classes: Array, steps: int = 500) -> Array:
    """Multinomial logistic regression by gradient descent, ``(dimensions + 1, classes)``."""
    inputs = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
    targets = np.eye(int(classes.max()) + 1, dtype=np.float32)[classes]
    weights = np.zeros((inputs.shape[1], targets.shape[1]), np.float32)
    for _ in range(steps):
        scores = inputs @ weights
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        weights -= 5.0 * (inputs.T @ (shares - targets) / len(inputs) + 1e-4 * weights)
    return weights


def choose_threshold(vectors: Array, owners: Array, strangers: Array) -> float:
    """The similarity that treats most known questions and strangers rightly.

    A known question counts as right when the nearest of the others has its answer and reaches the threshold, a
    stranger when its nearest question does not. Among equals the middle one.
    """
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    nearest = alike.argmax(axis=1)
    reached, correct = alike.max(axis=1), owners[nearest] == owners
    foreign = (strangers @ vectors.T).max(axis=1)
    candidates = np.linspace(0, 1, 101)
    scores = np.array([(correct & (reached >= at)).sum() + (foreign < at).sum() for at in candidates])
    return float(np.median(candidates[scores == scores.max()]))


def build(predictor: Any, faq: dict[str, Any]) -> Index:
    """Make the index."""
    entries = faq["answers"]
    intents = sorted({entry["intent"] for entry in entries})
    questions = [text for entry in entries for text in entry["questions"]]
    owners = np.array([number for number, entry in enumerate(entries) for _ in entry["questions"]])
    vectors = embed(predictor, questions)
    classes = np.array([intents.index(entries[owner]["intent"]) for owner in owners])
    threshold = choose_threshold(vectors, owners, embed(predictor, faq["out_of_scope"]))
    return Index(vectors, owners, fit(vectors, classes), threshold)


def load(path: Path) -> Index:
    """Read an index."""
    with np.load(path, allow_pickle=False) as raw:
        return Index(raw["vectors"], raw["owners"], raw["weights"], float(raw["threshold"]))


def evaluate(predictor: Any, index: Index, faq: dict[str, Any]) -> dict[str, Proportion]:
    """Measure on the held-out phrasings and strangers."""
    entries = faq["answers"]
    intents = sorted({entry["intent"] for entry in entries})
    cases = [(number, text) for number, entry in enumerate(entries) for text in entry["held_out"]]
    replies = [index.reply(vector) for vector in embed(predictor, [text for _, text in cases])]
    asked = list(zip(cases, replies, strict=True))
    strangers = [index.reply(vector) for vector in embed(predictor, faq["out_of_scope_held_out"])]
    wrong = sum(reply.answer not in (None, number) for (number, _), reply in asked)
    return {
        "intent right": Proportion(sum(intents[r.intent] == entries[n]["intent"] for (n, _), r in asked), len(asked)),
        "answer right": Proportion(sum(r.answer == n for (n, _), r in asked), len(asked)),
        "answer wrong": Proportion(wrong, len(asked)),
        "handed over, though known": Proportion(sum(r.answer is None for _, r in asked), len(asked)),
        "strangers handed over": Proportion(sum(r.answer is None for r in strangers), len(strangers)),
    }


def main() -> None:
    """Build, ask or evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["build", "ask", "evaluate"])
    parser.add_argument("bundle", help="a text-embedding bundle")
    parser.add_argument("questions", nargs="*", help="for ask")
    parser.add_argument(
        "--index", type=Path, default=Path("index.npz"), help="what build writes (default: %(default)s)"
    )
    parser.add_argument("--faq", type=Path, default=FAQ, help="answers with their questions (default: the sample's)")
    parser.add_argument("--recipe", help="the bundle's artifact, e.g. dynamic-int8")
    given = parser.parse_intermixed_args()

    faq = json.loads(given.faq.read_text(encoding="utf-8"))
    entries = faq["answers"]
    intents = sorted({entry["intent"] for entry in entries})
    with edgekit.load(given.bundle, recipe=given.recipe) as predictor:
        if given.command == "build":
            began = time.monotonic()
            index = build(predictor, faq)
            np.savez(given.index, **vars(index))
            print(f"{len(index.vectors)} questions, {len(entries)} answers, threshold {index.threshold:.2f}")
            print(f"wrote {given.index} in {time.monotonic() - began:.1f} s")
        elif given.command == "evaluate":
            for name, share in evaluate(predictor, load(given.index), faq).items():
                print(f"{name:26} {share.counts:>9}  {share} %")
        else:
            index = load(given.index)
            for text, vector in zip(given.questions, embed(predictor, given.questions), strict=True):
                reply = index.reply(vector)
                said = "a person will answer" if reply.answer is None else entries[reply.answer]["answer"]
                print(f"{text}\n  [{intents[reply.intent]}, similarity {reply.similarity:.2f}] {said}")


if __name__ == "__main__":
    main()
