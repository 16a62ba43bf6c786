"""Running an artifact in a child process, so that a model that kills its runtime kills only the child.

A damaged or hostile model file can make a native runtime write where it must not: of 300 mutated ``.tflite`` files
a handful end their process. What was never run before is therefore opened here first.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit import errors
from edgekit.engine import Array, Engine, Feeds, TensorInfo
from edgekit.errors import EdgeKitError, ModelRefused
from edgekit.notices import handed_on
from edgekit.wire import WireError, receive, send

# Not `python -m`, which would look for modules in the current folder first: a stray numpy.py there would run.
_START = "import sys; sys.path[:] = [p for p in sys.path if p]; from edgekit.worker import main; main()"
_STDERR_SHOWN = 4000
_CLOSE_SECONDS = 2.0


class ChildFailure(RuntimeError):
    """What the child wrote before it ended; the cause of the error that the user sees, shown under ``--debug``."""


class EngineProcess(Engine):
    """An engine that opens and runs its artifact in a child process. Use as a context manager.

    Args:
        path: A ``.tflite`` or ``.onnx`` file.
        engine: Engine name; by default the built-in one for the format.
        threads: Threads of the engine; ``None`` lets it choose.
        timeout: Seconds that opening or one request may take; ``None`` means no limit.

    Attributes:
        name: Name of the engine inside.
        seconds: Wall time of the last run in seconds, measured in the child.
        peak_rss: Largest resident memory of the child so far in bytes; ``None`` where the system does not say.
        pid: Process id of the child.

    Raises:
        ModelRefused: The file cannot be loaded, or it crashed the runtime; also while running. Errors of the engine
            arrive as the class they were raised as.
    """

    formats = ("tflite", "onnx")

    def __init__(
        self, path: Path, engine: str | None = None, *, threads: int | None = None, timeout: float | None = None
    ) -> None:
        self.path = path
        self.timeout = timeout
        self.seconds: float | None = None
        self.peak_rss: int | None = None
        self._timed_out = False
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        with handed_on() as notices:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is the parent's to handle
                **notices,
            )
        self.pid = self._child.pid
        try:
            about, _ = self._ask({"path": str(path), "engine": engine, "threads": threads})
        except BaseException:
            self.close()
            raise
        self.name = about["name"]  # type: ignore[misc]  # one class stands for every engine
        self._version = str(about["version"])
        self.inputs = tuple(_tensor(raw) for raw in about["inputs"])
        self.outputs = tuple(_tensor(raw) for raw in about["outputs"])

    @property
    def version(self) -> str:
        """Version of the engine's library in the child."""
        return self._version

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        header, outputs = self._ask({"operation": "run"}, feeds)
        self.seconds = float(header["seconds"])
        return outputs

    def latency(self, feeds: Feeds, repeats: int) -> list[float]:
        """Run several times on the same feeds, after one run that is not counted.

        Args:
            feeds: Artifact tensor name -> array, as for `run`.
            repeats: Number of timed runs.

        Returns:
            Wall time of each run in seconds, measured in the child: without the pipe.
        """
        header, _ = self._ask({"operation": "latency", "repeats": repeats}, feeds)
        return [float(seconds) for seconds in header["latency"]]

    def close(self) -> None:
        """End the child."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._end()
        self._stderr.close()

    def _ask(self, request: Mapping[str, Any], arrays: Feeds | None = None) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send a request and wait for the answer; raise what the child raised."""
        requests, answers = self._child.stdin, self._child.stdout
        if requests is None or answers is None or requests.closed:
            raise RuntimeError("the engine process is closed")
        with self._lock:
            timer = self._start_timer()
            try:
                send(requests, request, arrays)  # type: ignore[arg-type]  # bufsize=0 gives raw binary pipes
                header, outputs = receive(answers)  # type: ignore[arg-type]
            except (OSError, WireError):
                code = self._end()
                raise self._verdict(code) from ChildFailure(self._last_words())
            except BaseException:  # Ctrl-C in between leaves half a message in the pipe: nothing more can be asked
                self._child.kill()
                raise
            finally:
                if timer is not None:
                    timer.cancel()
        self.peak_rss = header.get("peak_rss")
        if "error" in header:
            raise _rebuilt(header["error"])
        if "slip" in header:
            raise ModelRefused(f"{self.path} failed in its runtime: {header['slip']}") from ChildFailure(
                header["traceback"]
            )
        return header, outputs

    def _start_timer(self) -> threading.Timer | None:
        if self.timeout is None:
            return None
        timer = threading.Timer(self.timeout, self._give_up)
        timer.daemon = True
        timer.start()
        return timer

    def _give_up(self) -> None:
        self._timed_out = True
        self._child.kill()

    def _end(self) -> int:
        """Wait for a child that is ending, kill one that spoke nonsense, and return its exit code."""
        try:
            return self._child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def _last_words(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read()[-_STDERR_SHOWN:].decode("utf-8", "replace").strip()
        return said or "the child wrote nothing"

    def _verdict(self, code: int) -> EdgeKitError:
        if self._timed_out:
            return ModelRefused(
                f"{self.path} gave no answer within {self.timeout:g} s",
                remedy="allow more time, or use a smaller model",
            )
        if code == -signal.SIGKILL:
            return ModelRefused(
                f"the process running {self.path} was killed (SIGKILL)",
                expected="enough memory for the model",
                remedy="close other programs or use a machine with more memory",
            )
        if code < 0:
            return ModelRefused(
                f"{self.path} crashed the runtime ({signal.Signals(-code).name})",
                remedy="copy or convert it again; a file that crashes a runtime is damaged or hostile",
            )
        return ModelRefused(f"the process running {self.path} ended with exit code {code}")


def _tensor(raw: list[Any]) -> TensorInfo:
    name, shape, dtype, scale, zero_point = raw
    return TensorInfo(name, tuple(shape), dtype, scale, zero_point)


def _rebuilt(raw: list[Any]) -> EdgeKitError:
    name, received, expected, remedy = raw
    kind: type[EdgeKitError] = getattr(errors, name) if name in errors.__all__ else EdgeKitError
    return kind(received, expected=expected, remedy=remedy)
