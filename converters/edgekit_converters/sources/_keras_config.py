"""Read a Keras model's configuration before Keras does: refuse what carries code, repair what has aged.

Keras 3 no longer knows some arguments that Keras 1 and 2 wrote into every file. Most of them had their neutral
value (``groups: 1`` of a depthwise convolution), so leaving them out gives the same model. An argument
with any other value stays where it is, and Keras itself refuses the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from edgekit.errors import ModelRefused

Config = dict[str, Any]

LAMBDA_CLASSES = ("Lambda", "__lambda__")
FOREIGN_CLASSES = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")

RENAMED_CLASSES = {
    "AtrousConvolution2D": "Conv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Policy": "DTypePolicy",
    "SeparableConvolution2D": "SeparableConv2D",
}
RENAMED_ARGUMENTS = {
    "bias": "use_bias",
    "border_mode": "padding",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "subsample": "strides",
}
# Of no meaning for the answers, whatever their value: how weights were first drawn, punished in training or computed.
TRAINING_ARGUMENTS = frozenset(
    (
        *("init", "inner_init", "gamma_init", "beta_init", "gamma_regularizer", "beta_regularizer"),
        *("W_regularizer", "b_regularizer", "W_constraint", "b_constraint"),
        *("implementation", "consume_less", "input_length"),
    )
)
# Without effect only at this value.
NEUTRAL_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "adjustment": (None,),
    "dynamic": (False,),
    "fused": (None, False, True),
    "groups": (1,),
    "mode": (0,),
    "ragged": (False,),
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "sparse": (False,),
    "synchronized": (False,),
    "time_major": (False,),
    "virtual_batch_size": (None,),
}


def refuse_code(config: object, file: str) -> None:
    """Refuse a configuration that would make Keras run code out of the file or open other files.

    Args:
        config: Parsed ``config.json`` or ``model_config``.
        file: File name for the message.

    Raises:
        ModelRefused: A Lambda anywhere in it (submodels and wrappers too), or a layer that opens other files.
    """
    for node, path in _objects(config, ()):
        kind = node["class_name"]
        layer = "/".join(path) or kind
        if kind in LAMBDA_CLASSES:
            raise ModelRefused(
                f"{file}: layer {layer!r} is a Keras Lambda, Python code inside of the model file",
                expected="a model made of layers",
                remedy="replace the Lambda by a layer or keras.ops and save again, or convert the live model "
                "with edgekit.convert(model, …), or export it with model.export(folder)",
            )
        if kind in FOREIGN_CLASSES:
            raise ModelRefused(
                f"{file}: layer {layer!r} is a {kind}, which opens other files or pickled code",
                expected="a model that holds its own layers",
                remedy="convert the model that it wraps",
            )


def _objects(node: object, path: tuple[str, ...]) -> Iterator[tuple[Config, tuple[str, ...]]]:
    """Every serialized object with the names of the layers around it, outermost first."""
    if isinstance(node, list):
        for item in node:
            yield from _objects(item, path)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("class_name"), str):
        inner = node.get("config")
        name = (inner.get("name") if isinstance(inner, dict) else None) or node.get("name")
        path = (*path, name) if isinstance(name, str) and "inbound_nodes" not in path else path
        yield node, path
    for value in node.values():
        yield from _objects(value, path)


def repair(config: Config, layer_class: Callable[[str], type | None]) -> tuple[str, ...]:
    """Bring an aged configuration up to Keras 3, in place.

    Args:
        config: The model's configuration: ``class_name`` and ``config``.
        layer_class: Finds a Keras 3 layer by name; ``None`` for a custom one.

    Returns:
        One line for each kind of repair.
    """
    done: dict[str, list[str]] = {}
    for node, path in list(_objects(config, ())):
        for what in _repair_object(node, layer_class):
            done.setdefault(what, []).append(path[-1] if path else node["class_name"])
    return tuple(f"{what} ({_listed(layers)})" for what, layers in sorted(done.items()))


def _listed(layers: list[str], most: int = 3) -> str:
    return ", ".join(layers[:most]) + (f" and {len(layers) - most} more" if len(layers) > most else "")


def _repair_object(node: Config, layer_class: Callable[[str], type | None]) -> Iterator[str]:
    old = node["class_name"]
    if old in RENAMED_CLASSES and layer_class(old) is not layer_class(RENAMED_CLASSES[old]):
        node["class_name"] = RENAMED_CLASSES[old]
        yield f"{old} read as {node['class_name']}"
    if old == "Sequential":
        yield from _repair_sequential(node)
    inner = node.get("config")
    kind = layer_class(node["class_name"])
    if isinstance(inner, dict) and kind is not None:
        yield from _repair_shapes(node["class_name"], inner)
        yield from _repair_arguments(kind, inner)


def _repair_sequential(node: Config) -> Iterator[str]:
    """Give a Sequential of Keras 1 and 2 its layer list and an input layer."""
    if isinstance(node.get("config"), list):
        node["config"] = {"name": "sequential", "layers": node["config"]}
        yield "Sequential written as a bare list of layers"
    inner = node["config"]
    layers: list[Any] = (inner.get("layers") if isinstance(inner, dict) else None) or []
    first = layers[0] if layers and isinstance(layers[0], dict) else {}
    own = first.get("config")
    if isinstance(own, dict) and own.get("batch_input_shape") and first.get("class_name") != "InputLayer":
        asked = own.get("dtype")
        dtype = "int32" if first["class_name"] == "Embedding" else asked if isinstance(asked, str) else "float32"
        made = {"batch_shape": own["batch_input_shape"], "dtype": dtype, "name": f"{own.get('name', 'first')}_input"}
        layers.insert(0, {"class_name": "InputLayer", "config": made})
        yield "input layer made from batch_input_shape"


def _repair_shapes(class_name: str, inner: Config) -> Iterator[str]:
    if "batch_input_shape" in inner:
        shape = inner.pop("batch_input_shape")
        if class_name == "InputLayer":
            inner["batch_shape"] = shape
        yield "batch_input_shape read as batch_shape"
    if isinstance(inner.get("axis"), list) and len(inner["axis"]) == 1 and class_name == "BatchNormalization":
        inner["axis"] = inner["axis"][0]
    if class_name in ("GRU", "GRUCell") and "reset_after" not in inner:
        inner["reset_after"] = False
        yield "reset_after=False, the default when the file was written"
    if "nb_row" in inner and "nb_col" in inner:
        inner["kernel_size"] = [inner.pop("nb_row"), inner.pop("nb_col")]
        yield "nb_row and nb_col read as kernel_size"
    if "filter_length" in inner:
        inner["kernel_size"] = [inner.pop("filter_length")]
        yield "filter_length read as kernel_size"
    if inner.get("dim_ordering") == "tf":
        inner.pop("dim_ordering")
        inner["data_format"] = "channels_last"
        yield "dim_ordering read as data_format"


def _repair_arguments(kind: type, inner: Config) -> Iterator[str]:
    accepted = _accepted_arguments(kind)
    for argument in [name for name in inner if name not in accepted]:
        value = inner[argument]
        new = RENAMED_ARGUMENTS.get(argument)
        if new in accepted and new not in inner:
            inner[new] = inner.pop(argument)
            yield f"{argument} read as {new}"
        elif argument in TRAINING_ARGUMENTS or value is None or value in NEUTRAL_ARGUMENTS.get(argument, ()):
            del inner[argument]
            yield f"{argument}={value} left out, unknown to Keras 3 and without effect"


def _accepted_arguments(kind: type) -> set[str]:
    """Names that a layer's constructor takes, those of its base classes included."""
    names = {"input_shape", "batch_shape"}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            names.update(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return names
