"""What is said on the way."""

from __future__ import annotations

import pytest

from edgekit_runtimes.bulk.progress import Progress


def test_rate_and_time_left_are_of_what_is_answered_now(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(lambda: 10_000, clock=lambda: now[0])
    with progress:
        progress._counter.join()
        progress.found(5_000, 3)
        assert progress.text() == "5,000 of 10,000 inputs, 3 failed"
        now[0] = 10.0
        progress.answered(1_000, 1)
        assert progress.text() == "6,000 of 10,000 inputs, 4 failed, 100/s, 0:00:40 left"
        assert capsys.readouterr().err == ""
        now[0] = 31.0
        progress.answered(0, 0)
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_total_there_is_no_time_left() -> None:
    now = [0.0]
    with Progress(lambda: None, clock=lambda: now[0]) as progress:
        now[0] = 2.0
        progress.answered(1, 0)
        assert progress.text() == "1 inputs, 0 failed, 0.5/s"
