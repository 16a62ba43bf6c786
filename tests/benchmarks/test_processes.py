"""What is counted as a command's own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from tests.benchmarks.processes import family, reading


def test_children_of_every_thread_belong_to_it() -> None:
    """A pool starts its workers from a thread."""
    begun: list[subprocess.Popen[bytes]] = []
    release = threading.Event()

    def start() -> None:
        begun.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        started.set()
        release.wait()

    started = threading.Event()
    thread = threading.Thread(target=start)
    thread.start()
    started.wait()
    child = begun[0].pid
    assert child in family(os.getpid())
    found = reading(child)
    release.set()
    begun[0].communicate(b"\n")
    thread.join()
    assert found is not None
    assert found.threads == 1
    assert found.descriptors >= 3
    assert reading(child) is None
