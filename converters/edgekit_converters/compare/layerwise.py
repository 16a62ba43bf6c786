"""A float artifact taken apart: every layer on inputs of our choice.

Fed with the activations of another artifact, it tells what each layer *adds*: the artifact's own result minus what the
float layer makes of the same inputs. The rest of the error came in with the inputs. The two parts add up exactly.
With an error added to one activation at a time, it tells what each layer's error does to the outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import ModelRefused
from edgekit_converters.compare.trace import Trace
from edgekit_converters.compare.trace_onnx import OnnxTrace
from edgekit_converters.compare.trace_tflite import TFLiteTrace
from edgekit_converters.quantize.tflite_graph import operator_name, packed, read_flatbuffer
from edgekit_converters.targets.quiet import quiet


class Layerwise(ABC):
    """A float artifact in which some activations are given.

    Attributes:
        given: Tensors that must be fed, beside the artifact's own inputs.
    """

    given: tuple[str, ...]

    def run(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: Tensor -> float32 array, for the inputs and for every tensor in ``given``.
            wanted: Tensors to return, as the float layers compute them.

        Raises:
            ModelRefused: The engine does not run the model in this form.
        """
        try:
            return self._run(feeds, wanted)
        except Exception as error:  # the engines' exceptions share no public base
            raise ModelRefused(f"the float model cannot be run layer by layer: {error}") from error

    @abstractmethod
    def _run(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]: ...


def replaced(trace: Trace, tensors: Sequence[str]) -> Layerwise:
    """Let the readers of some activations read what is given instead; all of them can be asked for."""
    return _rewired(trace, tensors, tensors, add=False)


def perturbed(trace: Trace, tensors: Sequence[str], results: Sequence[str]) -> Layerwise:
    """Let the readers of some activations read them with what is given added; the results can be asked for."""
    return _rewired(trace, tensors, results, add=True)


def _rewired(trace: Trace, tensors: Sequence[str], results: Sequence[str], *, add: bool) -> Layerwise:
    if isinstance(trace, TFLiteTrace):
        return _TFLite(trace, tensors, results, add=add)
    if isinstance(trace, OnnxTrace):
        return _Onnx(trace, tensors, results, add=add)
    raise TypeError(type(trace).__name__)


class _TFLite(Layerwise):
    def __init__(self, trace: TFLiteTrace, tensors: Sequence[str], results: Sequence[str], *, add: bool) -> None:
        self.graph = trace.graph
        self.model = read_flatbuffer(trace.path)
        self.main: Any = self.model.subgraphs[0]
        self.inputs = {info.name: trace.graph.index(info.name) for info in trace.inputs}
        own = set(self.inputs.values())
        for tensor in tensors:
            index = trace.graph.index(tensor)
            readers = [op for op in self.main.operators if index in [int(i) for i in op.inputs]]
            if index not in own and readers:
                self.inputs[tensor] = self._rewire(index, readers, add)
        self.given = tuple(name for name in self.inputs if name in set(tensors))
        self.main.inputs = list(self.inputs.values())
        self.main.outputs = sorted({trace.graph.index(name) for name in results} - own)
        self.model.signatureDefs = []
        self._interpreter: Any = None

    def _rewire(self, index: int, readers: list[Any], add: bool) -> int:
        """Return the new input that the readers of a tensor depend on."""
        given = read_by = self._copy(index)
        if add:
            read_by = self._copy(index)
            maker = next(i for i, op in enumerate(self.main.operators) if index in [int(o) for o in op.outputs])
            self.main.operators.insert(maker + 1, self._sum(index, given, read_by))
        for reader in readers:
            reader.inputs = [read_by if int(i) == index else int(i) for i in reader.inputs]
        return given

    def _copy(self, index: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        made, old = schema.TensorT(), self.main.tensors[index]
        made.name, made.type, made.buffer = f"given_{len(self.main.tensors)}".encode(), old.type, 0
        made.shape, made.shapeSignature = old.shape, old.shapeSignature
        self.main.tensors.append(made)
        return len(self.main.tensors) - 1

    def _sum(self, left: int, right: int, result: int) -> Any:
        from ai_edge_litert import schema_py_generated as schema

        made = schema.OperatorT()
        made.inputs, made.outputs = [left, right], [result]
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        for made.opcodeIndex in range(len(self.model.operatorCodes)):
            if operator_name(self.model, made) == "ADD":
                return made
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
        code.version = 1
        self.model.operatorCodes.append(code)
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        return made

    def _run(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        with quiet() if self._interpreter is None else nullcontext():  # it announces its delegate
            interpreter = self._shaped(feeds)
        for name, index in self.inputs.items():
            interpreter.set_tensor(index, feeds[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(self.graph.index(name)) for name in wanted}

    def _shaped(self, feeds: Mapping[str, Array]) -> Any:
        """The interpreter, with inputs of the shapes that are fed."""
        interpreter = self._loaded()
        resized = False
        for name, index in self.inputs.items():
            if tuple(interpreter.tensor(index)().shape) != feeds[name].shape:
                interpreter.resize_tensor_input(index, feeds[name].shape, strict=False)
                resized = True
        if resized:
            interpreter.allocate_tensors()
        return interpreter

    def _loaded(self) -> Any:
        if self._interpreter is None:
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(model_content=packed(self.model))
            self._interpreter.allocate_tensors()
        return self._interpreter


class _Onnx(Layerwise):
    def __init__(self, trace: OnnxTrace, tensors: Sequence[str], results: Sequence[str], *, add: bool) -> None:
        import onnx

        self._own = [info.name for info in trace.inputs]
        self._model = onnx.ModelProto()
        self._model.CopyFrom(trace.graph.model)
        graph = self._model.graph
        read = {name for node in graph.node for name in node.input}
        self.given = tuple(tensor for tensor in tensors if tensor in read)
        cut = {tensor: f"{tensor}/given" for tensor in self.given if tensor not in self._own}
        self._inputs = {**{name: name for name in self._own}, **cut}
        nodes = []
        for node in graph.node:
            for place, name in enumerate(node.input):
                if name in cut:
                    node.input[place] = f"{name}/sum" if add else cut[name]
            nodes.append(node)
            if add:
                pairs = [(name, cut[name]) for name in node.output if name in cut]
                nodes += [onnx.helper.make_node("Add", [name, new], [f"{name}/sum"]) for name, new in pairs]
        nodes = [_copied(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        graph.input.extend(onnx.helper.make_tensor_value_info(new, 1, None) for new in cut.values())
        del graph.output[:]
        computed = dict.fromkeys(name for name in results if name not in self._own)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
        self._session: Any = None

    def _run(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.enable_cpu_mem_arena = False
            self._session = onnxruntime.InferenceSession(
                self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        arrays = self._session.run(list(wanted), {new: feeds[name] for name, new in self._inputs.items()})
        return {name: np.asarray(array) for name, array in zip(wanted, arrays, strict=True)}


def _copied(node: Any) -> Any:
    """A copy that does not belong to the graph, which is emptied before it is filled again."""
    import onnx

    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made
