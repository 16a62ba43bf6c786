"""`edgekit run … -o results.parquet` as a user calls it, and as bad luck treats it."""

from __future__ import annotations

import json
import os
import select
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit.tasks.classification import Classification
from edgekit_runtimes.predictor import load
from tests.runtimes.bulk.conftest import (
    INTERRUPT_ONCE,
    KILL_PARENT_ONCE,
    KILL_SELF,
    KILL_SELF_ONCE,
    Run,
    write_arrays,
)
from tests.runtimes.bulk.test_source import write_table

COLUMNS = ["input", "input_sha256", "status", "error", "label", "score", "result"]


class Command:
    """Calls the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str | Path) -> int:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        self.err = self._capsys.readouterr().err
        return int(stop.value.code or 0)


@pytest.fixture
def edgekit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


def ledger(output: Path) -> list[dict[str, Any]]:
    folder = output / "_edgekit" if output.is_dir() else output.with_name(f"{output.name}.parts")
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Two hundred good inputs and two that cannot be used."""
    folder = write_arrays(tmp_path / "inputs", 200)
    (folder / "0" / "0100.npy").write_bytes(b"damaged")
    np.save(folder / "1" / "0101.npy", np.full((1, 49, 10, 1), np.nan, np.float32))
    return folder


def test_rows_are_the_answers_of_the_bundle(edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.parquet"
    assert edgekit("run", keywords.path, inputs, "-o", output, "--chunk", "32") == 6
    assert "200 inputs, 2 failed" in edgekit.err
    assert parquet.read_schema(output).names == COLUMNS
    found = rows(output)
    files = sorted(inputs.rglob("*.npy"))
    assert [row["input"].removesuffix(" sample 0") for row in found] == [str(path) for path in files]
    with load(keywords.path) as predictor:
        for row in (row for row in found if row["status"] == "ok"):
            result = predictor.predict(np.load(row["input"].removesuffix(" sample 0"))[0])
            assert json.loads(row["result"]) == result.to_dict()
            assert isinstance(result, Classification)
            assert (row["label"], row["score"]) == (result.best.name, result.best.score)
            assert len(row["input_sha256"]) == 64
    failed = [row for row in found if row["status"] == "failed"]
    assert "0100.npy cannot be read" in failed[0]["error"]
    assert all(row[name] is None for row in failed for name in ("label", "score", "result"))
    listed = [json.loads(line) for line in (tmp_path / "results.errors.jsonl").read_text().splitlines()]
    assert listed == [{key: row[key] for key in ("input", "input_sha256", "error")} for row in failed]
    assert not output.with_name("results.parquet.parts").exists()


def test_a_finished_run_is_left_alone(edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.parquet"
    edgekit("run", keywords.path, inputs, "-o", output)
    before = output.stat()
    assert edgekit("run", keywords.path, inputs, "-o", output) == 6
    assert "already has all 200 inputs" in edgekit.err
    assert output.stat().st_ino == before.st_ino
    assert edgekit("run", keywords.path, inputs, "-o", output, "--top-k", "1") == 2
    assert "top_k was None, is 1" in edgekit.err
    shutil.copyfile(inputs / "0" / "0000.npy", inputs / "0" / "more.npy")
    assert edgekit("run", keywords.path, inputs, "-o", output) == 2
    assert "have changed since it was finished" in edgekit.err
    assert edgekit("run", keywords.path, inputs, "-o", output, "--restart") == 6
    assert len(rows(output)) == 201


def test_a_folder_of_parts_grows_with_its_inputs(
    edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.parquet"
    words = ("run", keywords.path, inputs, "-o", f"{output}/", "--chunk", "16")
    edgekit(*words)
    first = {line["chunk"] for line in ledger(output)}
    assert (output / "_SUCCESS").exists()
    np.save(inputs / "0" / "0050a.npy", np.ones((1, 49, 10, 1), np.float32))
    assert edgekit(*words, "--max-failures", "0") == 4
    assert not (output / "_SUCCESS").exists()
    edgekit(*words)
    assert (output / "_SUCCESS").exists()
    answered = [line for line in ledger(output) if line["chunk"] not in first]
    assert 1 <= len(answered) <= 4
    found = rows(output)
    assert len(found) == 201
    assert len({row["input"] for row in found}) == 201


def test_another_file_of_that_name_is_not_touched(
    edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path
) -> None:
    output = write_table(tmp_path / "results.parquet", precious=[1])
    before = output.read_bytes()
    for more in ((), ("--restart",)):
        assert edgekit("run", keywords.path, inputs, "-o", output, *more) == 2
        assert "is not the output of a run" in edgekit.err
    assert output.read_bytes() == before


def test_a_folder_that_is_no_ledger_is_not_touched(
    edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "results.parquet.parts" / "precious"
    precious.parent.mkdir()
    precious.touch()
    for more in ((), ("--restart",)):
        assert edgekit("run", keywords.path, inputs, "-o", "results.parquet", *more) == 2
        assert "results.parquet.parts exists and is not the ledger of a run" in edgekit.err
    assert [path.name for path in precious.parent.iterdir()] == ["precious"]


def test_what_kills_left_is_removed(edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path) -> None:
    output, parts = tmp_path / "results.parquet", tmp_path / "results.parquet.parts"
    words = ("run", keywords.path, inputs, "-o", output)
    for left in (".results.abcd_123.tmp.parquet", ".results.errors.abcd_123.tmp.jsonl"):
        (tmp_path / left).touch()
    others = tmp_path / ".results.old.abcd_123.tmp.parquet"
    others.touch()
    assert edgekit(*words) == 6
    assert set(tmp_path.iterdir()) == {inputs, output, tmp_path / "results.errors.jsonl", others}
    before = output.stat()
    parts.mkdir()
    (parts / "ledger.jsonl").touch()  # killed after it published, while it removed the ledger
    assert edgekit(*words) == 6
    assert "already has all 200 inputs" in edgekit.err
    assert output.stat().st_ino == before.st_ino
    assert not parts.exists()


def test_words_that_are_wrong_leave_nothing(edgekit: Command, keywords: Bundle, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", one=[[0.0]], other=[[0.0]])
    for column in ("nope", "neither"):
        assert edgekit("run", keywords.path, table, "-o", tmp_path / "r.parquet", "--column", column) == 2
        assert f"no column '{column}'" in edgekit.err
    assert list(tmp_path.iterdir()) == [table]


def test_a_budget_of_failures_ends_the_run_and_what_is_done_is_kept(
    edgekit: Command, keywords: Bundle, inputs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.parquet"
    words = ("run", keywords.path, inputs, "-o", output, "--chunk", "16")
    assert edgekit(*words, "--max-failures", "0") == 4
    assert "1 of " in edgekit.err
    assert "--max-failures 0" in edgekit.err
    assert "0100.npy" in (tmp_path / "results.errors.jsonl").read_text()
    assert not output.exists()
    begun = len(ledger(output))
    assert 1 <= begun < 12
    assert edgekit(*words, "--max-failures", "0.9%") == 4  # 2 of 200, judged at the end
    assert len(ledger(output)) > begun
    assert edgekit(*words, "--max-failures", "1%") == 6
    assert len(rows(output)) == 200


def test_photos_in_a_table_are_answered_as_in_a_folder(
    edgekit: Command, person_bundle: Bundle, photos: Sequence[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in photos:
        shutil.copyfile(photo, folder / photo.name)
    table = write_table(tmp_path / "t.parquet", image=[path.read_bytes() for path in sorted(folder.iterdir())])
    assert edgekit("run", person_bundle.path, folder, "-o", tmp_path / "a.parquet") == 0
    assert edgekit("run", person_bundle.path, table, "-o", tmp_path / "b.parquet", "--column", "image") == 0
    same = ("input_sha256", "label", "score", "result")
    of_folder, of_table = rows(tmp_path / "a.parquet"), rows(tmp_path / "b.parquet")
    assert [[row[name] for name in same] for row in of_folder] == [[row[name] for name in same] for row in of_table]
    with load(person_bundle.path) as predictor:
        assert json.loads(of_folder[0]["result"]) == predictor.predict(folder / sorted(folder.iterdir())[0]).to_dict()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-o", "r.jsonl", "--workers", "2"), "--workers without a Parquet output"),
        (("-o", "r.parquet", "-o", "-"), "r.parquet with another output"),
        (("-o", "r.parquet", "--timeout", "9"), "--timeout with -o r.parquet"),
        (("-o", "r.parquet", "--column", "image"), "--column image for"),
        (("-o", "r.parquet", "--format", "csv"), "--format with -o r.parquet"),
        (("-o", "r.parquet", "--option", "temperature=1"), "--option for task 'tensors'"),
        (("-o", "r.parquet", "--gpus", "1"), "--gpus without --ray"),
        (("-o", "r.parquet", "--max-failures", "few"), "--max-failures few"),
        (("-o", "s3://bucket/r.parquet"), "a path of this machine"),
    ],
)
def test_options_that_do_not_go_together(
    edgekit: Command, keywords: Bundle, inputs: Path, words: tuple[str, ...], text: str
) -> None:
    assert edgekit("run", keywords.path, inputs, *words) == 2
    assert text in edgekit.err


def test_a_kill_in_the_middle_and_a_pool_give_the_same_bytes(run_deadly: Run, once: Path, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 300, {150: KILL_SELF_ONCE})
    killed, pooled = tmp_path / "killed.parquet", tmp_path / "pooled.parquet"
    assert run_deadly(source, killed).returncode == -9
    assert not killed.exists()
    begun = ledger(killed)
    assert 1 <= len(begun) < 15
    again = run_deadly(source, killed)
    assert again.returncode == 0
    assert f"goes on after {sum(line['rows'] for line in begun)} inputs" in again.stderr
    assert run_deadly(source, pooled, "--workers", "2").returncode == 0
    assert killed.read_bytes() == pooled.read_bytes()
    assert len(rows(killed)) == 300
    assert not once.exists()


def test_ctrl_c_says_how_to_go_on(run_deadly: Run, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 120, {61: INTERRUPT_ONCE})
    output = tmp_path / "results.parquet"
    stopped = run_deadly(source, output)
    assert stopped.returncode == 130
    assert "are done and kept in" in stopped.stderr
    assert "the same command goes on from there" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert run_deadly(source, output).returncode == 0
    assert len(rows(output)) == 120


def test_an_input_that_kills_its_worker_is_set_aside(run_deadly: Run, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 120, {40: KILL_SELF, 41: KILL_SELF_ONCE})
    output = tmp_path / "results.parquet"
    done = run_deadly(source, output, "--workers", "2")
    assert done.returncode == 6
    assert "120 inputs, 1 failed" in done.stderr
    (failed,) = [row for row in rows(output) if row["status"] == "failed"]
    assert failed["input"].endswith("0/0040.npy")
    assert failed["error"].endswith("it killed the process that answered it, twice")


def test_workers_end_with_a_parent_that_was_killed(run_deadly: Run, once: Path, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 120, {40: KILL_PARENT_ONCE})
    output = tmp_path / "results.parquet"
    assert run_deadly(source, output, "--workers", "2").returncode == -9
    (told,) = once.parent.glob("pid-*")
    try:
        worker = os.pidfd_open(int(told.name.removeprefix("pid-")))
    except ProcessLookupError:
        worker = None
    if worker is not None:
        assert select.select([worker], [], [], 30)[0]
        os.close(worker)
    assert run_deadly(source, output, "--workers", "2").returncode == 0
    assert len(rows(output)) == 120
