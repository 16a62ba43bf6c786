"""The live page: the newest picture and its result in any browser, from the standard library's web server."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.loopback import is_loopback
from edgekit_runtimes.outputs.newest import THERMAL, Newest
from edgekit_runtimes.outputs.page_server import PageServer
from edgekit_runtimes.outputs.sink import Answer, Sink

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
MIN_TOKEN = 16
"""Characters of a token that a user chooses."""


class Page(Sink):
    """Serves ``/``, ``/stream.mjpg``, ``/snapshot.jpg``, ``/status.json`` and ``/events`` until it is closed.

    Answers are handed over without a copy and without waiting; pictures are encoded only while somebody watches,
    once for all viewers. A viewer that is too slow misses frames, one that is dead is dropped.

    Args:
        host: Address to listen on. Any but this machine's own needs a token, which `url` carries.
        port: 0 takes any that is free.
        title: What runs; shown on the page.
        viewers: Most streams at a time.
        token: Of at least `MIN_TOKEN` characters; made up where one is needed and none is given.
        thermal: Folder of the kernel's thermal zones.

    Attributes:
        url: Where to look, with the real port and the token.

    Raises:
        EnvironmentFault: The port is in use or not permitted, or the address is not this machine's.
        UsageError: The port or the token cannot be meant.
    """

    wants_pictures = True

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        title: str = "edgekit",
        viewers: int = 8,
        token: str | None = None,
        thermal: Path = THERMAL,
    ) -> None:
        _check(port, token)
        loopback = is_loopback(host)
        token = token or (None if loopback else secrets.token_urlsafe(16))
        self._newest = Newest(thermal)
        self._server = _bound(
            host,
            port,
            lambda at, kind: PageServer(at, kind, newest=self._newest, title=title, token=token, viewers=viewers),
        )
        self._server.only_local_names = loopback
        real_port = self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104  compared, not bound
            shown = _own_address()
        self.url = f"http://{shown}:{real_port}/" + (f"?token={token}" if token else "")
        self.notice = f"live page: {self.url}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="live-page", daemon=True)
        self._thread.start()

    @property
    def encoded(self) -> int:
        """Pictures encoded so far."""
        return self._newest.encoded

    @property
    def viewers(self) -> int:
        """Streams being watched."""
        return self._server.streams

    def answer(self, answer: Answer) -> None:
        """Show one answer."""
        self._newest.post(answer)

    def close(self) -> None:
        """End the page: its viewers are told, and their connections closed."""
        self._newest.close()
        self._server.shutdown()
        self._thread.join()
        self._server.end()


def _check(port: int, token: str | None) -> None:
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}", expected="0 to 65535; 0 takes any that is free")
    if token is not None and len(token) < MIN_TOKEN:
        raise UsageError(f"a token of {len(token)} characters", expected=f"at least {MIN_TOKEN}")
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", token):
        raise UsageError("a token with other letters", expected="letters and digits of ASCII, - and _")


def _bound(host: str, port: int, make: Callable[[tuple[str, int], int], PageServer]) -> PageServer:
    """Open the server. Raises EnvironmentFault when the address cannot be had."""
    try:
        kind, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return make((str(address[0]), port), kind)
    except (OSError, UnicodeError) as error:
        raise EnvironmentFault(
            f"the live page cannot listen on {host or '0.0.0.0'} port {port}: {getattr(error, 'strerror', error)}",  # noqa: S104
            expected="an address of this machine and a free port",
            remedy="choose another port, or page:0 for any that is free",
        ) from error


def _own_address() -> str:
    """Return the address that others reach this machine at; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: the route alone is asked for
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
