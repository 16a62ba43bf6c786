"""Live sources over a real HTTP server: the newest frame, lost and found again, silent, frozen."""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.inputs.frames import FrameSource
from edgekit_runtimes.inputs.live import Backoff, LiveSource, Repetition
from edgekit_runtimes.inputs.newest import NewestShot, Shot
from edgekit_runtimes.inputs.open import open_frames

from .conftest import MjpegServer, Scene, free_port, jpeg, number_in, picture, until

Start = Callable[[Scene], MjpegServer]
SOON = Backoff(0.01, 0.05)


def live(uri: str, *, wait: bool = False, timeout: float = 5.0, stale_after: float = 10.0) -> FrameSource:
    source = open_frames(uri, wait=wait, timeout=timeout, stale_after=stale_after, backoff=SOON)
    assert source is not None
    assert source.live
    return source


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_frames_come_as_rgb_with_the_number_and_time_of_their_arrival(mjpeg_server: Start) -> None:
    server = mjpeg_server(Scene([jpeg(number) for number in range(0, 200, 10)]))
    with live(server.url) as source:
        frames = list(islice(source, 5))
        assert source.name == server.url
    shown = [number_in(frame.picture) for frame in frames]
    assert shown == sorted(shown)
    assert [frame.number for frame in frames] == [round(number / 10) for number in shown]
    assert all(0 <= time.monotonic() - frame.captured < 10 for frame in frames)
    assert frames[0].picture.shape == (48, 64, 3)


def test_a_source_ten_times_faster_than_its_consumer(mjpeg_server: Start) -> None:
    """Fault 21: frames are new, those dropped are counted, memory stays."""
    parts = [jpeg(number, 1280, 720) for number in range(5)]
    server = mjpeg_server(Scene(parts, interval=0.01))
    think, taken = 0.1, 40
    ages = []
    with live(server.url) as source:
        frames = iter(source)
        next(frames)
        before = resident()
        for frame in islice(frames, taken):
            ages.append(time.monotonic() - frame.captured)
            threading.Event().wait(think)
        grown = resident() - before
        status = source.status
    assert np.percentile(ages, 99) <= 2 * think
    assert status.dropped >= 4 * taken
    assert status.frames - status.dropped - (taken + 1) in (0, 1)  # the last may still wait to be taken
    assert grown < 40e6 < status.dropped * len(parts[0])


