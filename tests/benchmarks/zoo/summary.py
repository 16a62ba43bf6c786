"""The zoo's results as a Markdown table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]
ORDER = ("fp32", "fp16", "dynamic-int8", "int8", "int8-int16")


def line(row: Result) -> str:
    """One result for the terminal."""
    return f"{row['model']:24} {row['format']:6} {row['recipe']:12} {cell(row):28} {row.get('seconds', 0):6.1f} s"


def cell(row: Result) -> str:
    """Relative L2 of a pass, else what happened."""
    if row["status"] == "pass":
        fixed = "" if row.get("open_batch") or row["format"] == "tflite" else " (batch 1)"
        return f"{row['relative_l2']:.1e}{fixed}"
    return f"{row['status'].upper()}: {first_line(row.get('cause', ''))[:90]}"


def first_line(text: str) -> str:
    """The first line, fit for a table."""
    return text.splitlines()[0].replace("|", "/") if text else ""


def markdown(rows: Sequence[Result]) -> str:
    """Totals, the table, and the causes of what did not pass."""
    recipes = [name for name in ORDER if any(row["recipe"] == name for row in rows)]
    parts = ["# Conversion zoo\n", *_totals(rows, recipes), "", *_table(rows, recipes)]
    missed = [row for row in rows if row["status"] != "pass"]
    if missed:
        parts += ["", "## Not passed", ""]
        parts += [f"- {row['model']} {row['format']} {row['recipe']}: {row['status']}, {_whole(row)}" for row in missed]
    return "\n".join(parts) + "\n"


def _totals(rows: Sequence[Result], recipes: Sequence[str]) -> list[str]:
    found = ["| family | recipe | pairs | pass | share | refused | failed | crashed |", "|---" * 8 + "|"]
    for family in (*sorted({row["family"] for row in rows}), "all"):
        for recipe in recipes:
            some = [row["status"] for row in rows if row["recipe"] == recipe and family in (row["family"], "all")]
            if some:
                passed = some.count("pass")
                counts = [some.count(status) for status in ("refused", "failed", "crashed")]
                cells = [family, recipe, len(some), passed, f"{100 * passed / len(some):.1f} %", *counts]
                found.append("| " + " | ".join(map(str, cells)) + " |")
    return found


def _table(rows: Sequence[Result], recipes: Sequence[str]) -> list[str]:
    models: dict[tuple[str, str, str], dict[tuple[str, str], Result]] = defaultdict(dict)
    for row in rows:
        models[row["family"], row["domain"], row["model"]][row["format"], row["recipe"]] = row
    columns = [(name, recipe) for name in ("tflite", "onnx") for recipe in recipes]
    found = [
        "| family | domain | model | " + " | ".join(f"{name} {recipe}" for name, recipe in columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for (family, domain, model), cells in sorted(models.items()):
        shown = [cell(cells[column]) if column in cells else "" for column in columns]
        found.append(f"| {family} | {domain} | {model} | " + " | ".join(shown) + " |")
    return found


def _whole(row: Result) -> str:
    return " / ".join(part.strip() for part in row.get("cause", "").splitlines())[:500]
