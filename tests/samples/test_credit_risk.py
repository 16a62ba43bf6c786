"""The credit risk sample: train, convert, verify, run, explain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit.errors import DataRefused
from edgekit.rows import read_rows
from edgekit_runtimes.predictor import load
from samples.credit_risk import explain
from samples.credit_risk.train import LEFT_OUT, THRESHOLD
from tests.conftest import CommandRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "credit"
    script = ROOT / "samples" / "credit_risk" / "train.py"
    done = subprocess.run([sys.executable, script, folder], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", trained / "credit.keras", "--spec", trained / "credit.toml", "--recipe", "fp32", "--recipe", "int8",
        "--effort", "low", "--calibration", trained / "train.csv", "--eval", trained / "test.csv",
        "-o", trained / "credit.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return trained / "credit.bundle"


def test_every_artifact_has_the_auc_of_the_original(bundle: Path) -> None:
    for artifact in Bundle(bundle).artifacts:
        metric, original = artifact.parity.metric, artifact.parity.reference_metric
        assert metric is not None
        assert original is not None
        assert (metric.name, metric.total) == ("AUC", 300)
        assert original.value > 0.7
        assert abs(metric.value - original.value) < 0.01


def test_the_bundle_verifies_and_decides_at_the_threshold(
    bundle: Path, trained: Path, edgekit_command: CommandRunner
) -> None:
    assert edgekit_command("verify", bundle).returncode == 0
    run = edgekit_command("run", bundle, trained / "test.csv", "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    results = [json.loads(line)["result"]["labels"] for line in run.stdout.splitlines()]
    assert len(results) == 300
    for labels in results:
        bad = next(label["score"] for label in labels if label["name"] == "bad")
        assert labels[0]["name"] == ("bad" if bad >= THRESHOLD else "good")
    assert any(THRESHOLD <= labels[0]["score"] < 0.5 for labels in results), "the threshold is below one half"


def test_sex_and_origin_are_no_columns(bundle: Path, trained: Path) -> None:
    table = Bundle(bundle).spec.table
    assert table is not None
    assert not set(LEFT_OUT) & set(table.names)
    assert not any(name in (trained / "train.csv").read_text() for name in LEFT_OUT)


def test_what_a_column_added_is_the_difference_without_it(bundle: Path, trained: Path) -> None:
    with load(bundle, recipe="fp32") as predictor:
        table = predictor.bundle.spec.table
        assert table is not None
        row = next(iter(read_rows(trained / "test.csv", table.names))).load()
        result, added = explain.explain(predictor, row)
        duration = next(column for column in table.columns if column.name == "duration_in_month")
        without = predictor.predict({**row, "duration_in_month": duration.mean})
    assert added["duration_in_month"] == pytest.approx(explain.probability(result) - explain.probability(without))
    assert set(added) == set(table.names)
    sizes = [abs(change) for change in added.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.01


def test_explain_prints_the_decision_and_refuses_a_row_that_is_not_there(
    bundle: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain.main(bundle, trained / "test.csv", 2, 3)
    lines = capsys.readouterr().out.splitlines()
    assert "probability of a bad credit" in lines[0]
    assert len(lines) == 4
    with pytest.raises(DataRefused, match="row 301; expected 1 to 300"):
        explain.main(bundle, trained / "test.csv", 301, 3)
