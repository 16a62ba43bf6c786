"""`edgekit inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("path", metavar="FILE|BUNDLE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def inspect(path: Path, as_json: bool) -> None:
    """Show what is inside a .tflite or .onnx file or a bundle.

    Inputs, outputs, quantization, operators, parameters, multiply-accumulate operations (MACs) and what the bytes
    are spent on; of a bundle the manifest too. Files of other tools are welcome.
    """
    from edgekit_converters.inspection.inspector import inspect_path

    found = inspect_path(path)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from edgekit_converters.inspection.render import render

    Console(highlight=False, soft_wrap=False).print(render(found))
