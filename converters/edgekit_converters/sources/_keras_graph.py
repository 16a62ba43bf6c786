"""Give every Keras model the same form: a functional model with plain lists of inputs and outputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._quiet import import_keras
from edgekit_converters.sources._tensors import match_hints, refine_shape, unique
from edgekit_converters.sources.base import InputHint


def as_functional(model: Any, hints: Sequence[InputHint]) -> Any:
    """Return a functional model that shares the weights of any kind of Keras model.

    Args:
        model: Functional, Sequential or subclassed model.
        hints: Shapes for dimensions that the model leaves open, or for a subclassed model that was never built.

    Raises:
        UsageError: The input shapes are not known.
        ModelRefused: The model cannot be called symbolically.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return _call_symbolically(model, _inputs_of_subclassed(model, hints))
    # A Sequential that was never called has no `input`; it has one input and one output by definition.
    sequential = isinstance(model, import_keras().Sequential)
    structure = inputs[0] if sequential else model.input
    answers = model.outputs[0] if sequential else model.output
    if not hints and _is_plain(structure) and _is_plain(answers):
        return model
    return _call_symbolically(model, _refined(model, structure, hints))


def stable_name(tensor: Any) -> str:
    """Name of an input; one that Keras only numbered in this process becomes ``input``."""
    name = str(tensor.name)
    return "input" if name.startswith("keras_tensor") else name


def takes_list(functional: Any) -> bool:
    """Whether a functional model is called with a list of tensors; otherwise it takes the one tensor itself."""
    return not isinstance(functional, import_keras().Sequential) and isinstance(functional.input, (list, tuple))


def _is_plain(structure: Any) -> bool:
    """One tensor, or a flat list of tensors."""
    items = structure if isinstance(structure, (list, tuple)) else [structure]
    return all(hasattr(item, "shape") for item in items)


def _refined(model: Any, structure: Any, hints: Sequence[InputHint]) -> Any:
    """New inputs in the model's own structure, with the open dimensions that hints close."""
    keras = import_keras()
    names = dict(zip(map(id, model.inputs), unique(map(stable_name, model.inputs)), strict=True))
    given = match_hints(list(names.values()), hints)

    def renew(tensor: Any) -> Any:
        name, dtype = names[id(tensor)], str(tensor.dtype)
        hint = given.get(name)
        if hint and hint.dtype not in (None, dtype):
            raise UsageError(f"dtype {hint.dtype} for input {name!r}", expected=f"{dtype}, as the model has it")
        return keras.Input(batch_shape=refine_shape(name, tuple(tensor.shape), hint), dtype=dtype, name=name)

    return keras.tree.map_structure(renew, structure)


def _inputs_of_subclassed(model: Any, hints: Sequence[InputHint]) -> Any:
    """Inputs for a model that only says its shapes if it was built or if the user gives them."""
    keras = import_keras()
    names = _call_arguments(model)
    if hints:
        given = match_hints(names, hints)
        return {
            name: keras.Input(batch_shape=(_open(hint.shape[0]), *hint.shape[1:]), dtype=hint.dtype, name=name)
            for name, hint in given.items()
        }
    built = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not isinstance(built, (list, tuple)) or not all(size is None or isinstance(size, int) for size in built):
        raise UsageError(
            f"the subclassed Keras model {model.name!r} does not say its input shapes",
            expected=f"shapes for {', '.join(names)}",
            remedy="pass --input-shape, e.g. --input-shape 1,224,224,3",
        )
    return {names[0]: keras.Input(batch_shape=(None, *built[1:]), name=names[0])}


def _open(batch: int | None) -> int | None:
    return None if batch == 1 else batch


def _call_arguments(model: Any) -> list[str]:
    parameters = inspect.signature(model.call).parameters.values()
    return [
        item.name
        for item in parameters
        if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD) and item.name not in ("training", "mask")
    ]


def _call_symbolically(model: Any, structure: Any) -> Any:
    """Call on symbolic inputs and wrap what comes out."""
    keras = import_keras()
    by_argument = isinstance(structure, dict) and not getattr(model, "inputs", None)
    try:
        answers = model(**structure) if by_argument else model(structure)
    except Exception as error:
        raise ModelRefused(
            f"the Keras model {model.name!r} cannot be called on symbolic inputs: {first_line(error)}",
            expected="a model whose call() traces",
            remedy="try the model on one sample first; Python control flow on values must become keras.ops",
        ) from error
    # Trees of dictionaries are walked in key order, here as in output_names.
    inputs = list(structure.values()) if by_argument else keras.tree.flatten(structure)
    wrapped = keras.Model(inputs, keras.tree.flatten(answers), name=model.name)
    wrapped.edgekit_paths = [path for path, _ in _flat_paths(answers)]
    return wrapped


def _flat_paths(structure: Any) -> list[tuple[tuple[str, ...], Any]]:
    keras = import_keras()
    return [(tuple(str(step) for step in path), leaf) for path, leaf in keras.tree.flatten_with_path(structure)]


def output_names(model: Any, functional: Any) -> tuple[str, ...]:
    """Names of the outputs: dictionary keys where the model has them, else the layers that make them."""
    paths = getattr(functional, "edgekit_paths", None)
    if paths is None or not any(paths) or all(len(path) == 1 and path[0].isdigit() for path in paths):
        last = [layer.name for layer in model.layers[-1:]] if isinstance(model, import_keras().Sequential) else None
        names = last or getattr(model, "output_names", None) or functional.output_names
        if len(names) == len(functional.outputs):
            return unique(str(name) for name in names)
    if not paths or not any(paths):
        return ("output",)
    return unique("_".join(path) if not path[0].isdigit() else "output_" + "_".join(path) for path in paths)
