"""The agent refuses what no client of ours says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit_runtimes.remote.agent import Agent

HASH = "0" * 64


def answers(folder: Path, *messages: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """What the agent says to messages and raw bytes."""
    raw = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
    sink = io.BytesIO()
    Agent(folder, io.BytesIO(raw), sink).serve()
    return [json.loads(line) for line in sink.getvalue().splitlines()]


@pytest.mark.parametrize(
    "message",
    [
        {"do": "bundle", "name": "../../etc", "files": {}},
        {"do": "bundle", "name": "b", "files": {"../x": HASH}},
        {"do": "inputs", "job": "j", "files": {"../../x": HASH}},
        {"do": "inputs", "job": "j", "files": {"/etc/x": HASH}},
        {"do": "have", "files": ["../../etc/passwd"]},
        {"do": "remove everything"},
        {"do": "bundle"},
        {},
    ],
)
def test_it_stays_in_its_folder(tmp_path: Path, message: dict[str, Any]) -> None:
    (answer,) = answers(tmp_path / "home", message)
    assert not answer["fine"]
    assert answer["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["home"])


def test_a_file_with_another_hash_is_dropped(tmp_path: Path) -> None:
    message = {"do": "put", "sha256": HASH, "offset": 0, "bytes": 3, "last": True}
    (answer,) = answers(tmp_path, message, b"abc")
    assert not answer["fine"]
    assert not list((tmp_path / "parts").iterdir())


def test_what_arrived_before_the_end_is_kept(tmp_path: Path) -> None:
    message = {"do": "put", "sha256": HASH, "offset": 0, "bytes": 100, "last": True}
    assert answers(tmp_path, message, b"abc") == []
    assert answers(tmp_path, {"do": "have", "files": [HASH]}) == [{"fine": True, "bytes": {HASH: 3}}]


def test_noise_instead_of_messages_ends_it(tmp_path: Path) -> None:
    assert answers(tmp_path, b"\x00\xff not json\n", {"do": "hello"}) == []
