"""The live page as programs see it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from edgekit.errors import EnvironmentFault, UsageError
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes.outputs import page_server
from edgekit_runtimes.outputs.newest import Newest, temperature
from edgekit_runtimes.outputs.page import Page
from edgekit_runtimes.outputs.sink import Answer
from tests.runtimes.outputs.waiting import eventually

AnswerMaker = Callable[..., Answer]


@pytest.fixture
def thermal(tmp_path: Path) -> Path:
    """Thermal zones as a Jetson has them: one that is off, and one hotter than the processor."""
    for number, (kind, text) in enumerate([("GPU-therm", "71500"), ("CPU-therm", "48250"), ("CV0-therm", None)]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}\n")
        if text:
            (zone / "temp").write_text(f"{text}\n")
    return tmp_path


@pytest.fixture
def page(thermal: Path) -> Iterator[Page]:
    with Page(port=0, thermal=thermal, title="cats & <dogs>") as opened:
        assert isinstance(opened, Page)
        yield opened


def decoded(jpeg: bytes) -> np.ndarray:
    """Return a picture, BGR."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


class Reply:
    """An answer of the server."""

    def __init__(self, got: http.client.HTTPResponse) -> None:
        self.code, self.headers, self.body = got.status, got.headers, got.read()


def ask(page: Page, path: str, *, method: str = "GET", **headers: str) -> Reply:
    address = urlsplit(page.url)
    with closing(http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        return Reply(connection.getresponse())


class Viewer:
    """Watches the stream."""

    def __init__(self, page: Page, *, buffer: int = 0) -> None:
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", urlsplit(page.url).port or 0))
        self._socket.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self._file = self._socket.makefile("rb")
        self.status = self._file.readline().decode()

    def picture(self) -> np.ndarray:
        """Return the next picture, BGR; raises EOFError at the end of the stream."""
        length = 0
        while (line := self._file.readline()) != b"\r\n" or not length:
            if not line:
                raise EOFError
            found = re.match(rb"Content-Length: (\d+)", line)
            length = int(found[1]) if found else length
        return decoded(self._file.read(length))

    def until(self, gray: float) -> None:
        """Take pictures until one has this mean."""
        while abs(self.picture().mean() - gray) > 2:
            pass

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def watch(page: Page) -> Iterator[Callable[..., Viewer]]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(closing(Viewer(page, **more)))


def test_the_address_has_the_real_port(page: Page) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", page.url)
    assert page.notice == f"live page: {page.url}"


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    reply = ask(page, "/")
    text = reply.body.decode()
    assert reply.code == 200
    assert "<title>cats &amp; &lt;dogs&gt;" in text
    assert "{{" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:,)", text)
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
    assert f"script-src 'nonce-{nonce}'" in policy
    assert nonce not in ask(page, "/").body.decode()


def test_status(page: Page, make_answer: AnswerMaker, photo: np.ndarray) -> None:
    assert json.loads(ask(page, "/status.json").body) == {"state": "waiting", "temperature": 48.25}
    page.answer(make_answer("camera:0 frame 7", picture=photo, captured=1.0, age=0.02, rate=12.5, dropped=3))
    status = json.loads(ask(page, "/status.json").body)
    assert 0 <= status.pop("since") < 10
    assert status == {
        "state": "running",
        "temperature": 48.25,
        "input": "camera:0 frame 7",
        "text": "cat 75.0 %, dog 25.0 %",
        "labels": [{"name": "cat", "score": 0.75}, {"name": "dog", "score": 0.25}],
        "picture": True,
        "answers": 1,
        "age": 0.02,
        "rate": 12.5,
        "dropped": 3,
    }


def test_a_number_that_is_none_does_not_break_the_status(page: Page, make_answer: AnswerMaker) -> None:
    page.answer(make_answer(score=float("nan")))
    assert json.loads(ask(page, "/status.json").body)["labels"][0] == {"name": "cat", "score": None}


