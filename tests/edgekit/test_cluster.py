"""Functions on a real cluster; Ray runs in a child process alone, with its threads and warnings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.cluster import connected
from edgekit.errors import UsageError
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


def fail():
    return {}["absent"]


def double(number):
    return 2 * number


def sleep(folder):
    (Path(folder) / "asleep").write_text(str(os.getpid()))
    time.sleep(600)
"""
_SCRIPT = """
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import functions
from edgekit.cluster import Tasks, connected, on_each_node
from edgekit.errors import EnvironmentFault
from edgekit.signals import exit_code, terminable

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
try:
    with terminable(), connected(sys.argv[1]), Tasks(1) as tasks:
        tasks.start("sleep", functions.sleep, str(folder))
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()  # while Ray waits
        try:
            tasks.next()
        except KeyboardInterrupt as stop:
            stopped = exit_code(stop)
    with connected(sys.argv[1]), Tasks(1) as tasks:
        tasks.start("fail", functions.fail)
        tasks.next()
except EnvironmentFault as error:
    failed = str(error)
print(json.dumps([seen, lacks, done, len(tasks), stopped, failed]))
"""
_NOBODY = """
import sys

from edgekit.cluster import connected
from edgekit.errors import EnvironmentFault

for address in ("auto", "local"):
    try:
        with connected(address):
            pass
    except EnvironmentFault as error:
        print(error.received)
"""


@pytest.mark.slow
def test_what_dies_is_begun_again_twice_and_what_is_left_is_ended(two_nodes: TwoNodes, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(_FUNCTIONS)
    (tmp_path / "only-here").mkdir()
    (tmp_path / "only-here" / "absent.py").write_text(_FUNCTIONS)
    words = [sys.executable, "-c", _SCRIPT, two_nodes.address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    seen, lacks, ended, left, stopped, failed = json.loads(done.stdout)  # and not a word of Ray's
    assert list(seen.values()) == [8, 8]
    assert all(name.startswith(two_nodes.address.partition(":")[0] + " (") for name in seen)
    assert "cannot work: ModuleNotFoundError: No module named 'absent'\n  remedy: install the same version of" in lacks
    assert ended["two"] == [2, None]
    assert ended["die"] == [None, "its process died, or its node was lost, 3 times"]
    assert len(list(tmp_path.glob("died-*"))) == 3
    assert left == 0
    assert stopped == 143
    assert failed == "a task on the Ray cluster failed: KeyError: 'absent'\n  remedy: --debug says where"
    sleeper = Path("/proc", (tmp_path / "asleep").read_text())
    await_(lambda: not sleeper.exists())


@pytest.mark.parametrize(
    "address", ["", "head", "head:port", "head:65536", "redis://user:secret@head:1", "a:secret@b:1"]
)
def test_what_is_no_address_is_refused_and_no_password_is_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="expected auto, local or HOST:PORT") as caught, connected(address):
        pass
    assert "secret" not in str(caught.value)


def test_a_silent_environment_variable_and_a_folder_that_ray_cannot_use_are_named(tmp_path: Path) -> None:
    far = tmp_path / ("long" * 25)  # the kernel bounds the paths of Ray's sockets
    far.mkdir()
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", "TMPDIR": str(far)}
    words = [sys.executable, "-c", _NOBODY]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    auto, local = done.stdout.splitlines()
    assert auto.startswith("no Ray cluster at 127.0.0.1:1: ")
    assert local.startswith("no Ray cluster at local: ")
