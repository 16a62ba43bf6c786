"""What a Ray actor does with an input that kills; the pool's own ways are tested through the command."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit_runtimes.bulk import table
from edgekit_runtimes.bulk.chunk import Chunk
from edgekit_runtimes.bulk.job import setup_for
from edgekit_runtimes.bulk.pool import Isolated, _end, _executor
from edgekit_runtimes.bulk.source import Source
from tests.runtimes.bulk.conftest import KEYWORDS, KILL_SELF, write_arrays


def test_an_isolated_answerer_survives_what_kills_its_process(
    keywords: Bundle, deadly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(deadly)
    source = write_arrays(tmp_path / "inputs", 8, {2: KILL_SELF})
    entries = tuple(Source(KEYWORDS, (str(source),)).entries())
    isolated = Isolated(setup_for(keywords.path, engine="deadly", threads=1))
    try:
        bad, good = isolated.part(Chunk(entries[:4])), isolated.part(Chunk(entries[4:]))
    finally:
        isolated.close()
    assert (bad.rows, bad.failed) == (4, 1)
    assert (good.rows, good.failed) == (4, 0)
    statuses = [row["status"] for row in table.decode(bad.data).to_pylist()]
    assert statuses == ["ok", "failed", "ok", "ok"]


def test_ctrl_c_does_not_reach_a_process_that_is_just_starting() -> None:
    executor = _executor(1)
    try:
        there = executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
    finally:
        _end(executor)
    assert signal.SIGINT in there
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
