"""The ledger: what survives, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.bulk.answer import Part
from edgekit_runtimes.bulk.ledger import Ledger

JOB = {"bundle": "a" * 64, "recipe": None}


def opened(folder: Path, **job: object) -> Ledger:
    return Ledger(folder, folder, {**JOB, **job}, "results.parquet")


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 2, "engine 1"))
    with opened(tmp_path) as ledger:
        assert ledger.has("c1")
        assert (ledger.rows, ledger.done["c1"].failed, ledger.about) == (16, 2, "engine 1")
        assert ledger.part("c1").read_bytes() == b"data"


def test_a_torn_line_is_cut_off_and_its_chunk_done_again(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for name in ("c1", "c2"):
            ledger.commit(Part(name, b"data", 16, 0, "engine 1"))
    lines = (tmp_path / "ledger.jsonl").read_bytes()
    (tmp_path / "ledger.jsonl").write_bytes(lines[:-20])
    with opened(tmp_path) as ledger:
        assert ledger.has("c1")
        assert not ledger.has("c2")
        ledger.commit(Part("c2", b"data", 16, 0, "engine 1"))
    assert (tmp_path / "ledger.jsonl").read_bytes() == lines


def test_a_part_that_is_not_what_was_written_is_done_again(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
        assert ledger.intact("c1")
        ledger.part("c1").write_bytes(b"dat\0")
        assert not ledger.intact("c1")
        assert not ledger.has("c1")


def test_another_set_up_is_refused_by_what_differs(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
    with pytest.raises(UsageError, match=r"bundle was aaaaaaaaaaaa…, is bbbbbbbbbbbb…; (.|\n)*--restart") as refusal:
        opened(tmp_path, bundle="b" * 64)
    assert "recipe" not in str(refusal.value)


def test_another_engine_in_the_middle_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
        with pytest.raises(EnvironmentFault, match="engine 2 answers where engine 1 did"):
            ledger.commit(Part("c2", b"data", 16, 0, "engine 2"))
        assert not ledger.has("c2")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(EnvironmentFault, match="being written by another run"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_run_that_finished_nothing_binds_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "results.parquet.parts"
    opened(folder).close()
    assert not folder.exists()
    killed = opened(folder)
    killed._file.close()
    with opened(folder, bundle="b" * 64) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
    with opened(folder, bundle="b" * 64) as ledger:
        assert ledger.has("c1")


def test_beginning_again_forgets_what_was_done_and_not_under_another_run(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
        with pytest.raises(EnvironmentFault, match="being written by another run"):
            Ledger(tmp_path, tmp_path, JOB, "results.parquet", restart=True)
        assert ledger.intact("c1")
    with Ledger(tmp_path, tmp_path, {"bundle": "b"}, "results.parquet", restart=True) as ledger:
        assert ledger.done == {}
        assert not ledger.part("c1").exists()
        ledger.commit(Part("c2", b"data", 16, 0, "engine 2"))
    with Ledger(tmp_path, tmp_path, {"bundle": "b"}, "results.parquet") as ledger:
        assert set(ledger.done) == {"c2"}


def test_a_ledger_that_another_run_removed_meanwhile_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "parts"
    other = [opened(folder)]
    lock = fcntl.flock

    def end_other_first(file: int, how: int) -> None:
        if other:
            shutil.rmtree(folder)
            other.pop().close()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", end_other_first)
    with opened(folder) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
    with opened(folder) as ledger:
        assert ledger.has("c1")


def test_a_line_for_which_there_is_no_room_ends_the_run_and_no_other_chunk_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
        monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:10]))
        with pytest.raises(EnvironmentFault, match=os.strerror(errno.ENOSPC)):
            ledger.commit(Part("c2", b"data", 16, 0, "engine 1"))
        monkeypatch.undo()
    with opened(tmp_path) as ledger:
        ledger.commit(Part("c2", b"data", 16, 0, "engine 1"))
    with opened(tmp_path) as ledger:
        assert set(ledger.done) == {"c1", "c2"}


def test_a_line_is_forced_to_the_disk_after_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[str] = []
    sync = os.fsync

    def noting(file: int) -> None:
        forced.append(Path(os.readlink(f"/proc/self/fd/{file}")).name.partition(".")[2])
        sync(file)

    with opened(tmp_path) as ledger:
        monkeypatch.setattr(os, "fsync", noting)
        ledger.commit(Part("c1", b"data", 16, 0, "engine 1"))
    assert forced[0].endswith(".tmp.parquet")
    assert forced[-1] == "jsonl"
