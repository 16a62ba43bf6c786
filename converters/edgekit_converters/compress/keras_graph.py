"""Keras models as flat graphs of simple layers, and how they are run and copied. Imports Keras when imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgekit_converters.sources._keras_graph import output_names
from edgekit_converters.sources._quiet import import_keras

keras = import_keras()
layers = keras.layers
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = {
    layers.SeparableConv1D: (layers.DepthwiseConv1D, layers.Conv1D),
    layers.SeparableConv2D: (layers.DepthwiseConv2D, layers.Conv2D),
}
_ACTIVATED = (*CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE, *_SEPARABLE, layers.Dense)
_SHARED = ("name", "trainable", "dtype")
_OF_ACTIVATION = ("activation", "activity_regularizer")
_OF_WEIGHTS = ("initializer", "regularizer", "constraint")
Call = Callable[..., Any]
"""Called as ``call(operation, *arguments, **keywords)``; gives the operation's answer."""


def run(model: Any, values: Sequence[Any], call: Call) -> list[Any]:
    """Walk a functional model from its inputs to its outputs.

    Args:
        model: A functional model.
        values: What stands for each input: tensors, or anything else that ``call`` understands.
        call: What is done at each call of a layer or operation.

    Returns:
        What stands for each output.
    """
    answers = model._run_through_graph(list(values), call_fn=call)
    found: list[Any] = keras.tree.flatten(answers)
    return found


def is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose inside is a graph: functional or Sequential, with the call() of these."""
    return isinstance(layer, keras.Model) and type(layer).call in (keras.Sequential.call, _functional_call())


def _functional_call() -> Any:
    tensor = keras.Input((1,))
    return type(keras.Model(tensor, tensor)).call


def linear(layer: Any) -> bool:
    """Whether a layer has no activation of its own."""
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def flat(model: Any, names: Sequence[str]) -> Any:
    """A copy without models inside, whose convolutions and dense layers have no activation of their own.

    Args:
        model: Functional or Sequential, with plain lists of inputs and outputs.
        names: Names of its outputs.

    Returns:
        A functional model with its own weights; separable convolutions are a depthwise and a 1 x 1 one in it.
    """
    made = _Flattening(outputs=names).model(model)
    if output_names(made, made) == tuple(names):
        return made
    made = _Flattening(reserved=names).model(model)
    named = zip(names, made.outputs, strict=True)
    answers = [layers.Identity(name=name, dtype=tensor.dtype)(tensor) for name, tensor in named]
    return _model(made.inputs, answers, model.name)


def _model(inputs: list[Any], outputs: list[Any], name: str) -> Any:
    return keras.Model(*(found[0] if len(found) == 1 else found for found in (inputs, outputs)), name=name)


class _Flattening:
    """One copy on its way.

    Args:
        outputs: Names of layers that give the outputs: their activations get the name.
        reserved: Names that no layer may have.
    """

    def __init__(self, *, outputs: Sequence[str] = (), reserved: Sequence[str] = ()) -> None:
        self._outputs, self._taken = frozenset(outputs), set(reserved)
        self._made: dict[int, list[Any]] = {}

    def model(self, model: Any) -> Any:
        inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
        self._taken |= {tensor.name for tensor in inputs}
        return _model(inputs, self._inlined(model, inputs, ""), model.name)

    def _inlined(self, model: Any, values: Sequence[Any], prefix: str) -> list[Any]:
        def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
            if not arguments and "inputs" in keywords:  # those who walk the flat model find them in one place
                arguments = (keywords.pop("inputs"),)
            if is_graph(operation):
                inside = keras.tree.flatten(arguments[0])
                return self._inlined(operation, inside, f"{prefix}{operation.name}_")
            return self._copied(operation, prefix, arguments, keywords)

        return run(keras.Model(model.inputs, model.outputs), values, call)

    def _copied(self, operation: Any, prefix: str, arguments: Any, keywords: Any) -> Any:
        new = id(operation) not in self._made
        if new:
            self._made[id(operation)] = [kind.from_config(config) for kind, config in self._parts(operation, prefix)]
        first, *rest = self._made[id(operation)]
        answer = first(*arguments, **keywords)
        for layer in rest:
            answer = layer(answer)
        if new and isinstance(operation, keras.Layer):
            _share_out(self._made[id(operation)], operation)
        return answer

    def _parts(self, operation: Any, prefix: str) -> list[tuple[Any, dict[str, Any]]]:
        """Classes and configurations of what stands for an operation."""
        config = operation.get_config()
        config["name"] = name = self._name(operation.name, prefix)
        activated = type(operation) in _ACTIVATED and not linear(operation)
        if activated and isinstance(operation.activation, keras.Layer):
            return [(type(operation), config)]  # it has weights of its own, perhaps: left as it is
        after: list[tuple[Any, dict[str, Any]]] = []
        if activated:
            if name in self._outputs:
                config["name"] = self._name(f"{name}_linear", "")
            else:
                name = self._name(f"{name}_activation", "")
            own = {"name": name} | {key: config.pop(key) for key in _OF_ACTIVATION if key in config}
            after = [(layers.Activation, {**own, "dtype": config["dtype"]})]
            config["activation"] = "linear"
        if type(operation) in _SEPARABLE:
            return [*self._separated(operation, config), *after]
        return [(type(operation), config), *after]

    def _separated(self, operation: Any, config: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
        depthwise, pointwise = _SEPARABLE[type(operation)]
        shared = {key: config[key] for key in _SHARED}
        places = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier", "data_format")
        first = {key: config[key] for key in places} | shared | {"use_bias": False}
        first["name"] = self._name(f"{config['name']}_depthwise", "")
        second = shared | {key: config[key] for key in ("filters", "use_bias", "data_format")} | {"kernel_size": 1}
        for kind in _OF_WEIGHTS:
            first[f"depthwise_{kind}"] = config[f"depthwise_{kind}"]
            second |= {f"kernel_{kind}": config[f"pointwise_{kind}"], f"bias_{kind}": config[f"bias_{kind}"]}
        return [(depthwise, first), (pointwise, second)]

    def _name(self, wanted: str, prefix: str) -> str:
        name = wanted if wanted not in self._taken else f"{prefix}{wanted}"
        number = 0
        while name in self._taken:
            number += 1
            name = f"{prefix}{wanted}_{number}"
        self._taken.add(name)
        return name


def _share_out(parts: Sequence[Any], operation: Any) -> None:
    weights = operation.get_weights()
    for layer in parts:
        count = len(layer.weights)
        give_weights(layer, weights[:count])
        weights = weights[count:]


def give_weights(layer: Any, weights: Sequence[Any]) -> None:
    """Set all weights of a layer or model, and what a normalization of inputs has computed from its own."""
    layer.set_weights(weights)
    for inside in layer._flatten_layers():
        if isinstance(inside, layers.Normalization):
            inside.finalize_state()


def copied(model: Any, changed: Callable[[Any], dict[str, Any]] | None = None) -> Any:
    """A copy of a flat model with new layers.

    Args:
        model: The model.
        changed: Layer or operation -> what is different in its configuration; then the copy has random weights.

    Returns:
        The copy; without changes it has the same weights.
    """

    def clone(operation: Any) -> Any:
        config = operation.get_config() | (changed(operation) if changed else {})
        return type(operation).from_config(config)

    made = keras.models.clone_model(model, clone_function=clone, call_function=lambda layer, *a, **k: layer(*a, **k))
    if changed is None:
        give_weights(made, model.get_weights())
    return made
