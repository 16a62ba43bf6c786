"""The same trained network in Keras and in PyTorch: the sources must agree with each other and with its known score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source

Photos = Callable[[slice], tuple[NDArray[np.float32], NDArray[np.int64]]]


def logits(source: Source, photos: NDArray[np.float32]) -> NDArray[np.float32]:
    feed = np.moveaxis(photos, -1, 1) if source.inputs[0].layout == "NCHW" else photos
    return next(iter(source.run({source.inputs[0].name: feed}).values()))


def test_keras_and_pytorch_agree(keras_mobilenet: Source, torch_mobilenet: Source, photos: Photos) -> None:
    pictures, _ = photos(slice(0, 8))
    ours, theirs = logits(keras_mobilenet, pictures), logits(torch_mobilenet, pictures)
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 1e-4


def test_mobilenet_scores_what_it_is_known_to(torch_mobilenet: Source, photos: Photos) -> None:
    """85.0 % of all 400 photos is published with the weights' port; a fourth of them is within its interval."""
    pictures, classes = photos(slice(None, None, 4))
    assert (logits(torch_mobilenet, pictures).argmax(1) == classes).mean() == pytest.approx(0.85, abs=0.05)


def test_the_keyword_lstm_scores_what_it_is_known_to(
    realpack: Path, architectures: Path, architecture: Callable[[str], ModuleType]
) -> None:
    words = (realpack / "models/torch/classes_kaggle.names").read_text(encoding="utf-8").split()
    with np.load(realpack / "speech_commands/sc12.npz") as clips:
        spoken = np.char.lower(clips["word"])
        known = np.isin(spoken, words)
        frames = architecture("keyword_lstm").mfcc(clips["audio_i16_16k"][known])
    options = SourceOptions(weights=realpack / "models/torch/kaggle.ckpt", inputs=(InputHint((1, 32, 12)),))
    with open_source(f"{architectures / 'keyword_lstm.py'}:build", options) as source:
        scores = logits(source, frames)
    heard = np.array(words)[scores.argmax(1)]
    assert len(frames) == 331
    assert round(float((heard == spoken[known]).mean()), 4) == 0.9547


def test_the_saved_model_scores_what_it_is_known_to(realpack: Path) -> None:
    with np.load(realpack / "speech_commands/sc12.npz") as clips:
        # Stored as the published int8 model takes them: its input's zero point and scale.
        features = (clips["mfcc_i8_49x10"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
        classes = clips["label"]
    with open_source(realpack / "models/savedmodel/kws_ref_model") as source:
        scores = logits(source, features)
    assert (scores.argmax(1) == classes).mean() > 0.85
