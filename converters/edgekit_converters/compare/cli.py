"""`edgekit compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import QualityError
from edgekit.presets import PRESETS

if TYPE_CHECKING:
    from edgekit_converters.compare.comparison import Comparison
    from edgekit_converters.compare.subject import CompareRequest

_EPILOG = """\b
Examples:
  edgekit compare model.bundle int8 --to tflite --plot error.png
  edgekit compare model.keras somebodys.tflite --preset imagenet --data photos.csv
  edgekit compare net.py:build net.int8.onnx --weights net.safetensors --input-shape 1,3,224,224 \\
      --preset imagenet --data photos.csv --diagnose
"""


@click.command(epilog=_EPILOG)
@click.argument("original", metavar="ORIGINAL|BUNDLE")
@click.argument("artifact")
@click.option(
    "--data",
    metavar="PATH",
    help="Folder of images, .csv, .npz, .npy, .txt, .tsv, .jsonl or module:function; by default the golden samples of "
    "a bundle.",
)
@click.option(
    "--to", "kind", type=click.Choice(["tflite", "onnx"]), help="Which file, where a bundle has a recipe twice."
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Preprocessing and task of a trained model.")
@click.option("--spec", type=click.Path(path_type=Path), help="TOML file instead of a preset.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights of a PyTorch factory.")
@click.option(
    "--input-shape", "input_shapes", multiple=True, metavar="[NAME=]SIZES[:DTYPE]", help="Batch first; repeatable."
)
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="tokenizer.json or its folder, for text.")
@click.option("--trust-pickle", is_flag=True, help="Let a pickled PyTorch module run its code (in a child process).")
@click.option(
    "--threshold", type=float, default=0.1, show_default=True, help="Relative L2 from which on a layer counts as wrong."
)
@click.option(
    "--layer-samples", type=int, default=32, show_default=True, help="Samples for the layers; the outputs use all."
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Layers in the table.")
@click.option(
    "--diagnose/--no-diagnose",
    default=None,
    help="Look for swapped channels, other value ranges, axes and framings; by default when the answers are far off.",
)
@click.option("--max-relative-l2", type=float, help="Exit with 4 when an output is further off than this.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw the error from layer to layer.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def compare(
    original: str,
    artifact: str,
    *,
    top: int,
    max_relative_l2: float | None,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show where an ARTIFACT's answers leave the original's, and which layers carry the error.

    ORIGINAL is a trained model as `edgekit convert` takes it; its layers are those of a float file that is converted
    from it on the way. BUNDLE is a folder that `edgekit convert` wrote; ARTIFACT may then be a file or a recipe in
    it, such as int8. Otherwise ARTIFACT is any .tflite or .onnx file of the same model, of other tools too.
    """
    from edgekit_converters.compare import compare as run
    from edgekit_converters.progress import Silent, reporter_for_terminal

    if plot is not None:
        from edgekit_converters.compare.plot import check_target

        check_target(plot)
    request = _request(original, artifact, **options)
    if as_json:
        found = run(request, Silent())
    else:
        with reporter_for_terminal() as reporter:
            found = run(request, reporter)
    _show(found, top, as_json)
    if plot is not None:
        from edgekit_converters.compare.plot import draw

        draw(found, plot)
        click.echo(f"wrote {plot}", err=as_json)
    worst = found.outputs.worst
    if max_relative_l2 is not None and not worst.relative_l2 <= max_relative_l2:
        raise QualityError(
            f"{found.artifact}: output {worst.name!r} has relative L2 {worst.relative_l2:.3g}",
            expected=f"at most {max_relative_l2:g}",
            remedy="the layers above carry the error; more calibration data, another recipe, or leave them in float",
        )


def _request(
    original: str,
    artifact: str,
    *,
    kind: str | None,
    preset: str | None,
    spec: Path | None,
    weights: Path | None,
    input_shapes: tuple[str, ...],
    labels: Path | None,
    trust_pickle: bool,
    **rest: Any,
) -> CompareRequest:
    from edgekit.errors import UsageError
    from edgekit_converters.compare.subject import CompareRequest, is_bundle
    from edgekit_converters.sources.base import SourceOptions
    from edgekit_converters.specs import hints_of, parse_hint, partial_spec, read_labels

    given = {
        "--preset": preset,
        "--spec": spec,
        "--weights": weights,
        "--input-shape": input_shapes,
        "--labels": labels,
        "--tokenizer": rest["tokenizer"],
        "--trust-pickle": trust_pickle,
    }
    said = [name for name, value in given.items() if value]
    if is_bundle(original) and said:
        raise UsageError(f"{', '.join(said)} for a bundle", expected="none: the bundle has its own spec")
    partial = partial_spec(preset, spec)
    hints = tuple(parse_hint(shape) for shape in input_shapes) or hints_of(partial)
    return CompareRequest(
        original=original,
        artifact=artifact,
        spec=partial,
        source=SourceOptions(weights=weights, inputs=hints, trust_pickle=trust_pickle),
        labels=read_labels(labels),
        format=kind,
        **rest,
    )


def _show(found: Comparison, top: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from edgekit_converters.compare.table import LEGEND, headline, layer_table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=180, highlight=False)  # a log has no width: do not cut columns
    for line in headline(found):
        console.print(line, markup=False, soft_wrap=True)
    if found.layers:
        console.print()
        console.print(layer_table(found, top))
        console.print(LEGEND, style="dim", markup=False)
