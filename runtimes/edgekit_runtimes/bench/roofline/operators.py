"""Which operators are furthest from what the machine could do.

A profiler names the operators that an engine made of the artifact's. ONNX Runtime keeps the artifact's names where it
does not fuse; LiteRT numbers them. What no name tells is matched by order, and only where a profile has exactly as
many multiplying operators of a group as the artifact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.resources import OperatorResources
from edgekit_runtimes.bench.operators import Node
from edgekit_runtimes.bench.roofline.bound import OperatorBound, operator_bound
from edgekit_runtimes.bench.roofline.peak import MachinePeak


@dataclass(frozen=True)
class Group:
    """Operators that engines turn into one another.

    Attributes:
        nodes: What profilers call them.
        operators: What artifacts call them.
    """

    nodes: re.Pattern[str]
    operators: re.Pattern[str]


GROUPS = (
    Group(re.compile(r"DWConv|^DEPTHWISE_CONV_2D"), re.compile(r"^DEPTHWISE_CONV_2D$")),
    Group(
        re.compile(r"^Convolution(?!.*DWConv)|^Fully Connected|^CONV_2D|^FULLY_CONNECTED"),
        re.compile(r"^(CONV_2D|FULLY_CONNECTED)$"),
    ),
    Group(re.compile(r"^Batch Matrix Multiply|^BATCH_MATMUL"), re.compile(r"^BATCH_MATMUL$")),
    Group(
        re.compile(r"^(QLinear|Fused|NhwcFused)?Conv(Integer)?$"), re.compile(r"(^|::)(QLinear|Fused)?Conv(Integer)?$")
    ),
    Group(re.compile(r"MatMul|^Q?Gemm$"), re.compile(r"MatMul|^Gemm$")),
)


def bounds(nodes: Sequence[Node], operators: Sequence[OperatorResources], peak: MachinePeak) -> list[OperatorBound]:
    """Match profiled nodes with the artifact's operators; those furthest from their limit first.

    Args:
        nodes: In the order in which they ran.
        operators: Of the artifact, in its order.
        peak: Of the machine.
    """
    found = []
    for operator, node in matched(nodes, operators):
        bound = operator_bound(operator, peak)
        if bound is not None:
            found.append(OperatorBound(operator.name, operator.kind, node.milliseconds, *vars(bound).values()))
    return sorted(found, key=lambda one: -one.lost_ms)


def matched(nodes: Sequence[Node], operators: Sequence[OperatorResources]) -> list[tuple[OperatorResources, Node]]:
    """Pair the artifact's operators with profiled nodes."""
    pairs: list[tuple[OperatorResources, Node]] = []
    for group in GROUPS:
        ran = [node for node in nodes if group.nodes.search(node.kind)]
        wanted = [operator for operator in operators if group.operators.search(operator.kind)]
        named = [(operator, node) for operator in wanted if (node := _named(operator.name, ran)) is not None]
        if named:
            pairs += named
        elif len(ran) == len(wanted):
            pairs += zip(wanted, ran, strict=True)
    return pairs


def _named(name: str, nodes: Sequence[Node]) -> Node | None:
    """The one node with that name, or with it and what an engine adds; none where several could be meant."""
    if not name:
        return None
    exact = [node for node in nodes if node.name == name]
    extended = exact or [node for node in nodes if node.name.startswith(f"{name}_")]
    return extended[0] if len(extended) == 1 else None
