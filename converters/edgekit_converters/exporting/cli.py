"""`edgekit export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgekit.bundle import Artifact, Bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--to", "to", type=click.Choice(["c-array"]), required=True, help="Form of what is written.")
@click.option("--recipe", help="Artifact of the bundle; int8 by default, or the only one.")
@click.option("--name", help="Name of the array in C; by default that of the model.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Header; the source is written beside it."
)
def export(bundle: Path, to: str, recipe: str | None, name: str | None, output: Path) -> None:
    """Write a bundle's TFLite model as C source, for microcontrollers and programs without a file system.

    -o model.h writes model.h and model.c (C11 and C++11): the bytes of the artifact, 16-byte aligned, its length, scale
    and zero point of inputs and outputs, the bytes that its activations need at once, and the labels. Convert with
    --io int8 for inputs and outputs in integers.
    """
    from edgekit.atomic import atomic_file
    from edgekit.bundle import Bundle
    from edgekit_converters.exporting.c_array import CModel, c_texts, identifier, names_of

    header, source = names_of(output)
    opened = Bundle(bundle)
    artifact = chosen(opened, recipe)
    model = CModel(opened.file(artifact.file), name or identifier(opened.manifest.name), opened.spec.labels or ())
    texts = c_texts(model, header.name)
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
