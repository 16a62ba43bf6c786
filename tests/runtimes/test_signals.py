"""Ctrl-C that arrives where Python drops exceptions."""

from __future__ import annotations

import subprocess
import sys

LOST = """
import os, signal, weakref
from edgekit_runtimes.signals import Stopped, check_stop, clean_stop

class Thing:
    pass

rounds = 0
try:
    with clean_stop():
        thing = Thing()
        watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del thing  # the callback runs now, and Python ignores what it raises
        for rounds in range(1, 4):
            check_stop()
except Stopped as stop:
    print("stopped in round", rounds, "with", stop.code)
check_stop()  # forgotten once it was answered
"""


def test_a_signal_that_python_dropped_stops_the_next_round() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], check=False, capture_output=True, text=True, timeout=60)
    assert "Exception ignored in" in done.stderr
    assert done.stdout == "stopped in round 1 with 130\n"
    assert done.returncode == 0
