"""The options that say what the source model is and which data it is judged on: one place for every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgekit.presets import PRESETS
from edgekit_converters.quantize.effort import EFFORTS

Command = TypeVar("Command", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)

_SOURCE_OPTIONS = (
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
        "--max-length", type=int, metavar="TOKENS", help="Tokens a text of a Hugging Face model; longer ones are cut."
    ),
    click.option(
        "--trust-pickle", is_flag=True, help="Let a pickled PyTorch module run its code (in a child process)."
    ),
)
_CONVERSION_OPTIONS = (
    click.option(
        "--calibration",
        metavar="PATH",
        help="Folder of images, .csv, .npz, .npy, .txt, .tsv, .jsonl or module:function.",
    ),
    click.option(
        "--eval",
        "evaluation",
        metavar="PATH",
        help="Data for parity and accuracy, like --calibration; never used to calibrate.",
    ),
    click.option(
        "--effort",
        type=click.Choice(list(EFFORTS)),
        default="normal",
        show_default=True,
        help="How much is done for integer artifacts; low for a first look.",
    ),
    click.option("--name", help="Name of the artifacts; by default that of the model."),
)


def source_options(command: Command) -> Command:
    """Add the options that say how to open a source model and what it is for."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


def conversion_options(command: Command) -> Command:
    """Add `source_options` and those of a conversion; `edgekit_converters.api.build_request` takes them as they are."""
    for option in reversed(_CONVERSION_OPTIONS):
        command = option(command)
    return source_options(command)
