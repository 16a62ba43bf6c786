"""`edgekit export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgekit.bundle import Artifact, Bundle


@click.command()
@click.argument("model", metavar="BUNDLE|MODEL")
@click.option("--to", "to", required=True, help="c-array, or the name of an installed exporter.")
@click.option("--recipe", help="Artifact of the bundle; int8 by default, or the only one. For c-array.")
@click.option("--name", help="Name of the array in C; by default that of the model. For c-array.")
@click.option("--weights", type=click.Path(path_type=Path), help="Of a PyTorch factory. For exporters.")
@click.option("--input-shape", "shapes", multiple=True, help="As for edgekit convert; repeatable. For exporters.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Header, beside which the source is written; the exporter's file or folder.",
)
def export(
    *,
    model: str,
    to: str,
    recipe: str | None,
    name: str | None,
    weights: Path | None,
    shapes: tuple[str, ...],
    output: Path,
) -> None:
    """Write a bundle's TFLite model as C source, for microcontrollers and programs without a file system.

    -o model.h writes model.h and model.c (C11 and C++11): the bytes of the artifact, 16-byte aligned, its length, scale
    and zero point of inputs and outputs, the bytes that its activations need at once, and the labels. Convert with
    --io int8 for inputs and outputs in integers.

    With the name of an exporter that another distribution brings (entry point "edgekit.exporters"), a trained MODEL, as
    edgekit convert takes it, is written in that exporter's form.
    """
    if to == "c-array":
        _refuse(to, {"--weights": weights, "--input-shape": shapes})
        _c_array(Path(model), recipe, name, output)
    else:
        _refuse(to, {"--recipe": recipe, "--name": name})
        _by_exporter(model, to, weights, shapes, output)


def _refuse(to: str, options: dict[str, object]) -> None:
    from edgekit.errors import UsageError

    for option, value in options.items():
        if value:
            raise UsageError(f"{option} with --to {to}", remedy=f"leave {option} out")


def _by_exporter(model: str, to: str, weights: Path | None, shapes: tuple[str, ...], output: Path) -> None:
    from edgekit.errors import UsageError
    from edgekit_converters.exporting.exporters import export_source, exporter
    from edgekit_converters.sources import SourceOptions, open_source
    from edgekit_converters.specs import parse_hint

    exporter(to)  # before a framework is imported
    if (Path(model) / "manifest.json").is_file():
        raise UsageError(f"{model} is a bundle", expected=f"a trained model for --to {to}, as edgekit convert takes it")
    options = SourceOptions(weights=weights, inputs=tuple(parse_hint(shape) for shape in shapes))
    with open_source(model, options) as source:
        said = export_source(source, to, output)
    click.echo(f"wrote {output}: {said}")


def _c_array(bundle: Path, recipe: str | None, name: str | None, output: Path) -> None:
    from edgekit.atomic import atomic_file
    from edgekit.bundle import Bundle
    from edgekit_converters.exporting.c_array import CModel, c_texts, identifier, names_of

    header, source = names_of(output)
    opened = Bundle(bundle)
    artifact = chosen(opened, recipe)
    c_model = CModel(opened.file(artifact.file), name or identifier(opened.manifest.name), opened.spec.labels or ())
    texts = c_texts(c_model, header.name)
    for path, text in zip((source, header), reversed(texts), strict=True):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    click.echo(f"wrote {header} and {source}: {artifact.file}, {artifact.bytes:,} bytes")
    if artifact.degraded:
        click.echo(f"{artifact.file} missed its gate at conversion: {artifact.degraded}", err=True)
    if artifact.recipe == "int8" and any(binding.dtype == "float32" for binding in artifact.inputs):
        click.echo("its inputs are float32: convert with --io int8 to feed integers", err=True)


def chosen(bundle: Bundle, recipe: str | None) -> Artifact:
    """The TFLite artifact of a recipe; without one int8, or the only one.

    Raises:
        UsageError: There is none, or several to choose from.
    """
    from edgekit.errors import UsageError

    found = [artifact for artifact in bundle.artifacts if artifact.format == "tflite"]
    named = [artifact for artifact in found if artifact.recipe == (recipe or "int8")]
    if not named and recipe is None and len(found) == 1:
        named = found
    if not named:
        raise UsageError(
            f"{bundle.path} has no TFLite artifact {recipe or 'int8'!r}",
            expected="--recipe " + " or ".join(artifact.recipe for artifact in found) if found else "a .tflite in it",
            remedy=None if found else "convert with --to tflite --recipe int8 --io int8",
        )
    return named[0]
