"""`edgekit compress`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import UsageError
from edgekit.units import parse_size, parse_time
from edgekit_converters.compress.request import CompressRequest, Goal
from edgekit_converters.input_size import parse_sides
from edgekit_converters.options import source_options
from edgekit_converters.quantize.recipes import RECIPES
from edgekit_converters.request import TARGETS

if TYPE_CHECKING:
    from edgekit_converters.compress.record import Record

_EPILOG = """\b
Examples:
  edgekit compress mynet.py:build --weights mynet.safetensors --input-shape 1,3,224,224 \\
      --preset imagenet --target-macs 0.7 --data photos/ --eval labelled.csv -o small.pt2
  edgekit convert small.pt2 --original mynet.py:build --original-weights mynet.safetensors \\
      --preset imagenet --recipe int8 --calibration photos/ --eval labelled.csv -o small.bundle
  edgekit compress mynet.keras --preset imagenet --target-latency 10ms --data photos/ -o small.keras

\b
--train names a function of yours, for quantization-aware fine-tuning:
  def tune(model, steps): ...
It gets a network that rounds weights and activations as an int8 artifact does, and changes the weights in place, in
as many optimizer steps as it is told. A torch.nn.Module comes in evaluation mode; its forward() takes the input
tensors by position and returns a tuple of output tensors. A keras.Model has its own inputs and outputs and is not
compiled.
"""


@click.command(epilog=_EPILOG)
@click.argument("source")
@source_options
@click.option("--target-macs", type=float, metavar="SHARE", help="MACs that may be left, e.g. 0.7.")
@click.option("--target-size", metavar="SIZE", help="Bytes of the weights in --recipe, e.g. 5MB.")
@click.option("--target-latency", metavar="TIME", help="Median latency of the first --to and --recipe, e.g. 10ms.")
@click.option(
    "--data",
    "calibration",
    required=True,
    metavar="PATH",
    help="Unlabelled inputs to learn from: folder of images, .csv, .npz, .txt, … or module:function.",
)
@click.option(
    "--eval", "evaluation", metavar="PATH", help="Data that the result is judged on, like --data; never learned from."
)
@click.option(
    "--steps", type=int, default=1000, show_default=True, help="Training steps in all, short trials of a rate aside."
)
@click.option("--minutes", type=float, help="Time for training in all, whichever ends first.")
@click.option("--rounds", type=int, help="Times channels are removed; by default one for each tenth that goes.")
@click.option("--round-to", type=int, default=8, show_default=True, help="Channels are left in multiples of this.")
@click.option("--rate", type=float, help="Largest learning rate; by default the best of a few that are tried.")
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    metavar="SIDE",
    help="Size of smaller photos to try, 192 or 192x160, repeatable; by default a few promising ones.",
)
@click.option("--own-resolution", is_flag=True, help="Leave the size of the photos as it is.")
@click.option("--train", metavar="MODULE:FUNCTION", help="Your training function, for quantization-aware fine-tuning.")
@click.option("--train-steps", type=int, default=200, show_default=True, help="Step count that it is given.")
@click.option("--to", type=click.Choice(TARGETS), default="tflite", show_default=True, help="For --target-latency.")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="fp32",
    show_default=True,
    help="Precision that --target-size and --target-latency are meant for.",
)
@click.option("--threads", type=int, default=1, show_default=True, help="For --target-latency.")
@click.option("--on", "device", metavar="NAME", help="Device that --target-latency is measured on.")
@click.option("--max-drop", type=float, default=2.0, show_default=True, metavar="POINTS", help="Accuracy to be lost.")
@click.option("--allow-degraded", is_flag=True, help="Write the result even if it lost more.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random choices.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The smaller model: a .pt2 file of a PyTorch model, a .keras file of a Keras model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of a table.")
def compress(
    source: str,
    output: Path,
    *,
    target_macs: float | None,
    target_size: str | None,
    target_latency: str | None,
    to: str,
    recipe: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a trained model smaller before it is converted, without its training data.

    SOURCE is opened as by edgekit convert. Channels that matter least to the answers are removed from all layers that
    depend on them, the rest learns from the original's answers to your unlabelled inputs. A classifier takes smaller
    photos besides, where that changes fewer of its answers than smaller layers do. Ctrl-C ends the learning and keeps
    the best so far. Beside the result lies NAME.compression.json with the parity after every step. A result that lost
    more than --max-drop points is set aside as NAME.degraded.pt2 or .keras, with exit code 4.
    """
    from edgekit_converters.api import build_request
    from edgekit_converters.compress.compressor import DropTooLarge
    from edgekit_converters.compress.compressor import compress as run_compression
    from edgekit_converters.progress import Silent, reporter_for_terminal

    goal, target = _goal(target_macs, target_size, target_latency)
    own = {name: options.pop(name) for name in ("steps", "minutes", "rounds", "round_to", "rate", "train")}
    own |= {name: options.pop(name) for name in ("train_steps", "threads", "device", "seed", "own_resolution")}
    own["resolutions"] = tuple(parse_sides(word) for word in options.pop("resolutions"))
    conversion = build_request(source, output, to=(to,), recipes=(recipe,), **options)
    request = CompressRequest(conversion, goal, target, **own)
    if as_json:
        record, _ = run_compression(request, Silent())
        click.echo(json.dumps(record.to_dict(), indent=1))
        return
    try:
        with reporter_for_terminal() as reporter:
            record, _ = run_compression(request, reporter)
    except DropTooLarge as missed:
        _show(missed.record)
        raise
    _show(record)
    click.echo(f"wrote {output}; next: edgekit convert {output} --original {source} …")


def _goal(macs: float | None, size: str | None, latency: str | None) -> tuple[Goal, float]:
    given: list[tuple[Goal, float]] = []
    if macs is not None:
        given.append(("macs", macs))
    if size is not None:
        given.append(("size", parse_size(size, given=f"--target-size {size}")))
    if latency is not None:
        given.append(("latency", parse_time(latency, given=f"--target-latency {latency}", example="10ms")))
    if len(given) != 1:
        raise UsageError(
            f"{len(given)} targets", expected="one of --target-macs 0.7, --target-size 5MB, --target-latency 10ms"
        )
    return given[0]


def _show(record: Record) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgekit_converters.compress.record import in_millions

    table = Table("step", "million MACs", "million parameters", "agreement", "relative L2", "metric", "seconds")
    for step in record.steps:
        table.add_row(
            step.kind,
            in_millions(step.macs),
            in_millions(step.parameters),
            "" if step.agreement is None else f"{100 * step.agreement:.1f} %",
            "" if step.relative_l2 is None else f"{step.relative_l2:.3f}",
            "" if step.metric is None else f"{step.metric:.4g}",
            f"{step.seconds:.0f}",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log has no width: do not cut columns
    console.print(table)
    (before, after), goal = record.macs, record.goal
    if record.photo is not None:
        (height, width), (rows, columns) = record.photo
        console.print(f"photos of {height}x{width} → {rows}x{columns}")
    console.print(f"{in_millions(before)} → {in_millions(after)} million MACs ({100 * after / before:.0f} %), {goal}")
