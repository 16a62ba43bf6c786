"""plan.json and what is kept of measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import choose
from edgekit_converters.plan.store import Ledger, PlanFile, check_folder, earlier_machine, write_plan
from edgekit_converters.plan.variants import Piece, Variant

ROW = Variant(
    Piece("tflite", "int8", (16, 16)), "litert", 2, "variants/b", "m.tflite", 4_000_000, 0.98, None, 0.5, 0.1, None,
    10.0, 90_000_000, ((10.0, 90_000_000),), "k",
)  # fmt: skip
FIELDS = {
    "name", "format", "recipe", "engine", "threads", "resolution", "bundle", "artifact", "latency_ms", "size_bytes",
    "memory_bytes", "agreement", "metric", "drop_points", "fits", "misses", "front", "why", "error",
}  # fmt: skip


def plan_of(budget: Budget) -> PlanFile:
    choice = choose([ROW], budget)
    return PlanFile("m.keras", "m", budget, None, {"load_average": 0.1}, None, True, (ROW,), choice)


def test_the_file_says_what_others_read(tmp_path: Path) -> None:
    write_plan(tmp_path, plan_of(Budget(latency_ms=20.0, size_mb=3.0)))
    raw = json.loads((tmp_path / "plan.json").read_text())
    assert (raw["schema"], raw["budget"], raw["chosen"]) == (1, {"latency_ms": 20.0, "size_mb": 3.0}, None)
    (row,) = raw["variants"]
    assert set(row) >= FIELDS
    assert row["resolution"] == [16, 16]
    assert (row["fits"], row["misses"]) == (False, [{"axis": "size", "measured": 4.0, "allowed": 3.0}])
    write_plan(tmp_path, plan_of(Budget(latency_ms=20.0)))
    raw = json.loads((tmp_path / "plan.json").read_text())
    assert (raw["chosen"], raw["variants"][0]["fits"]) == ("tflite-int8-16x16/litert/2", True)
    assert earlier_machine(tmp_path, None) == {"load_average": 0.1}
    assert earlier_machine(tmp_path, "pi") == {}


def test_rounds_are_kept_at_once_and_forgotten_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    Ledger(path).add("a", 1.5, 1000)
    Ledger(path).add("a", 2.5, None)
    again = Ledger(path)
    again.set_by_hand("a on litert", 1.5, 4)
    assert Ledger(path).rounds("a") == ((1.5, 1000), (2.5, None))
    assert Ledger(path).rounds("b") == ()
    assert (Ledger(path).by_hand("a on litert"), Ledger(path).by_hand("b on litert")) == ((1.5, 4), None)
    again.forget()
    assert Ledger(path).rounds("a") == ()


def test_a_damaged_ledger_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text('{"a": [[1.5')
    assert Ledger(tmp_path / "measured.json").rounds("a") == ()


def test_only_a_new_folder_or_a_plan_is_written_into(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="a folder that is no plan and not empty"):
        check_folder(tmp_path)
    with pytest.raises(UsageError, match="a file; expected a folder"):
        check_folder(tmp_path / "thesis.txt")
    (tmp_path / "plan.json").write_text("{}")
    check_folder(tmp_path)
