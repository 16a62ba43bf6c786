"""What each part of edgekit's int8 contributes: named sets of arguments for `quantize`.

Each is a function, so that the quantizer is imported only where it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Arguments = Mapping[str, Any]


def without(**parts: Any) -> Callable[[], Arguments]:
    """All parts but those given."""

    def arguments() -> Arguments:
        from edgekit_converters.quantize.effort import Parts

        return {"parts": Parts(**parts)}

    return arguments


VARIANTS: dict[str, Callable[[], Arguments]] = {
    "everything": lambda: {},
    "without equalization": without(equalize=False),
    "without smoothing": without(smooth=False),
    "ranges of the float model": without(settle=False),
    "one range rule for all": without(search_parts=1),
    "without range search (99.99 %)": without(search=False),
    "weights rounded to nearest": without(spread=False),
    "without bias correction": without(correct=False),
    "nearest, no bias correction": without(spread=False, correct=False),
    "min/max, nothing else": lambda: {
        "rule": "minmax",
        **without(equalize=False, search=False, spread=False, correct=False)(),
    },
    "low effort": lambda: {"effort": "low"},
}