def test_temperature_of_zones(thermal: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert temperature(thermal) == 48.25
    (thermal / "thermal_zone1" / "type").unlink()
    assert temperature(thermal) == 71.5
    assert temperature(tmp_path_factory.mktemp("none")) is None


def test_snapshot(page: Page, make_answer: AnswerMaker, photo: np.ndarray) -> None:
    assert ask(page, "/snapshot.jpg").code == 404
    page.answer(make_answer(picture=photo))
    reply = ask(page, "/snapshot.jpg")
    shown = cv2.cvtColor(decoded(reply.body), cv2.COLOR_BGR2RGB)
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert np.abs(shown.astype(int) - photo).mean() < 8


def test_large_pictures_are_reduced_and_other_results_drawn(page: Page) -> None:
    page.answer(Answer("x", Arrays({"boxes": np.ones(3)}), picture=np.full((1080, 1920, 3), 100, np.uint8)))
    shown = decoded(ask(page, "/snapshot.jpg").body)
    assert shown.shape == (720, 1280, 3)
    assert shown[600:].max() > 200


def test_the_stream_shows_each_new_picture_at_once(
    page: Page, make_answer: AnswerMaker, frames: list[np.ndarray], watch: Callable[..., Viewer]
) -> None:
    viewer = watch()
    assert " 200 " in viewer.status
    for frame in frames[:3]:
        page.answer(make_answer(picture=frame))
        viewer.until(frame.mean())


def test_pictures_are_encoded_once_for_all_and_for_nobody_not_at_all(
    page: Page, make_answer: AnswerMaker, frames: list[np.ndarray], watch: Callable[..., Viewer]
) -> None:
    for frame in frames:
        page.answer(make_answer(picture=frame))
    assert page.encoded == 0
    viewers = [watch() for _ in range(3)]
    for viewer in viewers:
        viewer.picture()
    assert page.encoded == 1
    page.answer(make_answer(picture=frames[0]))
    for viewer in viewers:
        viewer.until(10)
    assert page.encoded == 2


def test_the_number_of_viewers_is_bounded_and_they_are_counted_out(
    page: Page, make_answer: AnswerMaker, frames: list[np.ndarray], watch: Callable[..., Viewer]
) -> None:
    page.answer(make_answer(picture=frames[0]))
    viewers = [watch() for _ in range(8)]
    assert page.viewers == 8
    assert " 503 " in watch().status
    for viewer in viewers:
        viewer.close()
    eventually(lambda: page.viewers == 0)  # with no new frame to send
    assert " 200 " in watch().status


def test_viewers_that_take_nothing_hold_nobody_up(
    page: Page, make_answer: AnswerMaker, watch: Callable[..., Viewer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server.Handler, "timeout", 0.5)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    for _ in range(3):
        watch(buffer=4096)
    assert page.viewers == 3
    pause = threading.Event()
    for _ in range(400):
        page.answer(make_answer(picture=noise))
        if page.viewers == 0:
            break
        pause.wait(0.02)
    assert page.viewers == 0


def test_memory_is_flat_over_frames_and_viewers(page: Page, make_answer: AnswerMaker, photo: np.ndarray) -> None:
    def use(rounds: int) -> None:
        for _ in range(rounds):
            with closing(Viewer(page)) as viewer:
                for _ in range(200):
                    page.answer(make_answer(picture=photo.copy()))
                viewer.picture()
            ask(page, "/status.json")

    others = threading.active_count()  # of this page, and of whatever ran in this process before
    use(3)
    eventually(lambda: page.viewers == 0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        use(25)
        eventually(lambda: page.viewers == 0)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 2 * photo.nbytes  # 5,000 frames went by
    eventually(lambda: threading.active_count() < others + 5)


def test_posting_does_not_wait_for_an_encoder_at_work(make_answer: AnswerMaker, frames: list[np.ndarray]) -> None:
    newest = Newest()
    newest.post(make_answer(picture=frames[0]))
    with newest._encoding:
        poster = threading.Thread(target=newest.post, args=(make_answer(picture=frames[1]),))
        poster.start()
        poster.join(5)
        assert not poster.is_alive()


def test_events_tell_of_answers_and_of_the_end(page: Page, make_answer: AnswerMaker) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(page.url).port or 0, timeout=10)) as connection:
        connection.request("GET", "/events")
        got = connection.getresponse()
        assert got.headers["Content-Type"].startswith("text/event-stream")

        def event() -> dict[str, object]:
            while not (line := got.readline()).startswith(b"data: "):
                assert line
            status: dict[str, object] = json.loads(line[6:])
            return status

        assert event()["state"] == "waiting"
        page.answer(make_answer("b.jpg"))
        assert event()["input"] == "b.jpg"
        page.close()
        while (status := event())["state"] != "ended":
            assert status["input"] == "b.jpg"
        assert got.read().strip() == b""


def test_the_end_does_not_wait_for_viewers(thermal: Path, make_answer: AnswerMaker, frames: list[np.ndarray]) -> None:
    page = Page(port=0, thermal=thermal)
    page.answer(make_answer(picture=frames[0]))
    with closing(Viewer(page)) as viewer:
        viewer.picture()
        page.close()
        with pytest.raises(EOFError):
            viewer.until(255)
    with pytest.raises(ConnectionRefusedError):
        ask(page, "/")


def test_a_port_in_use_and_an_address_of_another_machine(page: Page) -> None:
    port = urlsplit(page.url).port or 0
    with pytest.raises(EnvironmentFault, match=rf"cannot listen on 127\.0\.0\.1 port {port}: Address already in use"):
        Page(port=port)
    with pytest.raises(EnvironmentFault, match=r"192\.0\.2\.1"):
        Page("192.0.2.1", 0)
    with pytest.raises(UsageError, match="port 70000"):
        Page(port=70000)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_for_this_machine_is_refused(page: Page, host: str) -> None:
    """A hostile page can give its own name this machine's address, and would then read the pictures."""
    assert ask(page, "/status.json", Host=host).code == 403
    assert ask(page, "/status.json", Host="localhost:99").code == 200


def test_others_need_the_token(thermal: Path, make_answer: AnswerMaker, frames: list[np.ndarray]) -> None:
    with Page("0.0.0.0", 0, thermal=thermal) as page:
        assert isinstance(page, Page)
        page.answer(make_answer(picture=frames[0]))
        token = page.url.partition("?token=")[2]
        assert len(token) >= 20
        for path in ("/", "/stream.mjpg", "/snapshot.jpg", "/status.json", "/events", "/?token=", "/?token=x%C3%A9"):
            refused = ask(page, path)
            assert refused.code == 403
            assert token not in refused.body.decode()
        assert ask(page, f"/snapshot.jpg?token={token}").code == 200
        assert ask(page, f"/snapshot.jpg?token={token}x").code == 403
        first = ask(page, f"/?token={token}")
        assert (first.code, first.headers["Location"]) == (303, "/")
        cookie = first.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        for path in ("/", "/status.json", "/snapshot.jpg"):
            assert ask(page, path, Cookie=cookie.partition(";")[0], Host="board.local").code == 200
        assert ask(page, "/status.json", Cookie=f"edgekit_{urlsplit(page.url).port}=x").code == 403


def test_tokens_differ_and_short_ones_are_refused() -> None:
    with Page("0.0.0.0", 0) as one, Page("0.0.0.0", 0) as other:
        assert isinstance(one, Page)
        assert isinstance(other, Page)
        assert one.url.partition("?")[2] != other.url.partition("?")[2]
    with pytest.raises(UsageError, match="a token of 5 characters; expected at least 16"):
        Page(token="short")
    with pytest.raises(UsageError, match="other letters"):
        Page(token="sixteen letters; and more")


def test_nothing_else_is_served(page: Page, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(page, "/../../etc/passwd").code == 404
    assert ask(page, "/page.html").code == 404
    assert ask(page, "/", method="POST").code == 501
    assert capfd.readouterr().err == ""


def test_connections_are_bounded(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "MAX_CONNECTIONS", 2)
    port = urlsplit(page.url).port or 0
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
        third = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=10)))
        assert third.recv(1) == b""
