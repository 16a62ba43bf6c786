"""Folders that go with their process, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fixtures.ray_cluster import await_

_SCRIPT = """
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from edgekit.passing import PassingFolder

folder = PassingFolder("edgekit-passing-")
if sys.argv[1] == "all":
    folder.take_all()
ask = "import tempfile; print(tempfile.mkdtemp())"
child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
Path(folder.path, "deep").mkdir()
Path(folder.path, "deep", "file").write_bytes(b"content")
print(folder.path, tempfile.mkdtemp(), child, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def folders_of(process: subprocess.Popen[str]) -> list[Path]:
    assert process.stdout is not None
    return [Path(word) for word in process.stdout.readline().split()]


def started(folder: Path, what: str) -> subprocess.Popen[str]:
    words, pipe = [sys.executable, "-c", _SCRIPT, what], subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "TMPDIR": str(folder)})


def test_a_folder_is_removed_with_all_that_it_holds_when_its_process_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "all") as process:
        folder, own, of_child = folders_of(process)
        assert folder.parent == tmp_path
        assert own.parent == of_child.parent == folder
        assert (folder / "deep" / "file").read_bytes() == b"content"
    assert process.returncode == -9
    await_(lambda: not folder.exists())
    assert not list(tmp_path.iterdir())


def test_other_temporary_files_are_left_alone_unless_they_are_asked_for(tmp_path: Path) -> None:
    with started(tmp_path, "one") as process:
        folder, own, of_child = folders_of(process)
    await_(lambda: not folder.exists())
    assert sorted(tmp_path.iterdir()) == sorted([own, of_child])
