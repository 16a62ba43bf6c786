"""What each part of edgekit's int8 contributes: named sets of arguments for `quantize`.

Each is a function, so that the quantizer is imported only where it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

Arguments = Mapping[str, Any]


def low_effort() -> Arguments:
    """The quickest int8 that there is: ``effort="low"``, or rounding to nearest where there is no such thing."""
    from edgekit_converters.quantize import quantize

    known = inspect.signature(quantize).parameters
    return {"effort": "low"} if "effort" in known else {"rounding": "nearest"}


VARIANTS: dict[str, Callable[[], Arguments]] = {
    "everything": lambda: {},
    "weights rounded to nearest": lambda: {"rounding": "nearest"},
    "ranges: min/max": lambda: {"rule": "minmax"},
    "ranges: percentile": lambda: {"rule": "percentile"},
    "ranges: least squares": lambda: {"rule": "mse"},
    "min/max, nearest": lambda: {"rule": "minmax", "rounding": "nearest"},
    "low effort": low_effort,
}
