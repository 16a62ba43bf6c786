"""What a compression is asked for: one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import UsageError
from edgekit_converters.input_size import Size
from edgekit_converters.request import Request

Goal = Literal["macs", "size", "latency"]
WEIGHT_BYTES = {"fp32": 4.0, "fp16": 2.0, "dynamic-int8": 1.0, "int8": 1.0, "int8-int16": 1.0, "mixed": 1.0}
"""Recipe -> bytes a weight, near enough: biases and the layers that ``mixed`` leaves in float are a few percent."""


@dataclass(frozen=True)
class CompressRequest:
    """A compression.

    Attributes:
        conversion: Model, spec and data; its output is the new source model, its first target and recipe are what
            size and latency are meant for.
        goal: What is to fall.
        target: A share of the MACs, bytes, or milliseconds.
        steps: Training steps in all.
        minutes: Time for training in all; ``None`` for no limit.
        rounds: Times that channels are removed; ``None``: one for each tenth that goes.
        round_to: Channels are left in multiples of this.
        resolutions: Sizes of smaller photos to try; empty for what seems promising.
        own_resolution: Leave the size of the photos as it is.
        rate: Largest learning rate; ``None``: the best of a few that are tried.
        train: ``module:function`` of the user's, for quantization-aware fine-tuning.
        train_steps: Step count that it is given.
        threads: Threads that latency is measured with.
        device: Name of the device that latency is measured on; ``None``: this machine.
        seed: Of all random choices.
    """

    conversion: Request
    goal: Goal
    target: float
    steps: int = 1000
    minutes: float | None = None
    rounds: int | None = None
    round_to: int = 8
    resolutions: tuple[Size, ...] = ()
    own_resolution: bool = False
    rate: float | None = None
    train: str | None = None
    train_steps: int = 200
    threads: int = 1
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.goal == "macs" and not 0 < self.target < 1:
            raise UsageError(f"--target-macs {self.target:g}", expected="a share between 0 and 1, e.g. 0.7")
        if self.target <= 0:
            raise UsageError(f"--target-{self.goal} {self.target:g}", expected="more than 0")
        for name, value in (("--steps", self.steps), ("--train-steps", self.train_steps), ("--seed", self.seed)):
            if value < 0:
                raise UsageError(f"{name} {value}", expected="0 or more")
        if self.goal == "size" and self.resolutions:
            raise UsageError("--resolution with --target-size", expected="one of them: smaller photos save no weights")
        if self.own_resolution and self.resolutions:
            raise UsageError("--own-resolution with --resolution", expected="one of them")
        counts = {"--rounds": self.rounds, "--round-to": self.round_to, "--threads": self.threads}
        for name, number in {**counts, "--minutes": self.minutes, "--rate": self.rate}.items():
            if number is not None and not 0 < number < math.inf:
                raise UsageError(f"{name} {number:g}", expected="more than 0")
