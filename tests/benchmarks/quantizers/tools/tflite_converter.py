"""TensorFlow's own converter, full int8 with float inputs and outputs, from the Keras model or SavedModel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.quantizers.workspace import Workspace


def ready(workspace: Workspace) -> Callable[[Path], None]:
    """Open the original."""
    import tensorflow as tf

    from edgekit_converters.sources import open_source
    from tests.benchmarks.quantizers.networks import named
    from tests.benchmarks.quantizers.prepare import request_of

    with tempfile.TemporaryDirectory() as folder:
        request = request_of(named(workspace.name), Path(folder))
    source: Any = open_source(request.model, request.source)

    def representative() -> Iterator[list[Any]]:
        return (list(sample.values()) for sample in workspace.samples("tflite"))

    def run(out: Path) -> None:
        if source.framework == "keras":
            converter = tf.lite.TFLiteConverter.from_keras_model(source.model)
        else:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(source.folder))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        out.write_bytes(converter.convert())

    return run
