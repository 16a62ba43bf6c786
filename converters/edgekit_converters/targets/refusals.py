"""Turn a conversion library's failure into one line that says what was in the way, and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgekit.errors import ModelRefused
from edgekit_converters.targets.quiet import Noise

FORMAT_TITLES = {"tflite": "TFLite", "onnx": "ONNX"}

# How each library names an operator that it cannot write; the group is a comma-separated list of names.
_OPERATOR_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"TF Select ops: ([\w, .]+)",
        r"Custom ops: ([\w, .]+)",
        r"failed to legalize operation '([\w.]+)'",
        r"[Ll]owering not found: ([\w.:]+)",
        r"No ONNX function found for <OpOverload\(op='([\w.]+)'",
        r"No decompositions registered for.*?<OpOverload\(op='([\w.]+)'",
        r"Tensorflow op \[.*?: (\w+)\] is not supported",
        r"No Op registered for (\w+)",
        r"'(tf\.\w+)' op is neither a custom op nor a flex op",
    )
)


def refuse(name: str, kind: str, error: BaseException, noise: Noise) -> ModelRefused:
    """Describe a failed conversion.

    Args:
        name: The source's name.
        kind: ``tflite`` or ``onnx``.
        error: What the library raised.
        noise: What it printed; its last lines become part of the message.
    """
    title, other = FORMAT_TITLES[kind], FORMAT_TITLES["onnx" if kind == "tflite" else "tflite"]
    operators = missing_operators(f"{chain_text(error)}\n{noise.text}")
    if operators:
        cause = f"no {title} form of {', '.join(operators)}"
        remedy = f"replace these operations in the model, or convert to {other}"
    else:
        cause = one_line(error)
        remedy = f"simplify the part of the model that this names, or convert to {other}"
    detail = noise.tail().replace("\n", "\n    ")
    printed = f"\n  the converter's last lines:\n    {detail}" if detail else ""
    return ModelRefused(f"{name} cannot be converted to {title}: {cause}{printed}", remedy=remedy)


def missing_operators(text: str) -> list[str]:
    """Names of the operators that a library's message says it cannot write, sorted."""
    found = {
        name.strip().rstrip(".")
        for pattern in _OPERATOR_PATTERNS
        for match in pattern.finditer(text)
        for name in match.group(1).split(",")
    }
    return sorted(found - {""})


def one_line(error: BaseException) -> str:
    """The innermost cause: its type and the first line that says something, at most 240 characters."""
    cause = list(chain(error))[-1]
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else 'no message'}"[:240]


def chain_text(error: BaseException) -> str:
    """Messages of an exception and of all its causes."""
    return "\n".join(str(cause) for cause in chain(error))


def chain(error: BaseException) -> Iterable[BaseException]:
    """The exception, then what caused it, inwards."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