def resident() -> int:
    """Memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_server_that_was_stopped_is_found_again_and_the_gap_reported(mjpeg_server: Start) -> None:
    """Fault 18."""
    server = mjpeg_server(Scene([jpeg(number) for number in range(200)]))
    with live(server.url) as source:
        frames = iter(source)
        next(frames)
        stopped = time.monotonic()
        server.stop()
        until(lambda: source.status.state == "waiting")
        assert source.status.problem.startswith(server.url)
        server.start()
        away = time.monotonic() - stopped
        last = next(frame for frame in frames if frame.captured > stopped + away)
        status = source.status
    assert last.number > 0
    assert status.reconnects == len(status.gaps) == 1
    assert away - 0.5 < status.gaps[0] < away + 5
    assert (status.state, status.problem) == ("running", "")
    assert source.status.state == "ended"


def test_memory_and_descriptors_stay_over_many_stops(mjpeg_server: Start) -> None:
    """Fault 18: a thousand times, each with a connection of its own."""
    server = mjpeg_server(Scene([jpeg(number) for number in range(200)], interval=0, per_connection=2))
    with open_source(server.url, Backoff(0.0, 0.0)) as source:
        consumer = threading.Thread(target=lambda: [None for _ in source])
        consumer.start()
        until(lambda: source.status.reconnects > 100, 30)
        tracemalloc.start()
        memory, descriptors, threads = tracemalloc.get_traced_memory()[0], count_open(), threading.active_count()
        until(lambda: source.status.reconnects > 1100, 60)
        assert tracemalloc.get_traced_memory()[0] - memory < 400_000
        tracemalloc.stop()
        assert abs(count_open() - descriptors) < 10
        assert abs(threading.active_count() - threads) < 6
        assert len(source.status.gaps) == 100
    consumer.join(2)
    assert not consumer.is_alive()


def open_source(uri: str, backoff: Backoff) -> FrameSource:
    source = open_frames(uri, backoff=backoff)
    assert source is not None
    return source


def count_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_silent_server_is_lost_within_the_timeout_and_its_password_not_shown(silent_port: int) -> None:
    """Fault 20."""
    start = time.monotonic()
    with (
        live(f"http://bob:s3cret@127.0.0.1:{silent_port}/a", timeout=0.3) as source,
        pytest.raises(EnvironmentFault) as caught,
    ):
        next(iter(source))
    assert time.monotonic() - start < 2
    assert "no answer or picture within 0.3 s" in str(caught.value)
    assert "s3cret" not in str(caught.value) + source.name + repr(source.status)


def test_a_server_that_trickles_is_lost_within_the_timeout() -> None:
    """A byte now and then keeps a socket's own timeout from ever passing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def trickle() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                while not done.wait(0.05):
                    client.sendall(b"H")

        thread = threading.Thread(target=trickle)
        thread.start()
        start = time.monotonic()
        with (
            live(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.4) as source,
            pytest.raises(EnvironmentFault, match=r"within 0\.4 s"),
        ):
            next(iter(source))
        assert time.monotonic() - start < 2
        done.set()
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_server_that_speaks_no_http_is_told(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with (
            live(f"http://127.0.0.1:{server.getsockname()[1]}/") as source,
            pytest.raises(EnvironmentFault, match="ended the connection, or does not speak HTTP"),
        ):
            next(iter(source))
        thread.join()


def test_a_server_that_falls_silent_is_opened_again(mjpeg_server: Start) -> None:
    scene = Scene([jpeg(number) for number in range(200)])
    server = mjpeg_server(scene)
    with live(server.url, timeout=0.3) as source:
        frames = iter(source)
        next(frames)
        scene.silent.set()
        until(lambda: source.status.state == "waiting")
        assert "within 0.3 s" in source.status.problem
        scene.silent.clear()
        until(lambda: source.status.reconnects == 1)
        next(frames)
        assert source.status.gaps[0] >= 0.3


def test_one_picture_for_ever_counts_as_lost_until_another_comes(mjpeg_server: Start) -> None:
    """Fault 19."""
    scene = Scene([jpeg(7)])
    server = mjpeg_server(scene)
    with live(server.url, stale_after=0.2) as source:
        frames = iter(source)
        next(frames)
        until(lambda: source.status.state == "waiting")
        assert "the same picture for 0.2 s" in source.status.problem
        until(lambda: len(scene.seen) >= 3)  # opened again, and found frozen again
        assert source.status.reconnects == 0
        scene.parts = [jpeg(number) for number in range(100, 120)]
        until(lambda: source.status.reconnects == 1)
        assert next(frame for frame in frames if number_in(frame.picture) >= 99)
        assert source.status.gaps[0] >= 0.2


def test_a_picture_may_stand_still_where_that_is_meant(mjpeg_server: Start) -> None:
    server = mjpeg_server(Scene([jpeg(7)]))
    with live(f"{server.url}#frozen=ok", stale_after=0.05) as source:
        frames = list(islice(source, 20))
        assert frames[-1].captured - frames[0].captured > 0.1
        assert source.status.reconnects == 0


def test_damaged_parts_are_skipped_and_counted(mjpeg_server: Start) -> None:
    whole = jpeg(10)
    broken = bytearray(whole)
    broken[2:200] = b"x" * 198  # starts and ends as a JPEG
    scene = Scene([whole, whole[:500], bytes(broken), jpeg(60)], lengths=False)
    server = mjpeg_server(scene)
    with live(server.url) as source:
        shown = {number_in(frame.picture) for frame in islice(source, 10)}
        assert shown == {10, 60}
        assert source.status.damaged >= 4
        assert source.status.reconnects == 0


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (Scene([b""], status=401), r"refuses the user or password \(HTTP 401\)"),
        (Scene([b""], status=404), "answers HTTP 404"),
        (Scene([b""], content_type="text/html"), "answers with text/html; expected an MJPEG stream"),
    ],
)
def test_answers_that_are_no_stream_are_refused(mjpeg_server: Start, scene: Scene, said: str) -> None:
    server = mjpeg_server(scene)
    with live(server.url) as source, pytest.raises(EnvironmentFault, match=said):
        next(iter(source))


