"""SIGTERM as an exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from edgekit.signals import Stopped, exit_code, terminable


def test_sigterm_unwinds_and_the_old_handler_comes_back() -> None:
    with pytest.raises(Stopped) as stopped, terminable():
        signal.raise_signal(signal.SIGTERM)
    assert exit_code(stopped.value) == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_keeps_its_code() -> None:
    with pytest.raises(KeyboardInterrupt) as stopped, terminable():
        signal.raise_signal(signal.SIGINT)
    assert exit_code(stopped.value) == 130


def test_who_ignores_sigterm_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_that_gets_no_signals_changes_nothing() -> None:
    found: list[object] = []

    def work() -> None:
        with terminable():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


CODE = """
import os, signal, sys
from edgekit.signals import terminable
with terminable():
    {}
"""


def ended(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE.format(body)], capture_output=True, text=True, check=False)


def test_the_second_sigterm_ends_a_process_that_does_not_end() -> None:
    body = "\n    ".join(
        [
            "try: signal.raise_signal(signal.SIGTERM)",
            "except KeyboardInterrupt: signal.raise_signal(signal.SIGTERM)",
            "print('still here')",
        ]
    )
    done = ended(body)
    assert (done.returncode, done.stdout) == (143, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_is_ended_at_once() -> None:
    body = "\n    ".join(
        [
            "child = os.fork()",
            "if child == 0:",
            "    try: signal.raise_signal(signal.SIGTERM)",
            "    finally: print('unwound', flush=True)",
            "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        ]
    )
    assert ended(body).stdout == "143\n"
