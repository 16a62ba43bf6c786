"""The child's side of `EngineProcess`: opens one artifact and runs it for the parent.

Started by `edgekit.isolate`; not a command for people. The parent's messages come on standard input and the
answers go out on standard output; both are moved out of the way first, so that native code which prints cannot
break the protocol.
"""

from __future__ import annotations

import os
import select
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from edgekit.engine import Array, Engine, Feeds, TensorInfo, open_engine
from edgekit.errors import EdgeKitError
from edgekit.wire import WireError, receive, send

Reply = tuple[dict[str, Any], Mapping[str, Array]]


def main() -> None:
    """Serve until the parent closes its end."""
    requests, answers = _take_over_pipes()
    threading.Thread(target=_end_with_parent, args=(requests.fileno(),), daemon=True).start()
    engine: Engine | None = None
    while True:
        try:
            request, arrays = receive(requests)
        except WireError:
            break
        try:
            if engine is None:
                engine = open_engine(Path(request["path"]), request["engine"], threads=request["threads"])
                reply: Reply = (_description(engine), {})
            else:
                reply = _OPERATIONS[request["operation"]](engine, request, arrays)
        except EdgeKitError as error:
            reply = ({"error": _described(error)}, {})
        except Exception as error:  # whatever an engine lets slip reaches the parent as text
            reply = ({"slip": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, {})
        send(answers, {**reply[0], "peak_rss": peak_rss()}, reply[1])
    os._exit(0)  # skips the destructors of native libraries, some of which crash


def peak_rss() -> int | None:
    """Largest resident memory of this process so far in bytes; ``None`` where the system does not say.

    ``getrusage`` would do, but on Linux it starts with the memory of the parent that forked.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            lines = [line.split() for line in status if line.startswith("VmHWM:")]
        return int(lines[0][1]) * 1024
    except (OSError, IndexError, ValueError):
        return None


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb", buffering=0), os.fdopen(answers, "wb", buffering=0)


def _end_with_parent(requests: int) -> None:
    """Exit when the parent's end of the pipe closes, even in the middle of a long run."""
    poll = select.poll()
    poll.register(requests, 0)  # a hang-up is always reported
    poll.poll()
    os._exit(0)


def _run(engine: Engine, request: dict[str, Any], feeds: Feeds) -> Reply:
    start = time.perf_counter()
    outputs = engine.run(feeds)
    return {"seconds": time.perf_counter() - start}, outputs


def _latency(engine: Engine, request: dict[str, Any], feeds: Feeds) -> Reply:
    engine.run(feeds)
    seconds = []
    for _ in range(int(request["repeats"])):
        start = time.perf_counter()
        engine.run(feeds)
        seconds.append(time.perf_counter() - start)
    return {"latency": seconds}, {}


_OPERATIONS: dict[str, Callable[[Engine, dict[str, Any], Feeds], Reply]] = {"run": _run, "latency": _latency}


def _description(engine: Engine) -> dict[str, Any]:
    return {
        "name": engine.name,
        "version": engine.version,
        "inputs": [_tensor(info) for info in engine.inputs],
        "outputs": [_tensor(info) for info in engine.outputs],
    }


def _tensor(info: TensorInfo) -> list[Any]:
    return [info.name, list(info.shape), info.dtype, info.scale, info.zero_point]


def _described(error: EdgeKitError) -> list[str | None]:
    """Name an error by the first of its classes that `edgekit.errors` defines."""
    known = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == EdgeKitError.__module__)
    return [known, error.received, error.expected, error.remedy]
