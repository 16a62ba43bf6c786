"""Downloading from a hub: a small server that answers as huggingface.co does, and one that does not."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from edgekit.errors import EnvironmentFault, ModelRefused, UsageError
from edgekit_converters.sources import open_source
from edgekit_converters.sources._hf_hub import download
from tests.conftest import CommandRunner
from tests.fixtures import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one folder as ``team/tiny``; ``team/closed`` is gated.

    Attributes:
        folder: What is served.
        sent: Files that were sent.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.sent: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        resolve = f"/team/tiny/resolve/{COMMIT}/"
        files = [file for file in self.server.folder.rglob("*.*") if file.is_file()]
        names = [str(file.relative_to(self.server.folder)) for file in files]
        if path in ("/api/models/team/tiny", *(f"/api/models/team/tiny/revision/{at}" for at in ("main", COMMIT))):
            about = {"id": "team/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body=body)
        elif path == f"/api/models/team/tiny/tree/{COMMIT}":
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"}, body=body)
        elif path.startswith(resolve):
            name = path.removeprefix(resolve)
            content = (self.server.folder / name).read_bytes()
            if body:
                self.server.sent.append(name)
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body=body)
        elif path.startswith("/api/models/team/closed"):
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        else:
            code = "RevisionNotFound" if path.startswith("/api/models/team/tiny") else "RepoNotFound"
            self._send(404, b"{}", {"X-Error-Code": code}, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = hub.sentence_model(tmp_path_factory.mktemp("served") / "tiny")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("raise SystemExit\n", encoding="utf-8")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture
def served(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of this process, with an empty cache."""
    server = Hub(model)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_is_downloaded_once_and_opened(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_source("hf:team/tiny") as source:
        assert source.name == "tiny"
        assert source.offered is not None
        assert source.offered.task == "text-embedding"
        assert f"hf:team/tiny, commit {COMMIT}" in source.notes
    assert {"config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= set(
        served.sent
    )
    assert not {"pytorch_model.bin", "modeling.py", "onnx/config.json"} & set(served.sent)
    before = len(served.sent)
    folder = download(f"team/tiny@{COMMIT}")
    assert len(served.sent) == before
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download("team/tiny") == folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("team/none", "hf:team/none: the hub knows no such model"),
        ("team/tiny@v9", "hf:team/tiny@v9: the hub knows no such revision"),
        ("team/closed", "hf:team/closed is gated"),
    ],
)
@pytest.mark.usefixtures("served")
def test_a_model_that_the_hub_does_not_give_is_refused(name: str, message: str) -> None:
    with pytest.raises(ModelRefused, match=message) as refused:
        open_source(f"hf:{name}")
    assert "config.json" in str(refused.value.remedy)


def test_offline_without_the_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault, match="was not downloaded before"):
        open_source("hf:team/tiny")


@pytest.mark.parametrize("name", ["", "a/b/c", "team/tiny@"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"expected hf:OWNER/MODEL"):
        open_source(f"hf:{name}")


def test_the_command_ends_with_5_where_the_hub_is_out_of_reach(
    tmp_path: Path, edgekit_command: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = edgekit_command("convert", "hf:team/tiny", "-o", tmp_path / "out")
    assert done.returncode == 5
    assert "the hub cannot be reached" in done.stderr
    assert "HF_HUB_OFFLINE=1" in done.stderr
    assert not (tmp_path / "out").exists()
