"""Captures in a child process: a native read that blocks for ever, or crashes, costs a child and not the program.

The child (`edgekit_runtimes.inputs.opencv_capture`) writes RGB pictures into two places of a memory that both
processes map; a line of JSON on its standard output says which place is new, one byte back says that it was copied.
The memory has no name, so that nothing is left behind however either process ends.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import errors
from edgekit.errors import EdgeKitError, EnvironmentFault
from edgekit_runtimes.inputs.live import Capture
from edgekit_runtimes.inputs.newest import Shot

# Not `python -m`, which would look for modules in the current folder first: a stray numpy.py there would run.
_START = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from edgekit_runtimes.inputs.opencv_capture import main; main()"
)
_LONGEST_LINE = 1 << 16
_STOP_SECONDS = 0.5
_START_SECONDS = 5.0


class ChildCapture(Capture):
    """A capture that runs in a child process.

    Args:
        name: What to call it in messages; without any password.
        request: What the child opens: a `Request` of ``opencv_capture`` as a dictionary. It is handed over through a
            pipe, where no other user of the machine sees a password.
        timeout: Seconds without a picture after which the child is killed, and that the device or server has to open.
    """

    def __init__(self, name: str, request: dict[str, Any], timeout: float) -> None:
        self._name = name
        self._request = request
        self._timeout = timeout
        self._guard = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self._memory: mmap.mmap | None = None
        self._places: list[NDArray[np.uint8]] = []
        self._pending = b""
        self._wake, self._waker = os.pipe()

    @property
    def pid(self) -> int | None:
        """Process id of the child, once started."""
        return None if self._child is None else self._child.pid

    def open(self) -> None:
        """Start the child and wait until it has opened the device or server."""
        shared = _nameless_file()
        try:
            self._start(shared)
            # Importing OpenCV takes the child a second or two on a small board: not the camera's fault.
            about = self._message(self._timeout + _START_SECONDS)
            height, width = about["size"]
            size = height * width * 3
            self._memory = mmap.mmap(shared, 2 * size)
        finally:
            os.close(shared)
        self.rate = float(about["rate"])
        for place in range(2):
            flat = np.frombuffer(self._memory, np.uint8, size, place * size)
            self._places.append(flat.reshape(height, width, 3))

    def read(self) -> Shot | None:
        """Wait for the next picture and copy it."""
        message = self._message(self._timeout)
        place = int(message["place"])
        shot = Shot(self._places[place].copy(), float(message["captured"]), int(message["missed"]))
        self._send(bytes([place]))
        return shot

    def stop(self) -> None:
        """Wake whoever waits for the child, and ask it to end; `close` kills it if it does not."""
        with self._guard:
            if not self._stopped:
                os.close(self._waker)
            self._stopped = True
            if self._child is not None and self._child.stdin is not None:
                self._child.stdin.close()

    def close(self) -> None:
        """End the child, if need be by killing it, and give the memory back."""
        self.stop()
        child = self._child
        if child is not None:
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
        os.close(self._wake)
        self._places.clear()
        if self._memory is not None:
            self._memory.close()

    def _start(self, shared: int) -> None:
        with self._guard:
            if self._stopped:
                raise EnvironmentFault(f"{self._name} was closed")
            self._child = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=[shared],
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        self._send(json.dumps({**self._request, "memory": shared}).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        with self._guard:
            if self._stopped or self._child is None or self._child.stdin is None:
                return
            with suppress(BrokenPipeError):  # the child has ended: the next message says why
                self._child.stdin.write(data)

    def _message(self, seconds: float) -> dict[str, Any]:
        line = self._line(time.monotonic() + seconds)
        if line is None:
            raise EnvironmentFault(
                f"{self._name} gave no picture for {self._timeout:g} s",
                remedy="see whether it is plugged in, or reachable from here, and not in use by another program",
            )
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise _rebuilt(message["error"])
        return message

    def _line(self, deadline: float) -> bytes | None:
        """Wait for a line from the child; ``None`` when the deadline has passed."""
        if self._child is None or self._child.stdout is None:
            raise RuntimeError("the capture is not open")
        pipe = self._child.stdout.fileno()
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            ready = select.select([pipe, self._wake], [], [], left)[0] if left > 0 else []
            if not ready:
                self._child.kill()
                return None
            if self._wake in ready:
                raise EnvironmentFault(f"{self._name} was closed")
            received = os.read(pipe, _LONGEST_LINE)
            if not received or len(self._pending) > _LONGEST_LINE:
                raise self._verdict()
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _verdict(self) -> EnvironmentFault:
        """Say how the child ended."""
        assert self._child is not None  # noqa: S101  # only called after it was started
        try:
            code = self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return EnvironmentFault(f"{self._name} was lost: its capture process ended with {how}")


def _nameless_file() -> int:
    """Open memory that a child can inherit and that has no name to leak."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _rebuilt(raw: list[Any]) -> EdgeKitError:
    name, received, expected, remedy = raw
    kind: type[EdgeKitError] = getattr(errors, name) if name in errors.__all__ else EnvironmentFault
    return kind(received, expected=expected, remedy=remedy)
