"""Compute what does not depend on a PyTorch module's inputs before it is converted.

Position tables and masks are often computed in `forward`, sometimes in float64. PyTorch evaluates them here, once;
LiteRT's converter would have to know each of their operators.

Imports torch: import this module only where a PyTorch source is converted.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx

MOST_ELEMENTS = 1 << 20
"""Elements of a folded constant; larger ones are mostly broadcasts, cheaper to compute than to store."""


def fold_constants(module: Any, samples: dict[str, torch.Tensor]) -> Any:
    """Trace a module and return one that answers the same, with its constants computed.

    Args:
        module: The module; it takes the samples by name.
        samples: Example inputs; their shapes are those of the result.
    """
    program = torch.export.export(module, (), samples, strict=False)
    traced = program.run_decompositions({}).module()  # no operation writes into a tensor any more
    with torch.no_grad():
        known = dict(_constants(traced))
    for number, (node, value) in enumerate(known.items()):
        computed = node.op != "get_attr" and isinstance(value, torch.Tensor)
        if computed and any(user not in known for user in node.users):
            _replace(traced, node, f"folded_{number}", value)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _constants(traced: Any) -> Iterable[tuple[fx.Node, Any]]:
    """Nodes whose value, a tensor or several, depends on nothing but constants, in order, with their values.

    Parameters count as unknown: what is computed from weights stays in the graph, where quantizers look for it.
    """
    known: dict[fx.Node, Any] = {}
    weights = {name for name, _ in traced.named_parameters()}
    for node in traced.graph.nodes:
        if node.op == "get_attr" and node.target not in weights:
            value = _attribute(traced, str(node.target))
        elif node.op == "call_function" and _is_pure(node) and all(arg in known for arg in node.all_input_nodes):
            value = node.target(*fx.map_arg(node.args, known.get), **fx.map_arg(node.kwargs, known.get))
        else:
            continue
        if all(isinstance(part, torch.Tensor) and part.numel() <= MOST_ELEMENTS for part in _parts(value)):
            known[node] = value
            yield node, value


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else [value]


def _is_pure(node: fx.Node) -> bool:
    """Whether a node computes the same each time and changes nothing."""
    target = node.target
    if target is operator.getitem:
        return True
    if not isinstance(target, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded in target.tags:
        return False
    return not target._schema.is_mutable


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _replace(traced: Any, node: fx.Node, name: str, value: torch.Tensor) -> None:
    traced.register_buffer(name, value.contiguous().clone())
    with traced.graph.inserting_before(node):
        stored = traced.graph.get_attr(name)
        stored.meta.update(node.meta)
        node.replace_all_uses_with(stored)