def test_user_and_password_are_sent_and_the_options_are_not(mjpeg_server: Start) -> None:
    scene = Scene([jpeg(number) for number in range(9)])
    server = mjpeg_server(scene)
    uri = server.url.replace("://", "://bob:s%40cret@") + "#frozen=ok"
    with live(uri) as source:
        next(iter(source))
        assert source.name == server.url.replace("://", "://bob:***@")
    assert scene.seen[0]["Authorization"] == "Basic Ym9iOnNAY3JldA=="  # bob:s@cret


def test_absent_at_the_start_is_an_error_or_waited_for(mjpeg_server: Start) -> None:
    """Fault 17."""
    port = free_port()
    with live(f"http://127.0.0.1:{port}/a") as source, pytest.raises(EnvironmentFault, match="connection refused"):
        next(iter(source))
    server = mjpeg_server(Scene([jpeg(number) for number in range(200)]))
    server.stop()
    with live(server.url, wait=True) as source:
        until(lambda: source.status.state == "waiting")
        server.start()
        assert next(iter(source)).number == 0
        assert source.status.reconnects == 0


def test_closing_wakes_who_waits_for_a_frame(silent_port: int) -> None:
    source = live(f"http://127.0.0.1:{silent_port}/a", timeout=60)
    ended = threading.Event()

    def consume() -> None:
        assert list(source) == []
        ended.set()

    thread = threading.Thread(target=consume)
    thread.start()
    start = time.monotonic()
    source.close()
    assert ended.wait(1)
    thread.join()
    assert time.monotonic() - start < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("capture")]


def test_the_wait_doubles_up_to_a_limit_and_varies() -> None:
    backoff = Backoff()
    for attempt, most in enumerate((0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)):
        drawn = [backoff.seconds(attempt) for _ in range(50)]
        assert most / 2 <= min(drawn) < max(drawn) <= most
    assert backoff.seconds(10_000) <= 30


def test_a_change_of_one_pixel_outside_the_sample_is_seen() -> None:
    seen = Repetition()
    still = picture(1)
    changed = still.copy()
    changed[5, 5] ^= 255
    assert [seen.sees(Shot(shot, 1.0)) for shot in (still, still, still)] == [False, True, True]
    assert not seen.sees(Shot(changed, 2.0))
    assert seen.since == 2.0


def test_the_newest_shot_replaces_one_that_nobody_took() -> None:
    newest = NewestShot()
    shots = [Shot(picture(number), float(number)) for number in range(3)]
    newest.put(shots[0])
    newest.put(Shot(picture(1), 1.0, missed=4))
    newest.put(shots[2])
    assert newest.take() == (shots[2], 6)
    assert (newest.status.frames, newest.status.dropped) == (7, 6)
    newest.put(shots[0])
    newest.end(EnvironmentFault("gone"))
    assert newest.take() == (shots[0], 7)
    with pytest.raises(EnvironmentFault, match="gone"):
        newest.take()


def test_a_slip_in_a_capture_reaches_the_consumer(tmp_path: Path) -> None:
    with LiveSource("broken", lambda: 1 / 0) as source, pytest.raises(ZeroDivisionError):  # type: ignore[arg-type,return-value]
        next(iter(source))
