"""Live sound: a microphone through ALSA's recorder, or another program's samples on standard input.

`arecord` is a child process of its own: a device that hangs costs a child, and no Python package is needed. What it
writes is read all the time, so that the newest window is always that of now; windows nobody takes are counted.
"""

from __future__ import annotations

import os
import select
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EnvironmentFault, MissingExtra, UsageError
from edgekit.tasks.base import Task
from edgekit.tasks.sound import SoundTask
from edgekit_runtimes.inputs.frames import FrameSource
from edgekit_runtimes.inputs.live import Capture, LiveSource
from edgekit_runtimes.inputs.newest import Shot
from edgekit_runtimes.inputs.uri import Address, parse

_BLOCK = 1 << 16
_STOP_SECONDS = 0.5


class PcmCapture(Capture):
    """Overlapping windows of 16-bit samples that a program writes.

    Args:
        name: What to call it in messages.
        command: The program, run as a child; ``None`` reads ``descriptor``.
        window: Samples of a window.
        step: Samples between the starts of two.
        timeout: Seconds without a sample after which a child counts as lost; ``None`` waits for ever.
        descriptor: Where to read without a command.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str] | None,
        *,
        window: int,
        step: int,
        timeout: float | None,
        descriptor: int = 0,
    ) -> None:
        self._name, self._command, self._timeout = name, command, timeout
        self._window, self._step = 2 * window, 2 * step
        self._from = descriptor
        self._buffer = bytearray()
        self._guard = threading.Lock()
        self._wake, self._waker = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the child."""
        if self._command is None:
            return
        if shutil.which(self._command[0]) is None:
            raise MissingExtra(
                f"{self._name}: the program {self._command[0]} is not installed", remedy="apt-get install alsa-utils"
            )
        self._child = subprocess.Popen(
            list(self._command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self._child.stdout is not None  # noqa: S101  a pipe was asked for
        self._from = self._child.stdout.fileno()

    def read(self) -> Shot | None:
        """Wait for the next window: ``(window,)`` int16.

        Raises:
            EnvironmentFault: The child ended, or gives no samples.
        """
        while len(self._buffer) < self._window:
            ready, _, _ = select.select([self._from, self._wake], [], [], self._timeout)
            if self._wake in ready:
                return None
            if not ready:
                raise EnvironmentFault(
                    f"{self._name} gave no sound for {self._timeout:g} s",
                    remedy="see whether it is plugged in and not in use by another program: arecord -l",
                )
            data = os.read(self._from, _BLOCK)
            if not data:
                if self._child is None:
                    return None
                raise self._verdict()
            self._buffer += data
        window = np.frombuffer(bytes(self._buffer[: self._window]), "<i2")
        del self._buffer[: self._step]
        return Shot(_as_shot(window), time.monotonic())

    def stop(self) -> None:
        """Wake `read`, and end the child."""
        with self._guard:
            if self._waker >= 0:
                os.close(self._waker)
                self._waker = -1
        child = self._child
        if child is not None:
            with suppress(ProcessLookupError):
                child.terminate()

    def close(self) -> None:
        """End the child, if need be by killing it."""
        self.stop()
        child = self._child
        if child is not None:
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
        with self._guard:
            if self._wake >= 0:
                os.close(self._wake)
                self._wake = -1

    def _verdict(self) -> EnvironmentFault:
        assert self._child is not None  # noqa: S101  only called with a child
        assert self._child.stderr is not None  # noqa: S101  a pipe was asked for
        try:
            code = self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        said = self._child.stderr.read(_BLOCK).decode("utf-8", "replace").strip().splitlines()
        return EnvironmentFault(
            f"{self._name} was lost: {said[-1] if said else f'its recorder ended with exit code {code}'}",
            remedy="arecord -L lists the devices",
        )


def open_listening(task: Task, inputs: Sequence[str], *, wait: bool, timeout: float) -> FrameSource | None:
    """Open live sound, the only input then; ``None`` where the inputs are files.

    Args:
        task: Says how long a window is, and the sampling rate.
        inputs: Words of the command line.
        wait: Whether to keep trying where a microphone is absent at the start.
        timeout: Seconds without sound after which it is opened again.

    Raises:
        UsageError: Live sound among other inputs, or at another rate than the model's.
    """
    found = [address for word in inputs if not os.path.exists(word) and (address := parse(word)) is not None]
    address = next((address for address in found if _is_live(address)), None)
    if address is None or not isinstance(task, SoundTask):
        return None
    if len(inputs) > 1:
        raise UsageError(f"{address.name} among {len(inputs)} inputs", expected="one live source, alone")
    rate = task.sound.sample_rate
    if address.options.pcm not in (None, rate):
        raise UsageError(
            f"{address.name}: {address.options.pcm} samples a second, live", expected=f"{rate}, the model's",
            remedy=f"resample what is written, or hear every window in turn: -?pcm={address.options.pcm}&every=yes",
        )  # fmt: skip
    command = recorder(address.device, rate) if address.kind == "mic" else None
    return LiveSource(
        address.name,
        lambda: PcmCapture(
            address.name,
            command,
            window=task.sound.window,
            step=task.sound.step,
            timeout=timeout if command else None,
        ),
        wait=wait,
        stale_after=None,  # silence repeats
    )


def recorder(device: str, rate: int) -> list[str]:
    """Return the command that records from an ALSA device."""
    return ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate), "-D", device]


def _is_live(address: Address) -> bool:
    if address.kind == "mic":
        return True
    piped = address.kind == "stdin" and address.options.pcm is not None and not address.options.every
    return piped and not stat.S_ISREG(os.fstat(0).st_mode)


def _as_shot(window: NDArray[np.int16]) -> NDArray[np.uint8]:
    """A slot of the newest window takes arrays as they are."""
    return window  # type: ignore[return-value]
