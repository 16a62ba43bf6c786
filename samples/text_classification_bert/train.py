"""Fine-tune a BERT-family model from Hugging Face on labelled sentences and save it in the hub's layout.

The folder that it writes is what `edgekit convert` takes: configuration with class names, safetensors, tokenizer.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

Row = tuple[str, str]
MINILM = "hf:sentence-transformers/all-MiniLM-L6-v2"


def read_rows(path: Path) -> list[Row]:
    """Read ``text<TAB>label`` lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.rpartition("\t")[::2] for line in lines if line.strip()]
    bad = next((number for number, (text, label) in enumerate(rows, 1) if not text.strip() or not label), None)
    if bad is not None:
        raise SystemExit(f"{path} line {bad}: expected text<TAB>label")
    return rows


def open_model(source: str, labels: Sequence[str]) -> tuple[Any, Any]:
    """Return tokenizer and model with a new head, from ``hf:NAME`` or a folder."""
    place = source.removeprefix("hf:")
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        place, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
        use_safetensors=True,
    )  # fmt: skip
    return tokenizer, model


def freeze(model: Any) -> int:
    """Keep the embeddings and the lower half of the layers as they are: half the time, and less to forget.

    Returns:
        Number of weights that are trained.
    """
    encoder = model.base_model
    stack = getattr(encoder, "encoder", None) or encoder.transformer  # DistilBERT calls it transformer
    layers = stack.layer
    for part in (encoder.embeddings, *layers[: len(layers) // 2]):
        part.requires_grad_(False)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def batches(rows: Sequence[Row], size: int, generator: random.Random) -> Iterator[list[Row]]:
    """Yield batches of sentences of similar length in random order: less padding, less time."""
    mixed = sorted(rows, key=lambda row: len(row[0]) + generator.random() * 20)
    groups = [mixed[i : i + size] for i in range(0, len(mixed), size)]
    generator.shuffle(groups)
    yield from groups


def tokens(tokenizer: Any, rows: Sequence[Row], length: int) -> Any:
    """Tokenize the sentences of a batch."""
    return tokenizer([text for text, _ in rows], padding=True, truncation=True, max_length=length, return_tensors="pt")


def train(
    tokenizer: Any, model: Any, rows: Sequence[Row], labels: Sequence[str], *, epochs: int, length: int, rate: float
) -> None:
    """Fine-tune with AdamW and a learning rate that warms up and falls to 0."""
    generator, size = random.Random(0), 32  # noqa: S311  it shuffles
    steps = epochs * -(-len(rows) // size)
    optimizer = torch.optim.AdamW((w for w in model.parameters() if w.requires_grad), lr=rate, weight_decay=0.01)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for epoch in range(1, epochs + 1):
        total, began = 0.0, time.monotonic()
        for group in batches(rows, size, generator):
            targets = torch.tensor([labels.index(label) for _, label in group])
            loss = model(**tokens(tokenizer, group, length), labels=targets).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += float(loss.detach()) * len(group)
        print(f"epoch {epoch}/{epochs}: loss {total / len(rows):.4f}, {time.monotonic() - began:.0f} s", flush=True)
    model.eval()


def right(tokenizer: Any, model: Any, rows: Sequence[Row], labels: Sequence[str], length: int) -> int:
    """Count the sentences that the model classifies as they are labelled."""
    count = 0
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            group = rows[start : start + 64]
            best = model(**tokens(tokenizer, group, length)).logits.argmax(dim=1).tolist()
            count += sum(labels[place] == label for place, (_, label) in zip(best, group, strict=True))
    return count


def main() -> None:
    """Train, measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for the model")
    parser.add_argument("--from", dest="source", default=MINILM, help="hf:NAME or a folder (default: %(default)s)")
    parser.add_argument("--train", type=Path, required=True, help="text<TAB>label lines")
    parser.add_argument("--test", type=Path, required=True, help="text<TAB>label lines")
    parser.add_argument("--names", nargs="*", default=[], help="class names for the labels in sorted order")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--max-length", type=int, default=64, help="tokens a sentence")
    given = parser.parse_args()

    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows, test = read_rows(given.train), read_rows(given.test)
    labels = sorted({label for _, label in rows})
    names = given.names or labels
    if len(names) != len(labels):
        raise SystemExit(f"{len(names)} names for the labels {', '.join(labels)}")
    tokenizer, model = open_model(given.source, names)
    trained = freeze(model)
    print(f"training {trained:,} weights on {len(rows)} sentences, {given.epochs} epochs", flush=True)
    train(tokenizer, model, rows, labels, epochs=given.epochs, length=given.max_length, rate=given.learning_rate)
    count = right(tokenizer, model, test, labels, given.max_length)
    print(f"test accuracy: {count} of {len(test)} = {100 * count / len(test):.1f} %")
    model.save_pretrained(given.output)
    tokenizer.save_pretrained(given.output)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
