"""The ledger: what survives, and what is refused."""

from __future__ import annotations

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
        assert (ledger.rows, ledger.failed, ledger.about) == (16, 2, "engine 1")
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
    opened(tmp_path).close()
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
