"""The runtime's commands in a child process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit_converters.runtime import complaint, edgekit, processor


def test_a_command_says_what_it_says() -> None:
    done = edgekit(["bench", "nowhere.tflite"])
    assert done.returncode == 3
    assert complaint(done.stderr).startswith("nowhere.tflite")
    with pytest.raises(subprocess.TimeoutExpired):
        edgekit(["--help"], timeout=0.001)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("warning: hot\nerror: no engine; expected one\n  pip install it\n", "no engine"),
        ("Traceback\nKilled\n", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_a_complaint_is_what_was_received(said: str, expected: str) -> None:
    assert complaint(said) == expected


def test_a_processor_that_the_kernel_does_not_name(tmp_path: Path) -> None:
    assert processor(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast CPU 3\n", encoding="utf-8")
    assert processor(tmp_path) == "Fast CPU 3"
