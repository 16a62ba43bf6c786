"""What serving costs over the bare pipeline: requests a second and latency at 1, 4 and 16 clients.

    EDGEKIT_DATA=... python -m tests.benchmarks.serve [--rounds 3] [--seconds 2]

Coral's MobileNetV2 (int8) is served by `edgekit serve`, one worker, one thread. Its clients are `tritonclient[http]`
with binary tensors and plain HTTP with JPEG photos, in a process of their own, each client with one request at a time.
The bare pipeline is a loop in one process on the same engine: `BoundEngine.run` on the same tensor, and
`Predictor.predict_batch` on the same photo. Bare and served are measured in turn; the table gives medians of the
rounds. The share of the bare rate is below 1 where the protocol costs time that the loop does not spend, and can exceed
1 for photos, because the server decodes one photo while it runs another.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.run_overhead import data, make_bundle

CLIENTS = (1, 4, 16)
SIDE = 224
HEADINGS = ("requests", "clients", "over the bare rate", "p50, ms", "p99, ms", "p50 over bare", "p99 over bare", "lost")
Call = Callable[[], None]


@dataclass(frozen=True)
class Round:
    """One measurement.

    Attributes:
        rate: Answers a second.
        p50: Median seconds of a request.
        p99: 99th percentile.
        lost: Requests without a good answer.
    """

    rate: float
    p50: float
    p99: float
    lost: int = 0


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", nargs=4, metavar=("PORT", "KIND", "COUNT", "PHOTO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        port, kind, count, photo = options.clients
        print(json.dumps(load(kind, int(port), int(count), Path(photo), options.seconds).__dict__))
        return
    print(f"| {' | '.join(HEADINGS)} |\n| {' | '.join(['---'] * len(HEADINGS))} |")
    for row in measure(options.rounds, options.seconds):
        print(f"| {' | '.join(row)} |", flush=True)


def measure(rounds: int, seconds: float) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    photo = sorted((data() / "imagenet_like" / "eval").glob("*.jpg"))[0]
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle").path
        for kind in ("tensors", "photos"):
            bare, served = _rounds(bundle, kind, photo, rounds, seconds)
            yield [f"{kind}, bare loop", "", "1", f"{1000 * bare.p50:.1f}", f"{1000 * bare.p99:.1f}", "1", "1", "0"]
            for count, found in served.items():
                yield [
                    kind,
                    str(count),
                    f"{found.rate / bare.rate:.2f}",
                    f"{1000 * found.p50:.1f}",
                    f"{1000 * found.p99:.1f}",
                    f"{found.p50 / bare.p50:.1f}",
                    f"{found.p99 / bare.p99:.1f}",
                    str(found.lost),
                ]


def _rounds(bundle: Path, kind: str, photo: Path, rounds: int, seconds: float) -> tuple[Round, dict[int, Round]]:
    """Measure the bare loop and the server in turn; return the median of each."""
    bare: list[Round] = []
    served: dict[int, list[Round]] = {count: [] for count in CLIENTS}
    with server(bundle) as port:
        for _ in range(rounds):
            bare.append(bare_loop(bundle, kind, photo, seconds))
            for count, found in served.items():
                found.append(_clients(port, kind, count, photo, seconds))
    return _median(bare), {count: _median(found) for count, found in served.items()}


def _median(found: Sequence[Round]) -> Round:
    return Round(
        rate=statistics.median(one.rate for one in found),
        p50=statistics.median(one.p50 for one in found),
        p99=statistics.median(one.p99 for one in found),
        lost=sum(one.lost for one in found),
    )


@contextmanager
def server(bundle: Path) -> Iterator[int]:
    """Run `edgekit serve`; gives the port."""
    command = [str(Path(sys.executable).parent / "edgekit"), "serve", str(bundle), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("ready at"))
        try:
            yield int(line.rpartition(":")[2])
        finally:
            process.terminate()


def bare_loop(bundle: Path, kind: str, photo: Path, seconds: float) -> Round:
    """Time the pipeline without a server."""
    import edgekit
    from edgekit.binding import BoundEngine

    with edgekit.load(bundle, threads=1) as predictor:
        bound = BoundEngine(
            predictor.engine, predictor.bundle.spec, predictor.artifact.inputs, predictor.artifact.outputs
        )
        feeds = {"image": picture()}
        if kind == "tensors":
            return _timed([lambda: _discard(bound.run(feeds))], seconds)
        return _timed([lambda: _discard(predictor.predict_batch([photo]))], seconds)


def _discard(_: object) -> None:
    pass


def picture() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The tensor that is sent."""
    return np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)


def _clients(port: int, kind: str, count: int, photo: Path, seconds: float) -> Round:
    """Run the clients in a process of their own."""
    words = [sys.executable, "-m", "tests.benchmarks.serve", "--seconds", str(seconds)]
    done = subprocess.run(
        [*words, "--clients", str(port), kind, str(count), str(photo)], check=True, capture_output=True, text=True
    )
    return Round(**json.loads(done.stdout))


def load(kind: str, port: int, count: int, photo: Path, seconds: float) -> Round:
    """Be the clients: each sends its next request when the last one is answered."""
    make = tensor_client if kind == "tensors" else photo_client
    return _timed([make(port, photo) for _ in range(count)], seconds)


def tensor_client(port: int, _: Path) -> Call:
    """A `tritonclient` that sends and receives binary tensors."""
    import tritonclient.http as triton

    client: list[Any] = []  # made in its own thread, where gevent wants it
    entry = triton.InferInput("image", [1, SIDE, SIDE, 3], "FP32").set_data_from_numpy(picture())

    def call() -> None:
        if not client:
            client.append(triton.InferenceServerClient(f"127.0.0.1:{port}"))
        assert client[0].infer("model", [entry]).as_numpy("scores").shape == (1, 1001)

    return call


def photo_client(port: int, photo: Path) -> Call:
    """A client that sends a JPEG over a connection that it keeps."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = photo.read_bytes()

    def call() -> None:
        connection.request("POST", "/v1/models/model/predict", body, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        assert answer["result"]["labels"]

    return call


def _timed(calls: Sequence[Call], seconds: float) -> Round:
    """Call each function in a thread of its own until the time is over, after one call that is not counted."""
    times: list[float] = []
    lost: list[Exception] = []
    barrier = threading.Barrier(len(calls) + 1)

    def repeat(call: Call) -> None:
        call()
        barrier.wait()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            try:
                call()
                times.append(time.perf_counter() - start)
            except Exception as error:  # noqa: PERF203  # counted, whatever it is
                lost.append(error)

    threads = [threading.Thread(target=repeat, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    return Round(len(times) / elapsed, p50, p99, len(lost))


if __name__ == "__main__":
    if "EDGEKIT_DATA" not in os.environ:
        sys.exit("EDGEKIT_DATA is not set")
    main()
