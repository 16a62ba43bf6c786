"""Files that appear when they are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DataRefused, EnvironmentFault
from edgekit_runtimes.outputs.records import Csv
from edgekit_runtimes.outputs.sink import Answer
from edgekit_runtimes.outputs.text_file import TextFile

AnswerMaker = Callable[..., Answer]


def test_it_appears_at_the_end(tmp_path: Path, make_answer: AnswerMaker) -> None:
    path = tmp_path / "sub" / "results.csv"
    sink = TextFile(path, Csv)
    sink.answer(make_answer())
    assert not path.exists()
    sink.failure("b.jpg", DataRefused("empty"))
    sink.close()
    assert path.read_text().splitlines() == [
        "input,label_1,score_1,label_2,score_2,error",
        "a.jpg,cat,0.75,dog,0.25,",
        "b.jpg,,,,,empty",
    ]
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_stays_when_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    TextFile(path, Csv).close()
    assert path.read_text() == "old"


def test_an_old_file_survives_a_full_disk(
    tmp_path: Path, make_answer: AnswerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    opened = Path.open

    def full(self: Path, mode: str = "r", **more: Any) -> Any:
        # Reading from /dev/full never ends.
        return opened(Path("/dev/full") if mode == "w" else self, mode, **more)

    monkeypatch.setattr(Path, "open", full)
    sink = TextFile(path, Csv)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        sink.answer(make_answer())
    sink.close()
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
