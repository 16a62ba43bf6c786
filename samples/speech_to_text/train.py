"""Train a tiny recogniser of a few spoken words with connectionist temporal classification.

python train.py CLIPS OUT      CLIPS has one subfolder a word, with WAV files of about a second

Sentences are clips of three words joined at random; words of the test are spoken in clips that were never trained on.
Writes OUT/words.safetensors, tokens.txt, and calibration/ and test/ with a .txt beside each recording.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from edgekit.sound.features import features
from edgekit.sound.reading import blocks
from edgekit.sound.wav import write_wav
from edgekit.spec import Spec
from samples.speech_to_text.network import TOKENS, WORDS, Recogniser, build

STEPS = 700
BATCH = 16
SPOKEN = 3
"""Words of a sentence."""
SEED = 0
TEST_SENTENCES, CALIBRATION_SENTENCES = 100, 60
_MARGIN = 1_600

Clip = tuple[str, NDArray[np.float32]]
SPEC = Spec.from_toml(Path(__file__).with_name("words.toml"))


def load_clips(folder: Path) -> tuple[list[Clip], list[Clip]]:
    """Clips of the ten words to learn from, and every fourth of each for the test."""
    train: list[Clip] = []
    test: list[Clip] = []
    for word in WORDS:
        files = sorted(path for path in folder.rglob("*.wav") if path.parent.name.lower() == word)
        for at, path in enumerate(files):
            samples = np.concatenate(list(blocks(path, 16_000)))
            (test if at % 4 == 3 else train).append((word, samples / max(np.abs(samples).max(), 1e-6)))
    return train, test


def sentence(clips: Sequence[Clip], random: np.random.Generator) -> tuple[str, NDArray[np.float32]]:
    """Join clips with pauses and faint noise, four seconds in all."""
    chosen = [clips[int(i)] for i in random.integers(0, len(clips), SPOKEN)]
    parts = []
    for _, samples in chosen:
        parts += [np.zeros(int(random.integers(0, _MARGIN)), np.float32), samples * random.uniform(0.4, 1.0)]
    whole = np.concatenate(parts)[:64_000]
    whole = np.pad(whole, (0, 64_000 - len(whole))) + 0.003 * random.standard_normal(64_000)
    return " ".join(word for word, _ in chosen), (whole / np.abs(whole).max()).astype(np.float32)


def train(clips: Sequence[Clip], steps: int) -> Recogniser:
    """Train on sentences made up as they are needed."""
    assert SPEC.sound is not None  # noqa: S101  words.toml has it
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    network, loss = build(), nn.CTCLoss(zero_infinity=True)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        said = [sentence(clips, random) for _ in range(BATCH)]
        mel = torch.from_numpy(np.stack([features(samples, SPEC.sound) for _, samples in said]))
        tokens = [[1 + WORDS.index(word) for word in text.split()] for text, _ in said]
        scores = network(mel).log_softmax(2).transpose(0, 1)
        lengths = torch.tensor([len(one) for one in tokens])
        targets = torch.tensor([token for one in tokens for token in one])
        found = loss(scores, targets, torch.full((BATCH,), scores.shape[0]), lengths)
        optimizer.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {found.item():.3f}", flush=True)
    return network.eval()  # type: ignore[no-any-return]


def write_sentences(folder: Path, clips: Sequence[Clip], count: int, seed: int) -> None:
    """Write recordings, and beside each what is said."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        text, samples = sentence(clips, random)
        with (folder / f"{number:03}.wav").open("wb") as stream:
            write_wav(stream, (samples * 32767).astype(np.int16), 16_000)
        (folder / f"{number:03}.txt").write_text(text + "\n", encoding="utf-8")


def main(clips_folder: Path, folder: Path, steps: int = STEPS) -> None:
    """Train and write everything that a conversion needs."""
    learned, unheard = load_clips(clips_folder)
    print(f"training on sentences of {len(learned)} clips, {steps} steps of {BATCH}", flush=True)
    network = train(learned, steps)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "words.safetensors")
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in TOKENS), encoding="utf-8")
    write_sentences(folder / "calibration", learned, CALIBRATION_SENTENCES, 1)
    write_sentences(folder / "test", unheard, TEST_SENTENCES, 2)
    print(f"wrote {folder}/words.safetensors, tokens.txt, calibration/ and test/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a recogniser of a few spoken words.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    main(given.clips, given.folder, given.steps)
