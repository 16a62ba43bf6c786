"""Train a small decoder on Python's own documentation, or take a published one; write all that a conversion needs.

The text is what `help("topics")` of every Python shows: about half a megabyte of the language reference.

    python samples/language_model/train.py tiny
    python samples/language_model/train.py smol --from hf:HuggingFaceTB/SmolLM2-135M
    python samples/language_model/train.py mine --from path/to/a/saved/model
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 0
STEPS = 600
VOCABULARY = 1024
END = "<|end|>"
CONTEXT = 256
BATCH, LENGTH = 8, 128
PASSAGE = 600  # characters, at least
HELD_OUT_EVERY = 10
CALIBRATION_PASSAGES, TEST_PASSAGES = 12, 24


@dataclass(frozen=True)
class Corpus:
    """Passages of text.

    Attributes:
        train: To learn from.
        test: Every tenth passage, of which no paragraph was seen in training.
    """

    train: list[str]
    test: list[str]


def load_corpus() -> Corpus:
    """Python's documentation by topic, in passages of whole paragraphs; what topics share is taken once."""
    from pydoc_data import topics

    paragraphs = dict.fromkeys(part for _, text in sorted(topics.topics.items()) for part in text.split("\n\n"))
    passages, held = [], []
    for paragraph in paragraphs:
        held.append(paragraph)
        if sum(map(len, held)) >= PASSAGE:
            passages.append("\n\n".join(held))
            held = []
    train = [text for i, text in enumerate(passages) if i % HELD_OUT_EVERY]
    learned = {part.strip() for text in train for part in text.split("\n\n")}
    new = [text for text in passages[::HELD_OUT_EVERY] if learned.isdisjoint(map(str.strip, text.split("\n\n")))]
    return Corpus(train, new)


def train_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE tokenizer: any text has tokens, and none is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def build(vocabulary: int) -> Any:
    """A decoder of the Llama family with 0.9 million parameters; queries share keys and values in pairs."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def train(model: Any, ids: Any, steps: int) -> None:
    """Train on random stretches of a long row of tokens."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(SEED)
    for step in range(steps):
        for group in optimizer.param_groups:  # a short warm-up, then down to nearly nothing
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20, 1.02 - step / steps)
        at = torch.randint(len(ids) - LENGTH, (BATCH,), generator=generator)
        batch = torch.stack([ids[i : i + LENGTH] for i in at.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:4}  loss {loss.item():.2f}", flush=True)


def write_model(folder: Path, corpus: Corpus, steps: int) -> None:
    """Train and save a model and its tokenizer as Hugging Face does."""
    import torch
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(SEED)
    tokenizer = train_tokenizer(corpus.train)
    end = tokenizer.token_to_id(END)
    ids = torch.tensor([i for one in tokenizer.encode_batch(corpus.train) for i in (end, *one.ids)] + [end])
    model = build(tokenizer.get_vocab_size())
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters, {len(ids)} tokens of {len(corpus.train)} passages", flush=True)
    train(model, ids, steps)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END).save_pretrained(folder)


def copy_model(source: str, folder: Path) -> None:
    """Save a published model (``hf:NAME``, downloaded once) or one in a local folder, in float32 safetensors."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = source.removeprefix("hf:")
    local = not source.startswith("hf:")
    AutoModelForCausalLM.from_pretrained(place, dtype="float32", local_files_only=local).save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, local_files_only=local).save_pretrained(folder)


def write_texts(path: Path, texts: list[str]) -> None:
    """Write passages as JSON lines: they have line ends of their own."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(folder: Path, source: str | None = None, steps: int = STEPS) -> None:
    """Write ``model/``, ``calibration.jsonl`` and ``test.jsonl``."""
    corpus = load_corpus()
    folder.mkdir(parents=True, exist_ok=True)
    if source is None:
        write_model(folder / "model", corpus, steps)
    else:
        copy_model(source, folder / "model")
    write_texts(folder / "calibration.jsonl", corpus.train[:: len(corpus.train) // CALIBRATION_PASSAGES])
    write_texts(folder / "test.jsonl", corpus.test[:TEST_PASSAGES])
    print(f"wrote {folder}/model, calibration.jsonl and test.jsonl")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--from", dest="source", metavar="FOLDER|hf:NAME", help="take this model, do not train one")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    given = parser.parse_args()
    main(given.folder, given.source, given.steps)
