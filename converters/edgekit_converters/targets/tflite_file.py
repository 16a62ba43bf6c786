"""Read of a `.tflite` file that was just written: signature, operators, transposes at the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Operators that need more than the built-in kernels or keep state between calls.
STATE_OPERATORS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
TABLE_OPERATORS = ("HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE")
RESOURCE_OPERATORS = frozenset(("CUSTOM", *STATE_OPERATORS, *TABLE_OPERATORS))


@dataclass(frozen=True)
class TFLiteFile:
    """What binding and checks need of a `.tflite` file.

    Attributes:
        inputs: Signature input name -> tensor name.
        outputs: Signature output name -> tensor name.
        operators: Names of the operators in use; custom ones by their own name.
        resources: Those of them that need a custom kernel or keep state.
        transposed: Tensor names of inputs that a TRANSPOSE reads.
        batches: Dimension 0 of each input; ``None`` where it is dynamic.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    operators: tuple[str, ...]
    resources: tuple[str, ...]
    transposed: tuple[str, ...]
    batches: tuple[int | None, ...]


def read(path: Path) -> TFLiteFile:
    """Read a file written by a converter; one from elsewhere belongs to `edgekit_converters.inspection`."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [_operator(model.OperatorCodes(i), names) for i in range(model.OperatorCodesLength())]
    graph = model.Subgraphs(0)
    inputs, outputs = _signature(model, graph)
    return TFLiteFile(
        inputs=inputs,
        outputs=outputs,
        operators=tuple(sorted({shown for _, shown in codes})),
        resources=tuple(sorted({shown for kind, shown in codes if kind in RESOURCE_OPERATORS})),
        transposed=tuple(_transposed(graph, [kind for kind, _ in codes])),
        batches=tuple(_batch(graph.Tensors(i)) for i in _numbers(graph, "Inputs")),
    )


def _operator(code: Any, names: dict[int, str]) -> tuple[str, str]:
    """Kind of an operator, and its name for a message."""
    # Files older than schema 3a keep the code in the deprecated byte-wide field.
    kind = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
    custom = code.CustomCode()
    return kind, custom.decode(errors="replace") if kind == "CUSTOM" and custom else kind


def _signature(model: Any, graph: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Signature name -> tensor name, for inputs and outputs; tensor names where the file has no signature."""
    if model.SignatureDefsLength() == 0:
        tensors = [{_name(graph, i): _name(graph, i) for i in _numbers(graph, side)} for side in ("Inputs", "Outputs")]
        return tensors[0], tensors[1]
    found = model.SignatureDefs(0)
    inputs = (found.Inputs(i) for i in range(found.InputsLength()))
    outputs = (found.Outputs(i) for i in range(found.OutputsLength()))
    return _mapped(graph, inputs), _mapped(graph, outputs)


def _mapped(graph: Any, entries: Iterable[Any]) -> dict[str, str]:
    return {entry.Name().decode(): _name(graph, entry.TensorIndex()) for entry in entries}


def _transposed(graph: Any, kinds: list[str]) -> Iterable[str]:
    inputs = set(_numbers(graph, "Inputs"))
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if kinds[operator.OpcodeIndex()] == "TRANSPOSE" and operator.Inputs(0) in inputs:
            yield _name(graph, operator.Inputs(0))


def _batch(tensor: Any) -> int | None:
    if tensor.ShapeLength() == 0:
        return 1
    declared = tensor.ShapeSignature(0) if tensor.ShapeSignatureLength() else tensor.Shape(0)
    return None if declared < 0 else int(declared)


def _name(graph: Any, index: int) -> str:
    name: bytes = graph.Tensors(index).Name()
    return name.decode(errors="replace")


def _numbers(owner: Any, field: str) -> list[int]:
    return [int(getattr(owner, field)(i)) for i in range(getattr(owner, f"{field}Length")())]
