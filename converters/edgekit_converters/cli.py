"""`edgekit convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.presets import PRESETS
from edgekit_converters.options import conversion_options
from edgekit_converters.quantize.recipes import RECIPES
from edgekit_converters.request import TARGETS

if TYPE_CHECKING:
    from edgekit.bundle import Manifest

_PRESETS = "\n".join(f"  {name:20} {text}" for name, (text, _) in PRESETS.items())
_RECIPES = "\n".join(f"  {recipe.name:18} {recipe.summary}" for recipe in RECIPES.values())
_EPILOG = f"""\b
Presets:
{_PRESETS}

\b
Recipes:
{_RECIPES}

\b
Examples:
  edgekit convert model.keras --preset unit --labels labels.txt --to tflite \\
      --recipe fp32 --recipe int8 --calibration photos/ -o model.bundle
  edgekit convert mynet.py:build --weights mynet.safetensors --input-shape 1,3,224,224 \\
      --preset imagenet --recipe int8 --calibration photos.csv -o mynet.bundle
  edgekit convert hf:distilbert-base-uncased-finetuned-sst-2-english --max-length 64 \\
      --recipe dynamic-int8 --eval sentences.tsv -o sentiment.bundle
"""


@click.command(epilog=_EPILOG)
@click.argument("source")
@conversion_options
@click.option(
    "--to",
    "to",
    multiple=True,
    type=click.Choice(TARGETS),
    default=TARGETS,
    show_default=True,
    help="Artifact format; repeatable.",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    type=click.Choice(list(RECIPES)),
    default=["fp32"],
    show_default=True,
    help="Named precision; repeatable.",
)
@click.option(
    "--io",
    type=click.Choice(["float", "int8"]),
    default="float",
    show_default=True,
    help="Inputs and outputs of int8 artifacts.",
)
@click.option(
    "--max-drop",
    type=float,
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Accuracy that an integer artifact may lose.",
)
@click.option(
    "--original",
    metavar="SOURCE",
    help="The model that SOURCE was made from, as by edgekit compress: it judges the artifacts.",
)
@click.option("--original-weights", type=click.Path(path_type=Path), help="Weights of the original's factory.")
@click.option("--allow-degraded", is_flag=True, help="Publish artifacts that miss their gate, marked so.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the bundle; an older bundle there is replaced in one step.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest and the seconds of each stage as JSON.")
def convert(source: str, output: Path, as_json: bool, **options: Any) -> None:
    """Turn a trained model into a bundle of TFLite and ONNX artifacts.

    SOURCE is a .keras, .h5, .pt2, .onnx or .tflite file, a SavedModel folder, a PyTorch factory as
    package.module:function or path/file.py:function, or a Hugging Face model as hf:NAME or its local folder, which
    says task, labels and tokenizer itself. Each artifact is compared with the original on data that was not used for
    calibration; the bundle is published only if all pass.
    """
    from edgekit_converters.api import build_request
    from edgekit_converters.convert import GateMissed
    from edgekit_converters.convert import convert as run_conversion
    from edgekit_converters.progress import Silent, reporter_for_terminal

    request = build_request(source, output, **options)
    if as_json:
        bundle, stages = run_conversion(request, Silent())
        report = {"bundle": str(output), "seconds": stages.seconds, **bundle.manifest.to_dict()}
        click.echo(json.dumps(report, indent=1))
        return
    try:
        with reporter_for_terminal() as reporter:
            bundle, _ = run_conversion(request, reporter)
    except GateMissed as missed:
        _show(missed.manifest)
        raise
    _show(bundle.manifest)
    click.echo(f"wrote {output}; next: edgekit verify {output}")


def _show(manifest: Manifest) -> None:
    from rich.console import Console

    from edgekit_converters.table import artifact_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log has no width: do not cut columns
    console.print(artifact_table(manifest))
