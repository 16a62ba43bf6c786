"""TensorFlow functions as ONNX graphs, with what tf2onnx 1.17 misses."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

TF2ONNX_OPSET = 18


def to_onnx(call: Callable[..., Mapping[str, Any]], signature: Sequence[Any], outputs: Sequence[str]) -> Any:
    """Trace a function and return it as a ModelProto.

    The function is frozen here, not by tf2onnx, which takes constants that a function captures (the mean and
    variance of a Keras Normalization layer) for inputs of the graph.

    Args:
        call: Takes the inputs by position, returns a mapping with the named outputs.
        signature: A TensorSpec with a name for each input.
        outputs: Names of the outputs, in the order that the graph shall have.
    """
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def ordered(*arrays: Any) -> list[Any]:
        answers = call(*arrays)
        return [answers[name] for name in outputs]

    traced = tf.function(ordered, input_signature=list(signature)).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def(add_shapes=True)
    _let_inline(graph)
    inner_inputs = [tensor.name for tensor in frozen.inputs]
    inner_outputs = [tensor.name for tensor in frozen.outputs]
    names = [spec.name for spec in signature]
    convert = functools.partial(
        tf2onnx.convert.from_graph_def,
        graph,
        input_names=inner_inputs,
        output_names=inner_outputs,
        opset=TF2ONNX_OPSET,
        custom_op_handlers=dict(HANDLERS),
        tensors_to_rename=dict(zip((*inner_inputs, *inner_outputs), (*names, *outputs), strict=True)),
    )
    try:
        with _optimized_in_place():
            return convert()[0]
    except Exception:  # an optimization of tf2onnx failed: with copies it is left out
        return convert()[0]


@contextmanager
def _optimized_in_place() -> Iterator[None]:
    """Spare the copies of all weights that tf2onnx makes before and after each of its optimizations.

    The ones before are for going back when one fails; the ones after stay in protobuf's arenas. InceptionResNetV2,
    220 MB, needed more than 12 GiB with them, and five times as long.
    """
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    def optimize(self: Any, graph: Any, iteration: int) -> Any:
        self.opt_iteration = iteration
        graph = self._optimize(graph)
        graph.delete_unused_nodes(graph.outputs)
        return graph

    with patch.object(GraphOptimizerBase, "optimize", optimize), patch.dict(os.environ, TF2ONNX_CATCH_ERRORS="FALSE"):
        yield


def _let_inline(graph: Any) -> None:
    """Take the order to compile with XLA off: Keras calls its grouped convolutions so, and they are never inlined."""
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    for item in (*nodes, *graph.library.function):
        for key in ("_XlaMustCompile", "_noinline"):
            if key in item.attr:
                del item.attr[key]


def to_large_onnx(call: Callable[..., Mapping[str, Any]], signature: Sequence[Any]) -> tuple[Any, Mapping[str, bytes]]:
    """Trace a function whose weights do not fit a ModelProto.

    Args:
        call: Takes the inputs by position, returns a mapping with the named outputs.
        signature: A TensorSpec with a name for each input.

    Returns:
        The ModelProto without large weights, and these by their location in it.
    """
    import tensorflow as tf
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx  # on this path tf2onnx uses names that numpy 2 dropped

    patch_tf2onnx()
    model, weights = tf2onnx.convert.from_function(
        tf.function(call, input_signature=list(signature)),
        input_signature=list(signature),
        opset=TF2ONNX_OPSET,
        custom_op_handlers=dict(HANDLERS),
        large_model=True,
    )
    return model, weights.name_to_tensor_data


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """``erfc(x) = 1 - erf(x)``; Keras writes its exact GELU with it, and tf2onnx knows only erf."""
    import numpy as np

    kept = {"shapes": [graph.get_shape(node.output[0])], "dtypes": [graph.get_dtype(node.output[0])]}
    kind = {1: np.float32, 10: np.float16, 11: np.float64}[kept["dtypes"][0]]
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [node.input[0]], **kept)
    one = graph.make_const(f"{name}_one", np.array(1, kind))
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=[node.output[0]], name=name, **kept)


HANDLERS: Mapping[str, tuple[Callable[..., None], list[Any]]] = {"Erfc": (_erfc, [])}
