"""Unit files, judged by systemd itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit_runtimes.service.unit import Job, quoted, unit_text

JOB = Job("door", Path("/var/lib/edgekit/door/current"), "camera:0", ("results.jsonl",), python=Path(sys.executable))
JOBS = {
    "camera": JOB,
    "stream": replace(JOB, source="rtsp://user:p%40ss@10.0.0.2/live?a=$HOME", outputs=("/mnt/a b/", "mqtt://h/t")),
    "files": replace(JOB, source="/srv/photos", outputs=("results.csv",), user="daemon", memory="512M"),
}
MOST_EXPOSED = 2.0


@pytest.fixture
def analyze() -> Callable[..., str]:
    """Run `systemd-analyze`."""
    program = shutil.which("systemd-analyze")
    if program is None:
        assert not os.environ.get("CI"), "systemd-analyze is not installed"
        pytest.skip("systemd-analyze is not installed")

    def run(*words: str) -> str:
        done = subprocess.run([program, *words], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("kind", JOBS)
def test_systemd_finds_no_fault(kind: str, analyze: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "edgekit-door.service"
    path.write_text(unit_text(JOBS[kind]))
    assert "edgekit-door" not in analyze("verify", str(path))
    exposure = analyze("security", "--offline=true", "--no-pager", str(path))
    level = re.search(r"Overall exposure level for edgekit-door\.service: ([\d.]+)", exposure)
    assert level is not None
    assert float(level[1]) <= MOST_EXPOSED


def lines(job: Job) -> list[str]:
    return unit_text(job).splitlines()


def test_a_job_may_use_what_it_needs_and_nothing_else() -> None:
    assert "DeviceAllow=char-video4linux rw" in lines(JOB)
    assert "PrivateNetwork=yes" in lines(JOB)
    assert "PrivateDevices=yes" in lines(JOBS["files"])
    assert "PrivateNetwork=yes" not in lines(JOBS["stream"])
    assert 'ReadWritePaths="/mnt/a b"' in lines(JOBS["stream"])
    assert not any(line.startswith("ReadWritePaths") for line in lines(JOB))


def test_a_camera_is_for_ever_and_files_end() -> None:
    assert "Restart=always" in lines(JOB)
    assert "--wait" in JOB.command
    assert "Restart=on-failure" in lines(JOBS["files"])
    assert "--wait" not in JOBS["files"].command


def test_it_runs_as_nobody_that_exists_or_as_the_user_named() -> None:
    assert "DynamicUser=yes" in lines(JOB)
    assert "User=daemon" in lines(JOBS["files"])


def test_words_come_through_as_they_are() -> None:
    assert quoted("camera:0") == "camera:0"
    for word in ("a b", 'say "x"', "back\\slash", ""):
        assert shlex.split(quoted(word)) == [word]
    assert quoted("50%") == "50%%"
    assert quoted("$HOME") == '"$$HOME"'


@pytest.mark.parametrize("output", ["window", "-"])
def test_a_service_has_no_screen(output: str) -> None:
    with pytest.raises(UsageError, match=f"-o {output} for a service, which has no screen"):
        unit_text(replace(JOB, outputs=(output,)))
