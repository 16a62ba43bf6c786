"""Copy an artifact, with the weights that an ONNX model may keep in other files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.engine import format_of


def copy_artifact(source: Path, path: Path) -> None:
    """Copy a `.tflite` or `.onnx` file; weights beside an ONNX model are taken into it where they fit.

    Args:
        source: The artifact; its external data has been checked when it was opened.
        path: Where to write; replaced in one step on success.
    """
    with atomic_file(path) as temporary, tempfile.TemporaryDirectory(prefix=".copy-", dir=path.parent) as folder:
        draft = Path(folder, path.name)
        if format_of(source) == "onnx":
            from edgekit_converters.targets import onnx_file

            onnx_file.gather(source, draft)
            onnx_file.publish_external_data(draft, path)
        else:
            shutil.copyfile(source, draft)
        os.replace(draft, temporary)
