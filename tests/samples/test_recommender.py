"""The recommender sample: train, convert, verify, run, measure."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle
from samples.recommender import evaluate
from samples.recommender.train import load
from tests.conftest import CommandRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ratings(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 120 users of MovieLens small, with a title for one film."""
    path = tmp_path_factory.mktemp("movielens") / "ratings.csv"
    lines = (realpack / "movielens_small" / "ratings.csv").read_text().splitlines()
    kept = [line for line in lines[1:] if int(line.split(",")[0]) <= 120]
    path.write_text("\n".join([lines[0], *kept]) + "\n")
    (path.parent / "movies.csv").write_text('movieId,title\n318,"Shawshank Redemption, The (1994)"\n')
    return path


@pytest.fixture(scope="module")
def trained(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "films"
    script = ROOT / "samples" / "recommender" / "train.py"
    done = subprocess.run(
        [sys.executable, script, ratings, folder, "--epochs", "20"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path, edgekit_command: CommandRunner) -> Path:
    done = edgekit_command(
        "convert", trained / "recommender.keras", "--spec", trained / "recommender.toml",
        "--labels", trained / "labels.txt", "--recipe", "fp32", "--recipe", "int8", "--effort", "low",
        "--max-drop", "2", "--calibration", trained / "calibration.csv", "--eval", trained / "test.csv",
        "-o", trained / "films.bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return trained / "films.bundle"


def test_the_last_film_of_each_user_is_held_out(ratings: Path) -> None:
    data = load(ratings)
    with ratings.open(newline="") as stream:
        rows = [(int(r["timestamp"]), r["movieId"]) for r in csv.DictReader(stream) if r["userId"] == "42"]
    names = {film.split()[0] for film in data.films}
    known = [(time, film) for time, film in sorted(rows) if film in names]
    user = data.users.index("42")
    latest = {film for time, film in known if time == known[-1][0]}
    assert data.films[data.last[user]].split()[0] in latest
    assert data.seen[user].sum() == len(known) - 1
    assert not data.seen[np.arange(len(data.users)), data.last].any()
    assert "318 Shawshank Redemption, The (1994)" in data.films


def test_the_bundle_verifies_and_recommends_what_was_not_seen(
    bundle: Path, trained: Path, edgekit_command: CommandRunner
) -> None:
    verified = edgekit_command("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    run = edgekit_command("run", bundle, "42", "nobody", "--format", "jsonl")
    assert run.returncode == 6
    assert "'nobody' in column 'userId'" in run.stderr
    answer = json.loads(run.stdout.splitlines()[0])
    offered = [item["name"] for item in answer["result"]["items"]]
    seen = json.loads((trained / "seen.json").read_text())["42"]
    assert len(offered) == 10
    assert not set(offered) & set(seen)
    assert set(seen) <= set((trained / "labels.txt").read_text().splitlines())


def test_evaluate_finds_the_ndcg_of_the_conversion(
    bundle: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(bundle, trained / "test.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "120 users"
    for line, artifact in zip(lines[1:], Bundle(bundle).artifacts, strict=True):
        metric = artifact.parity.metric
        assert metric is not None
        assert metric.name == "NDCG@10"
        assert metric.value > 0.02, "a random order of these films gives less than 0.01"
        assert line.startswith(artifact.file)
        assert f"NDCG@10 {metric.value:.5f}" in line
