"""What the tables say of a result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.quantizers.__main__ import matches
from tests.benchmarks.quantizers.jobs import FEW, MANY, TOOLS, Job, all_jobs


@pytest.fixture
def report(realpack: Path) -> ModuleType:
    """The module, whose imports need the real data."""
    from tests.benchmarks.quantizers import report

    return report


def result(**more: Any) -> dict[str, Any]:
    parity = {
        "samples": 400,
        "outputs": [{"name": "scores", "relative_l2": 0.1234, "cosine": 0.99, "max_error": 1.0}],
        "agreement": {"successes": 390, "total": 400},
        "metric": {"successes": 340, "total": 400},
        "reference_metric": {"successes": 342, "total": 400},
    }
    costs = {"seconds": 12.34, "peak_mb": 500.4, "imports_mb": 99.6, "latency_ms": {"int8": 2.0, "fp32": 5.0}}
    return {"parity": parity, **costs, **more}


def test_a_row_gives_quality_with_its_interval_and_what_it_cost(report: ModuleType) -> None:
    tool = next(tool for tool in TOOLS if tool.module == "nncf_onnx")
    row = report.peers_row(tool, result())
    assert row == ["onnx", "NNCF", "97.5", "85.0 (81.2-88.2)", "0.123", "12.3", "500 (100)", "2.50"]


def test_int8_that_is_slower_than_float_is_marked(report: ModuleType) -> None:
    assert report.speed(result(latency_ms={"int8": 5.0, "fp32": 4.0})) == "0.80 **slower**"
    assert report.speed(result(latency_ms={"int8": 4.0, "fp32": 4.0})) == "1.00"


def test_a_tool_that_failed_stays_in_the_table_with_its_cause(report: ModuleType) -> None:
    row = report.peers_row(TOOLS[0], {"failed": "exit code 1: a | b"})
    assert row[2] == "failed: exit code 1: a / b"
    assert len(row) == len(report.PEERS)


def test_promises_are_ratios_of_what_was_measured(report: ModuleType) -> None:
    found = {
        ("tflite", f"calibration, {FEW} samples"): {"peak_mb": 100.0, "seconds": 1.0},
        ("tflite", f"calibration, {MANY} samples"): {"peak_mb": 108.0, "seconds": 9.0},
        ("tflite", f"plain inference, {MANY} samples"): {"peak_mb": 90.0, "seconds": 2.0},
    }
    assert [row[2:] for row in report.promises(found)] == [["1.08", "1.10"], ["1.20", "1.50"]]


def test_the_short_table_has_a_column_for_every_network_of_photos(report: ModuleType) -> None:
    jobs = [job for job in all_jobs() if job.section == "peers" and job.recipe == "int8"]
    lines = report.short([(job, result()) for job in jobs]).splitlines()
    assert lines[0].count("|") == 6
    assert "| tflite | TFLiteConverter | 97.5 (0.123) |  |  |" in lines
    assert "| onnx | edgekit | 97.5 (0.123) | 97.5 (0.123) | 97.5 (0.123) |" in lines


def test_patterns_choose_jobs_and_leave_out_others() -> None:
    job = replace(TOOLS[2], network="MobileNetV2 (Keras)")
    assert matches(job, "*")
    assert matches(job, "peers*mobilenet")
    assert not matches(job, "peers*,!/ edgekit")
    assert not matches(job, "ablation*,calibration*")


def test_names_of_jobs_are_unique() -> None:
    names = [job.name for job in all_jobs()]
    assert len(set(names)) == len(names)
    assert isinstance(all_jobs()[0], Job)
