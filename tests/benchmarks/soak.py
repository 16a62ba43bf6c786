"""Run a bundle for long, and see whether memory, descriptors and threads stay the same.

    python -m tests.benchmarks.soak BUNDLE [--frames 100000] [--minutes 30]

Two runs at once, both with a results file and the live page as outputs: pictures on standard input as fast as they are
answered, until that many frames are through; and a Motion JPEG stream on loopback, live, for those minutes, whose
server closes the connection after every thousand frames. Every process of a run is counted. The figures of the first
tenth, in which caches fill, are left out.
"""

from __future__ import annotations

import argparse
import http.server
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tests.benchmarks.document import table
from tests.benchmarks.processes import family, reading

HEADINGS = [
    "run",
    "minutes",
    "frames answered",
    "memory at first, MB",
    "at the end",
    "MB an hour",
    "descriptors",
    "threads",
]
BOUNDARY = b"--frame"
PICTURES = 50
EVERY_SECONDS = 2.0
FRAMES_A_CONNECTION = 1000
STREAM_RATE = 60
WARM_SHARE = 0.1


@dataclass
class Series:
    """What the processes of a run took, over time.

    Attributes:
        seconds: When it was looked.
        memory: Resident megabytes.
        descriptors: Open files, sockets and pipes.
        threads: Threads.
    """

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, root: int, now: float) -> None:
        """Add a sample of a process and all that it started."""
        found = [sample for pid in family(root) if (sample := reading(pid)) is not None]
        if found:
            self.seconds.append(now)
            self.memory.append(sum(sample.resident for sample in found) / (1 << 20))
            self.descriptors.append(sum(sample.descriptors for sample in found))
            self.threads.append(sum(sample.threads for sample in found))

    def cells(self) -> list[str]:
        """Minutes aside, the columns of the table."""
        warm = int(len(self.seconds) * WARM_SHARE)
        seconds, memory = np.array(self.seconds[warm:]), np.array(self.memory[warm:])
        slope = float(np.polyfit(seconds, memory, 1)[0]) * 3600
        edge = max(len(memory) // 20, 1)
        counts = (self.descriptors[warm:], self.threads[warm:])
        return [
            f"{np.median(memory[:edge]):.1f}",
            f"{np.median(memory[-edge:]):.1f}",
            f"{slope:+.1f}",
            *(f"{min(values)} to {max(values)}" for values in counts),
        ]


def pictures() -> list[bytes]:
    """JPEGs of a disc that moves over noise."""
    random = np.random.default_rng(7)
    made = []
    for number in range(PICTURES):
        picture = random.integers(0, 90, (240, 320, 3), np.uint8)
        cv2.circle(picture, (20 + 5 * number, 120), 18, (240, 200, 40), -1)
        made.append(cv2.imencode(".jpg", picture)[1].tobytes())
    return made


def feed(process: subprocess.Popen[bytes], frames: int) -> None:
    """Write that many JPEGs to the process, as fast as it takes them."""
    made = pictures()
    assert process.stdin is not None
    with process.stdin as pipe:
        for number in range(frames):
            pipe.write(made[number % len(made)])


class Stream(http.server.BaseHTTPRequestHandler):
    """Motion JPEG; each connection ends after a thousand frames, as those of poor cameras do."""

    made = pictures()

    def do_GET(self) -> None:
        """Send frames at the rate of a fast camera."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(OSError):  # whoever watches may leave
            for number in range(FRAMES_A_CONNECTION):
                jpeg = self.made[number % len(self.made)]
                head = b"%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (BOUNDARY, len(jpeg))
                self.wfile.write(head + jpeg + b"\r\n")
                time.sleep(1 / STREAM_RATE)

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


def soaked(
    name: str, bundle: str, source: str, watch: Callable[[subprocess.Popen[bytes]], None], work: Path
) -> list[str]:
    """Run a bundle to the end of its input and return its row of the table.

    Args:
        name: Of the run.
        bundle: What answers.
        source: What it answers.
        watch: Called with the process; returns when enough has been seen.
        work: Folder for its results.
    """
    results = work / f"{name}.jsonl"
    command = [sys.executable, "-m", "edgekit.cli", "run", bundle, "-o", str(results), "-o", "page:0", "--", source]
    series, started = Series(), time.monotonic()
    with (work / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    watcher = threading.Thread(target=watch, args=(process,))
    watcher.start()
    while process.poll() is None:
        series.look(process.pid, time.monotonic() - started)
        time.sleep(EVERY_SECONDS)
    watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}:\n{(work / f'{name}.log').read_text()[-2000:]}")
    with results.open("rb") as lines:
        answered = sum(1 for _ in lines)
    return [name, f"{(time.monotonic() - started) / 60:.1f}", f"{answered:,}", *series.cells()]


def main() -> None:
    """Soak, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", choices=["pipe", "stream"])
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop_after(process: subprocess.Popen[bytes]) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(options.minutes * 60)
        process.terminate()

    inputs: dict[str, tuple[str, Callable[[subprocess.Popen[bytes]], None]]] = {
        "pipe": ("-?every=yes", lambda process: feed(process, options.frames)),
        "stream": (f"http://127.0.0.1:{server.server_address[1]}/", stop_after),
    }
    wanted = [options.only] if options.only else list(inputs)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        jobs = [pool.submit(soaked, name, options.bundle, *inputs[name], Path(folder)) for name in wanted]
        print(table(HEADINGS, [job.result() for job in jobs]))


if __name__ == "__main__":
    main()
