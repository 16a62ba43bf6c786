"""The web server below the live page: who may look, and what is sent."""

from __future__ import annotations

import hmac
import html
import json
import secrets
import socket
import threading
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from edgekit_runtimes.outputs.newest import Newest

MAX_CONNECTIONS = 64
TIMEOUT = 10.0
"""Seconds after which a viewer that takes nothing is dropped."""

_BOUNDARY = "edgekit-frame"
_MOST_FRAMES = 20.0  # a second, sent to one viewer
_MOST_EVENTS = 5.0
_REPEAT = 0.1  # seconds without a new frame after which a browser is made to show the last
_QUIET = 1.0  # seconds without an answer after which the status is sent again
_BUFFER = 256 * 1024  # bytes; the default of several MB would show a slow viewer the past
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class PageServer(ThreadingHTTPServer):
    """Listens, and counts who is there.

    Args:
        address: Host and port.
        family: Socket family of the address.
        newest: What is shown.
        title: Heading of the page.
        token: What a viewer has to know; ``None`` lets everybody in.
        viewers: Most streams at a time.

    Attributes:
        only_local_names: Refuse requests for another host's name, as a hostile page sends that has its own name
            resolve to this machine (DNS rebinding).
    """

    daemon_threads = True
    # Addresses of connections that have ended are free at once; a port in use is refused all the same.
    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], family: int, *, newest: Newest, title: str, token: str | None, viewers: int
    ) -> None:
        self.address_family = socket.AddressFamily(family)
        self.newest, self.title, self.token = newest, title, token
        self.only_local_names = False
        self.page = files("edgekit_runtimes.outputs").joinpath("page.html").read_text("utf-8")
        self._most = viewers
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self.streams = 0
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own; beyond `MAX_CONNECTIONS` it is closed."""
        with self._lock:
            room = len(self._open) < MAX_CONNECTIONS
            if room:
                self._open.add(request)
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
            self._left.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the viewer has gone."""

    def enter_stream(self) -> bool:
        """Count a viewer in; False when there are too many."""
        with self._lock:
            if self.streams >= self._most:
                return False
            self.streams += 1
            return True

    def leave_stream(self) -> None:
        """Count a viewer out."""
        with self._lock:
            self.streams -= 1

    def end(self) -> None:
        """Stop listening and end every connection; who is connected has half a second to take the last event."""
        self.server_close()
        with self._left:
            self._left.wait_for(lambda: not self._open, 0.5)
            stuck = list(self._open)
        for connection in stuck:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: PageServer
    timeout = TIMEOUT
    server_version = "edgekit"
    sys_version = ""
    _fixed: ClassVar[dict[str, str]] = {
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    def do_GET(self) -> None:
        """Serve a path to who may see it."""
        address = urlsplit(self.path)
        serve = {
            "/": self._page,
            "/stream.mjpg": self._stream,
            "/snapshot.jpg": self._snapshot,
            "/status.json": self._status,
            "/events": self._events,
        }.get(address.path)
        given = parse_qs(address.query).get("token", [""])[0]
        if not self._host_is_ours():
            self._plain(403, "this page is served to this machine alone, under its own names")
        elif not self._may_enter(given):
            self._plain(403, "open the page with the address that edgekit printed: it ends in ?token=…")
        elif serve is None:
            self._plain(404, "there is no such page")
        elif given and address.path == "/":
            self._keep(given)
        else:
            serve()

    def log_message(self, *_: object) -> None:
        """Keep quiet: standard error belongs to the command, and addresses hold the token."""

    def _host_is_ours(self) -> bool:
        if not self.server.only_local_names:
            return True
        host = self.headers.get("Host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name in (*_LOCAL_NAMES, self.server.server_name)

    def _may_enter(self, given: str) -> bool:
        if self.server.token is None:
            return True
        wanted = self.server.token.encode()
        return any(hmac.compare_digest(token.encode(), wanted) for token in (given, self._cookie()))

    def _cookie(self) -> str:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie_name)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    @property
    def _cookie_name(self) -> str:
        return f"edgekit_{self.server.server_port}"  # cookies of all ports of a host share one jar

    def _keep(self, token: str) -> None:
        """Keep the token as a cookie, so that it leaves the address bar and its history."""
        self._head(303, "text/plain; charset=utf-8", 0, Location="/", Set_Cookie=self._cookie_text(token))

    def _cookie_text(self, token: str) -> str:
        return f"{self._cookie_name}={token}; Path=/; HttpOnly; SameSite=Lax"

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        filled = self.server.page.replace("{{nonce}}", nonce).replace("{{title}}", html.escape(self.server.title))
        body = filled.encode()
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{nonce}'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._head(200, "text/html; charset=utf-8", len(body), Content_Security_Policy=policy)
        self.wfile.write(body)

    def _status(self) -> None:
        self._body("application/json", self._status_text().encode())

    def _status_text(self) -> str:
        return json.dumps(self.server.newest.status(), ensure_ascii=False, allow_nan=False)

    def _snapshot(self) -> None:
        posted = self.server.newest.after(0, 0.0)
        picture = self.server.newest.jpeg(posted) if posted else b""
        if picture:
            self._body("image/jpeg", picture)
        else:
            self._plain(404, "there is no picture yet")

    def _stream(self) -> None:
        if not self.server.enter_stream():
            self._plain(503, "too many viewers; close another one")
            return
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._head(200, f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self._pictures()
        finally:
            self.server.leave_stream()

    def _pictures(self) -> None:
        newest, number, repeated = self.server.newest, 0, True
        while not newest.closed:
            posted = newest.after(number, _QUIET if repeated else _REPEAT)
            if posted is None and repeated:
                if self._gone():
                    return
                continue
            # Browsers show a part when the next one begins: without another frame, the last is sent once more.
            repeated = posted is None
            posted = posted or newest.after(number - 1, 0.0)
            if posted is not None:
                number = posted.number
                self._part(newest.jpeg(posted))
            newest.pause(1 / _MOST_FRAMES)

    def _part(self, picture: bytes) -> None:
        if picture:
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")

    def _events(self) -> None:
        self._head(200, "text/event-stream; charset=utf-8")
        newest, number = self.server.newest, 0
        while True:
            ended = newest.closed
            self.wfile.write(f"data: {self._status_text()}\n\n".encode())
            if ended:
                return
            posted = newest.after(number, _QUIET)
            number = posted.number if posted else number
            newest.pause(1 / _MOST_EVENTS)

    def _gone(self) -> bool:
        """Whether the viewer has closed the connection while there was nothing to send."""
        try:
            self.connection.setblocking(False)
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(TIMEOUT)

    def _plain(self, code: int, text: str) -> None:
        self._body("text/plain; charset=utf-8", f"{text}\n".encode(), code)

    def _body(self, kind: str, body: bytes, code: int = 200) -> None:
        self._head(code, kind, len(body))
        self.wfile.write(body)

    def _head(self, code: int, kind: str, length: int | None = None, **more: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in (self._fixed | {key.replace("_", "-"): text for key, text in more.items()}).items():
            self.send_header(name, value)
        self.end_headers()
