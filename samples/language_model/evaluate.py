"""Measure a bundle that generates text: perplexity in the loop, and tokens a second.

Each artifact reads the test texts with the cache that it filled itself, as it will on the device; the conversion gives
every step the original's cache. The rates are of a prompt of 128 tokens that is read and gone on with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bundle import Artifact, Bundle
from edgekit.errors import DataRefused
from edgekit.metrics import Metric
from edgekit.tasks.decoder_step import Decoder
from edgekit.tasks.perplexity import negative_log_likelihood, perplexity
from edgekit.tasks.text_generation import TextGeneration
from edgekit_runtimes.predictor import Predictor, load

PROMPT, NEW, RUNS = 128, 64, 5


@dataclass(frozen=True)
class Rates:
    """Tokens a second.

    Attributes:
        prefill: Of the prompt.
        decode: Of the text behind it.
        uncached: Of the text behind it when everything is read again for every token.
    """

    prefill: float
    decode: float
    uncached: float


def read_texts(path: Path) -> list[str]:
    """Texts of a ``.jsonl`` file."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise DataRefused(f"{path} holds no texts", expected='lines of {"text": …}')
    return texts


def in_the_loop(predictor: Predictor, texts: list[str]) -> Metric:
    """Perplexity of an artifact that fills its own cache."""
    task = text_task(predictor)
    table = []
    for text in texts:
        ids = task.tokens(text)
        rows = np.concatenate([row for _, row in Decoder(task.graph, predictor.runner.run).steps(ids)])
        table.append((negative_log_likelihood(rows[:-1], np.array(ids[1:])).sum(), len(ids) - 1))
    sums, counts = np.array(table).T
    return perplexity(sums, counts)


def text_task(predictor: Predictor) -> TextGeneration:
    """The task of a bundle. Raises DataRefused for a bundle that generates no text."""
    if not isinstance(predictor.task, TextGeneration):
        raise DataRefused(f"a bundle for {predictor.task.name}", expected="one that generates text")
    return predictor.task


def rates(predictor: Predictor, text: str) -> Rates:
    """Tokens a second with the cache, and without it."""
    task, run = text_task(predictor), predictor.runner.run
    new = min(NEW, task.graph.slots // 3)
    ids = list(task.tokens(text)[: min(PROMPT, task.graph.slots - new)])

    def prefill() -> None:
        Decoder(task.graph, run).feed(ids)

    def decode() -> float:
        decoder = Decoder(task.graph, run)
        logits = decoder.feed(ids)
        steps = []
        for _ in range(new - 1):
            begun = time.perf_counter()
            logits = decoder.feed([int(logits.argmax())])
            steps.append(time.perf_counter() - begun)
        return statistics.median(steps)

    def uncached() -> None:
        Decoder(task.graph, run).feed(ids + ids[: new // 2])  # the middle of what is generated

    return Rates(len(ids) / timed(prefill), 1 / min(decode() for _ in range(RUNS)), 1 / timed(uncached))


def timed(job: Callable[[], Any]) -> float:
    """Least seconds of a few runs, after one that is not counted: other work on the machine only ever adds."""
    job()
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def peer_rate(folder: Path, text: str, threads: int) -> float:
    """Tokens a second of ``transformers`` generate on the CPU, greedy, the time for the prompt taken off."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    ids = AutoTokenizer.from_pretrained(folder, local_files_only=True)(text, return_tensors="pt").input_ids[:, :PROMPT]
    mask = torch.ones_like(ids)

    def generate(count: int) -> Callable[[], Any]:
        return lambda: model.generate(
            ids, attention_mask=mask, do_sample=False, min_new_tokens=count, max_new_tokens=count
        )

    return (NEW - 1) / (timed(generate(NEW)) - timed(generate(1)))


def line(artifact: Artifact, metric: Metric, found: Rates) -> str:
    """One artifact in words."""
    return (
        f"{artifact.file:28} perplexity {metric}   "
        f"prompt {found.prefill:6.0f}  text {found.decode:5.0f}  without cache {found.uncached:5.0f} tokens/s"
    )


def main(path: Path, texts: Path, peer: Path | None = None, threads: int = 1) -> None:
    """Print a line for each artifact."""
    bundle, read = Bundle(path), read_texts(texts)
    print(f"{len(read)} texts")
    for artifact in bundle.artifacts:
        engine = {"tflite": "litert", "onnx": "onnxruntime"}[artifact.format]
        with load(path, engine=engine, recipe=artifact.recipe, threads=threads) as predictor:
            print(line(artifact, in_the_loop(predictor, read), rates(predictor, max(read, key=len))), flush=True)
    if peer is not None:
        print(f"{'transformers':28} text {peer_rate(peer, max(read, key=len), threads):5.0f} tokens/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts", type=Path, help="texts as .jsonl")
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="also time transformers on this model")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    main(given.bundle, given.texts, given.peer, given.threads)
