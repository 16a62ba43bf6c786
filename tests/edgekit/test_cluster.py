"""Functions on a real cluster; Ray runs in a child process alone, with its threads and warnings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TwoNodes
from tests.fixtures.ray_cluster import await_

_FUNCTIONS = """
import os
import signal
import sys
import time
from pathlib import Path


def die(folder):
    (Path(folder) / f"died-{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def double(number):
    return 2 * number


def sleep(folder):
    (Path(folder) / "asleep").write_text(str(os.getpid()))
    time.sleep(600)
"""
_SCRIPT = """
import json
import sys
import time
from pathlib import Path

import functions
from edgekit.cluster import Tasks, connected, on_each_node
from edgekit.errors import EnvironmentFault

sys.path.insert(0, "only-here")
import absent

folder = Path.cwd()
with connected(sys.argv[1]):
    seen = on_each_node(functions.double, 4, cpus=1)
    try:
        on_each_node(absent.double, 4, cpus=1)
    except EnvironmentFault as error:
        lacks = str(error)
    with Tasks(1) as tasks:
        tasks.start("die", functions.die, str(folder))
        tasks.start("two", functions.double, 1)
        done = {one.key: (one.value, one.lost) for one in (tasks.next(), tasks.next())}
        tasks.start("sleep", functions.sleep, str(folder))
        while not (folder / "asleep").exists():
            time.sleep(0.05)
print(json.dumps([seen, lacks, done, len(tasks)]))
"""


@pytest.mark.slow
def test_what_dies_is_begun_again_twice_and_what_is_left_is_ended(two_nodes: TwoNodes, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(_FUNCTIONS)
    (tmp_path / "only-here").mkdir()
    (tmp_path / "only-here" / "absent.py").write_text(_FUNCTIONS)
    words = [sys.executable, "-c", _SCRIPT, two_nodes.address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    seen, lacks, ended, left = json.loads(done.stdout)  # and not a word of Ray's
    assert list(seen.values()) == [8, 8]
    assert all(name.startswith(two_nodes.address.partition(":")[0] + " (") for name in seen)
    assert "cannot work: ModuleNotFoundError: No module named 'absent'\n  remedy: install the same version of" in lacks
    assert ended["two"] == [2, None]
    assert ended["die"] == [None, "its process died, or its node was lost, 3 times"]
    assert len(list(tmp_path.glob("died-*"))) == 3
    assert left == 0
    sleeper = Path("/proc", (tmp_path / "asleep").read_text())
    await_(lambda: not sleeper.exists())
