"""Options that several commands share: how a trained model is opened, and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgekit.presets import PRESETS

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_SOURCE = (
    click.option("--weights", type=_PATH, help="Weights of a PyTorch factory: .safetensors or a state dict."),
    click.option("--preset", type=click.Choice(list(PRESETS)), help="Named preprocessing and task."),
    click.option("--spec", type=_PATH, help="TOML file with task, inputs, preprocess, labels."),
    click.option("--labels", type=_PATH, help="Class names, one a line."),
    click.option("--tokenizer", type=_PATH, help="tokenizer.json or its folder, for text."),
    click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="[NAME=]SIZES[:DTYPE]",
        help="Batch first, e.g. 1,3,224,224 or input_ids=1,128:int64; repeatable.",
    ),
    click.option(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="Tokens a text of a Hugging Face model; longer ones are cut.",
    ),
    click.option(
        "--trust-pickle", is_flag=True, help="Let a pickled PyTorch module run its code (in a child process)."
    ),
)


def source_options(command: F) -> F:
    """Add the options that say how to open a source model and what it is for."""
    for option in reversed(_SOURCE):
        command = option(command)
    return command
