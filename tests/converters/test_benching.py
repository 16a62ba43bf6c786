"""What `edgekit bench` says in a child, as the converters hear it."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit_converters import benching

ROW = {"valid": True, "invalid": [], "threads": 2}


def said(monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str = "") -> list[list[str]]:
    """Let the child say this; the words that it is started with are gathered."""
    asked: list[list[str]] = []

    def run(words: list[str], timeout: float | None) -> CompletedProcess[str]:
        assert timeout is None
        asked.append(words)
        return CompletedProcess(words, code, out, err)

    monkeypatch.setattr(benching, "edgekit", run)
    return asked


def test_every_word_reaches_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = said(monkeypatch, 0, json.dumps({"measurements": [ROW]}))
    rows = benching.bench(Path("b"), "int8", engine="litert", threads=[1, 4], seconds=0.5, device="attic")
    assert rows == [ROW]
    assert " ".join(asked[0]) == (
        "bench b --recipe int8 --seconds 0.5 --json - --engine litert --threads 1,4 --on attic"
    )


def test_a_throttled_machine_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"valid": False, "invalid": ["the clock fell to 600 MHz"], "threads": 1}
    said(monkeypatch, 4, json.dumps({"measurements": [ROW, row]}))
    with pytest.raises(benching.NotMeasured, match="the machine was throttled: the clock fell to 600 MHz"):
        benching.bench(Path("b"), "int8")


def test_an_error_is_told_without_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    said(monkeypatch, 5, "", "note: a warning\nerror: b/m.onnx: no engine; expected litert\n  remedy: install it\n")
    with pytest.raises(benching.NotMeasured) as refused:
        benching.bench(Path("b"), "int8")
    assert str(refused.value) == "not measured: m.onnx: no engine (edgekit bench ended with 5)"


def test_the_whole_answer_has_the_rows_of_a_throttled_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"valid": False, "invalid": ["the clock fell to 600 MHz"], "threads": 1}
    answer = {"measurements": [ROW, row], "machine_peak": {"gbytes_per_s": 9.5}}
    words = said(monkeypatch, 4, json.dumps(answer))
    assert benching.asked(Path("b"), "--all", "--runs", "20") == answer
    assert " ".join(words[0]) == "bench b --all --runs 20 --seconds 1 --json -"


def test_a_child_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import threading\nthreading.Event().wait()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(benching.NotMeasured, match=r"edgekit bench did not end within 0\.2 s"):
        benching.asked(Path("b"), timeout=0.2)
