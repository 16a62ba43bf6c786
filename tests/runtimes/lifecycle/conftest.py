"""A real OCI registry on loopback, and a gate before it that asks for tokens, counts, cuts and falsifies."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgekit.bundle import Bundle, read_checksums, write_manifest
from tests.fixtures.loopback import serving

USER, PASSWORD = "tester", "s3cret-word"
# bcrypt of PASSWORD, which is what the registry reads.
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuEpHRRKIlpAGo.iP7Bpa.htQEJMAAnRe\n"
TOKEN = "a-token-of-the-gate"
CONFIG = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/store}}}}
http: {{addr: "127.0.0.1:0"}}
"""


class Gate(ThreadingHTTPServer):
    """Passes requests on to a registry.

    Attributes:
        asked: Method and path of every request.
        wants_token: Whether it asks for a token, as ghcr.io and the Docker Hub do.
        credentials: The Authorization headers that its token service got.
        cut: Part of a path -> bytes after which its answer breaks off.
        falsify: Part of a path -> what is answered instead.
        redirect: Where uploads are sent to, or ``None``.
        seen: Authorization headers of uploads.
    """

    daemon_threads = True

    def __init__(self, registry: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.asked: list[tuple[str, str]] = []
        self.wants_token = False
        self.credentials: list[str | None] = []
        self.cut: dict[str, int] = {}
        self.falsify: dict[str, bytes] = {}
        self.redirect: str | None = None
        self.seen: list[str | None] = []

    @property
    def host(self) -> str:
        """Host and port, as in an address."""
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when the registry behind is gone."""

    def blobs(self) -> int:
        """How many blobs were fetched."""
        return sum(method == "GET" and "/blobs/" in path for method, path in self.asked)


class _Handler(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._pass()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def _pass(self) -> None:
        gate = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        gate.asked.append((self.command, self.path))
        authorization = self.headers.get("Authorization")
        if self.command == "PUT" and "/uploads/" in self.path:
            gate.seen.append(authorization)
        if self.path.startswith("/token"):
            return self._token(authorization)
        if gate.wants_token and authorization != f"Bearer {TOKEN}":
            challenge = (
                f'Bearer realm="http://{gate.host}/token",service="gate",scope="repository:team/person:pull,push"'
            )
            return self._send(401, {"WWW-Authenticate": challenge}, b"{}")
        connection = HTTPConnection(gate.registry, timeout=20)
        headers = {
            name: value for name, value in self.headers.items() if name != "Authorization" or not gate.wants_token
        }
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        back = dict(answer.headers.items())
        if gate.redirect and "Location" in back:
            back["Location"] = re.sub(r"^http://[^/]*", f"http://{gate.redirect}", back["Location"])
        self._send(answer.status, back, content)

    def _token(self, authorization: str | None) -> None:
        self.server.credentials.append(authorization)
        right = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if authorization != right:
            return self._send(401, {}, b"{}")
        self._send(200, {"Content-Type": "application/json"}, json.dumps({"token": TOKEN}).encode())

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        false = next((data for part, data in self.server.falsify.items() if part in self.path), content)
        cut = next((count for part, count in self.server.cut.items() if part in self.path), None)
        if self.command == "GET":
            headers = {**headers, "Content-Length": str(len(false))}
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if "Content-Length" not in headers and self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(false if cut is None else false[:cut])
        self.close_connection = cut is not None


@contextmanager
def docker_registry(folder: Path, more: str = "") -> Iterator[str]:
    """Run Debian's registry; yields host and port."""
    program = shutil.which("docker-registry")
    if program is None:
        assert not os.environ.get("CI"), "docker-registry is not installed"
        pytest.skip("needs an OCI registry, on Debian and Ubuntu: apt-get install docker-registry")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder) + more)
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        address = None
        for line in process.stderr:
            if found := re.search(r"listening on (127\.0\.0\.1:[0-9]+)", line):
                address = found[1]
                break
        # Nobody reads the rest, and a full pipe would stop it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        assert address is not None, "docker-registry did not start"
        try:
            yield address
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that anybody may write to."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that wants USER and PASSWORD."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "htpasswd").write_text(HTPASSWD)
    with docker_registry(folder, f"auth: {{htpasswd: {{realm: locked, path: {folder}/htpasswd}}}}\n") as address:
        yield address


@pytest.fixture
def gate(registry: str) -> Iterator[Gate]:
    """A gate before the open registry."""
    with opened_gate(registry) as server:
        yield server


@contextmanager
def opened_gate(registry: str) -> Iterator[Gate]:
    """Serve until the block ends."""
    with serving(Gate(registry)) as server:
        yield server


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of docker's configuration, empty: no test sees the credentials of whoever runs it."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ORAS_USER", "ORAS_PASS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def log_in(folder: Path, host: str, password: str = PASSWORD) -> None:
    """Write what `docker login` writes."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def contents(bundle: Path) -> dict[str, bytes]:
    """File name -> content of everything in a folder."""
    return {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def renamed(bundle: Path, name: str) -> Bundle:
    """Give a bundle another name in its manifest, which changes two of its files."""
    write_manifest(bundle, replace(Bundle(bundle, check=False).manifest, name=name))
    assert set(read_checksums(bundle)) == set(contents(bundle)) - {"SHA256SUMS"}
    return Bundle(bundle)
