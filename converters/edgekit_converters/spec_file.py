"""Write a spec as the TOML file that ``edgekit convert --spec`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.spec import Spec


def write_spec(path: Path, spec: Spec) -> None:
    """Write a spec; `Spec.from_toml` reads the same back.

    Args:
        path: The TOML file.
        spec: The spec; files that it names lie beside it.
    """
    path.write_text("\n".join(_lines(spec.to_dict(), "")).strip() + "\n", encoding="utf-8")


def _lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Plain values first, as TOML wants it, then tables and arrays of tables."""
    nested = {key: value for key, value in table.items() if _is_nested(value)}
    for key, value in table.items():
        if key not in nested and value is not None:
            yield f"{key} = {_text(value)}"
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from ("", f"[{name}]", *_lines(value, f"{name}."))
        else:
            for item in value:
                yield from ("", f"[[{name}]]", *_lines(item, f"{name}."))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(-1 if item is None else item) for item in value) + "]"
    # JSON's strings, numbers and booleans are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
