"""A SavedModel's signature as the converters want it: named inputs and outputs, in the artifact's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgekit_converters.targets.base import inverse
from edgekit_converters.targets.binding import Permute

DEFAULT_SIGNATURE = "serving_default"


def named_call(function: Any, source: Any, outputs: Sequence[str], permute: Permute) -> Callable[..., dict[str, Any]]:
    """Return a function from the artifact's inputs, in the source's order, to its named outputs.

    Args:
        function: The signature's ConcreteFunction.
        source: The SavedModel source.
        outputs: Name of each output in the artifact.
        permute: Source input name -> axes that turn its array into the artifact's layout.
    """
    import tensorflow as tf

    axes = [inverse(permute[spec.name]) if spec.name in permute else None for spec in source.inputs]

    def call(*arrays: Any) -> dict[str, Any]:
        feeds = {
            spec.name: array if order is None else tf.transpose(array, order)
            for spec, array, order in zip(source.inputs, arrays, axes, strict=True)
        }
        answers = function(**feeds)
        return {name: answers[spec.name] for spec, name in zip(source.outputs, outputs, strict=True)}

    return call


def rewrite(source: Any, folder: Path, names: tuple[list[str], list[str]], permute: Permute, batch: int | None) -> None:
    """Save the signature again as a SavedModel with other names, layouts or batch.

    Args:
        source: The SavedModel source.
        folder: Where to write.
        names: Names of the inputs and of the outputs in the new signature.
        permute: Source input name -> axes that turn its array into the new layout.
        batch: Batch to fix; ``None`` keeps the source's.
    """
    import tensorflow as tf

    from edgekit_converters.targets.keras_graph import signature

    inputs, outputs = names
    module = tf.Module()
    module.loaded = tf.saved_model.load(str(source.folder))  # what is saved must own the variables it uses
    call = named_call(module.loaded.signatures[source.signature], source, outputs, permute)
    function = tf.function(call, input_signature=signature(source.inputs, inputs, permute, batch))
    tf.saved_model.save(module, str(folder), signatures={DEFAULT_SIGNATURE: function})
