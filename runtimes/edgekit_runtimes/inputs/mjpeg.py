"""Motion JPEG from an HTTP server (``multipart/x-mixed-replace``), with nothing but the standard library.

Pictures stay encoded until somebody takes them: of a fast camera and a slow model, most are never decoded.
"""

from __future__ import annotations

import base64
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import unquote, urlsplit

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.inputs.jpeg import Splitter
from edgekit_runtimes.inputs.live import Capture
from edgekit_runtimes.inputs.newest import Shot

_BLOCK = 1 << 16


class MjpegHttp(Capture):
    """A camera's or server's ``multipart/x-mixed-replace`` stream over HTTP.

    Args:
        name: What to call it in messages; without any password.
        url: ``http://`` or ``https://``, with ``user:password@`` where it asks for them (HTTP basic authentication).
        timeout: Seconds that connecting, the answer, and each picture may take.
    """

    def __init__(self, name: str, url: str, timeout: float) -> None:
        self._name = name
        self._url = url
        self._timeout = timeout
        self._guard = threading.Lock()
        self._stopped = self._late = False
        self._socket: socket.socket | None = None
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self._splitter = Splitter()

    def open(self) -> None:
        """Connect and read the answer's head."""
        parts = urlsplit(self._url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        watchdog = threading.Timer(self._timeout, self._give_up)  # a socket's timeout starts anew with each byte
        watchdog.daemon = True
        try:
            self._connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
            self._connection.connect()
            with self._guard:
                self._socket = self._connection.sock
                if self._stopped:
                    raise EnvironmentFault(f"{self._name} was closed")
            watchdog.start()
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", target, headers=_headers(parts.username, parts.password))
            self._response = self._connection.getresponse()
        except (OSError, HTTPException, ValueError) as error:
            raise self._fault(error) from None  # the cause may show the URL with its password
        finally:
            watchdog.cancel()
        self._splitter = Splitter(self._boundary(self._response))

    def read(self) -> Shot | None:
        """Wait for the next whole JPEG; of several that came at once, the newest."""
        if self._response is None:
            raise RuntimeError("the capture is not open")
        deadline = time.monotonic() + self._timeout
        skipped = self._splitter.skipped
        while True:
            try:
                data = self._response.read1(_BLOCK)
            except (OSError, HTTPException, ValueError) as error:
                raise self._fault(error) from None
            if not data:
                raise EnvironmentFault(f"{self._name} was lost: the server ended the stream")
            if found := self._splitter.feed(data):
                return Shot(found[-1], time.monotonic(), len(found) - 1, self._splitter.skipped - skipped)
            if time.monotonic() > deadline:
                raise self._fault(TimeoutError())

    def stop(self) -> None:
        """Cut the connection."""
        with self._guard:
            self._stopped = True
        self._cut()

    def close(self) -> None:
        """Close the connection."""
        self._cut()
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        if self._socket is not None:
            self._socket.close()

    def _give_up(self) -> None:
        self._late = True
        self._cut()

    def _cut(self) -> None:
        with self._guard:
            if self._socket is not None:
                with suppress(OSError):  # not connected any more
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _boundary(self, response: HTTPResponse) -> bytes:
        if response.status in (401, 403):
            raise EnvironmentFault(
                f"{self._name} refuses the user or password (HTTP {response.status})",
                expected="http://USER:PASSWORD@HOST/PATH, and a server that takes basic authentication",
                remedy="write characters such as @ : / in a password as %40 %3A %2F",
            )
        if response.status != 200:
            place = " and points elsewhere" if 300 <= response.status < 400 else ""
            raise EnvironmentFault(
                f"{self._name} answers HTTP {response.status} {response.reason}{place}".rstrip(),
                remedy="see the camera's manual for the address of its MJPEG stream",
            )
        kind = response.headers.get_content_type()
        boundary = response.headers.get_param("boundary")
        if kind != "multipart/x-mixed-replace" or not isinstance(boundary, str) or not boundary.strip("- "):
            raise EnvironmentFault(
                f"{self._name} answers with {kind}",
                expected="an MJPEG stream (multipart/x-mixed-replace with a boundary)",
                remedy="see the camera's manual for the address of its MJPEG stream",
            )
        # Some servers count the two leading dashes as part of the boundary they announce.
        return b"--" + boundary.removeprefix("--").encode("latin-1")

    def _fault(self, error: Exception) -> EnvironmentFault:
        if self._late or isinstance(error, TimeoutError):
            cause = f"no answer or picture within {self._timeout:g} s"
        elif isinstance(error, socket.gaierror):
            cause = "there is no host of that name"
        elif isinstance(error, OSError) and error.strerror:
            cause = error.strerror.lower()
        else:
            cause = "the server ended the connection, or does not speak HTTP"
        return EnvironmentFault(f"{self._name}: {cause}", remedy="check address, port and network")


def _headers(user: str | None, password: str | None) -> dict[str, str]:
    headers = {"Accept": "multipart/x-mixed-replace", "User-Agent": "edgekit"}
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
    return headers
