"""A small convolutional network from log-mel frames to words, for `edgekit convert network.py:build`."""

from __future__ import annotations

import torch
from torch import nn

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
TOKENS = ("<blank>", *(f"▁{word}" for word in WORDS))
"""Pieces as SentencePiece writes them: ``▁`` begins a word. A vocabulary of ten can afford one piece a word."""
BINS, FRAMES = 40, 400
WIDTH = 96


class Recogniser(nn.Module):  # type: ignore[misc]
    """Log-mel ``[batch, 40, frames]`` at 10 ms to scores ``[batch, frames / 4, 11]``."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (taken, step) in enumerate(((BINS, 2), (WIDTH, 1), (WIDTH, 2), (WIDTH, 1), (WIDTH, 1), (WIDTH, 1))):
            spread = 2 if number > 3 else 1
            layers += [
                nn.Conv1d(taken, WIDTH, 5, stride=step, padding=2 * spread, dilation=spread, bias=False),
                nn.BatchNorm1d(WIDTH),
                nn.ReLU(),
                nn.Dropout(0.15),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv1d(WIDTH, len(TOKENS), 1)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Score the words in each frame of 40 ms."""
        scores: torch.Tensor = self.head(self.body(mel)).transpose(1, 2)
        return scores


def build() -> Recogniser:
    """Make the network."""
    return Recogniser()
