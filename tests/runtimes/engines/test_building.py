"""The lines that say that an engine is being built."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgekit.notices import handed_on, opened
from edgekit_runtimes.engines.building import announced


class Told(io.StringIO):
    """Tells when a number of lines were written."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted, self.enough = wanted, threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if self.getvalue().count("\n") >= self.wanted:
            self.enough.set()
        return count


def test_the_time_is_told_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(3)
    monkeypatch.setattr(sys, "stderr", told)
    before = threading.active_count()
    with announced("the engine", "a folder", every=0.01):
        assert told.enough.wait(10)
    lines = told.getvalue().splitlines()
    assert lines[0] == "building the engine, this can take minutes; it is kept in a folder"
    assert lines[1] == "still building, 0 s"
    assert lines[-1].startswith("built the engine in ")
    assert threading.active_count() == before


def test_a_failure_ends_it_and_is_not_called_built(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="no"), announced("the engine", "a folder"):
        raise OSError("no")
    assert threading.active_count() == before
    assert "could not build the engine in 0 s" in capsys.readouterr().err


def test_a_screen_has_one_line_that_changes() -> None:
    ours, theirs = pty.openpty()
    code = (
        "import threading\n"
        "from edgekit_runtimes.engines.building import announced\n"
        "with announced('the engine', 'a folder', every=0.01): threading.Event().wait(0.2)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=theirs)
    os.close(theirs)
    assert child.wait(30) == 0
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # so a terminal says that its other end is closed
            break
        said += piece
    os.close(ours)
    assert b"\r\x1b[Kstill building, 0 s\r\x1b[K" in said
    assert said.count(b"\n") == 2


def test_nobody_listening_does_not_end_the_building(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with announced("the engine", "a folder"):
            pass
        monkeypatch.undo()
        stream.flush = lambda: None  # type: ignore[method-assign]  # what is left in it has nowhere to go
        with pytest.raises(BrokenPipeError):
            stream.close()


def test_a_child_whose_standard_error_is_kept_is_heard(tmp_path: Path) -> None:
    code = "from edgekit.notices import opened\nwith opened() as stream: stream.write('heard')"
    heard, kept = tmp_path / "heard", tmp_path / "kept"
    parent = (
        "import subprocess, sys\nfrom edgekit.notices import handed_on\n"
        f"with open({str(kept)!r}, 'w') as kept, handed_on() as notices:\n"
        f"    subprocess.run([sys.executable, '-c', {code!r}], stderr=kept, check=True, **notices)"
    )
    with heard.open("w") as stream:
        subprocess.run([sys.executable, "-c", parent], stderr=stream, check=True, timeout=60)
    assert (heard.read_text(), kept.read_text()) == ("heard", "")


def test_a_number_that_is_another_file_now_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with handed_on() as notices:
        environment = notices["env"]
    with (tmp_path / "other").open("w") as other:
        number, _, identity = environment["EDGEKIT_NOTICES"].partition(":")
        monkeypatch.setenv("EDGEKIT_NOTICES", f"{other.fileno()}:{identity}")
        with opened() as stream:
            assert stream is sys.stderr
    monkeypatch.setenv("EDGEKIT_NOTICES", f"{number}:{identity}")
    with opened() as stream:
        assert stream is sys.stderr
