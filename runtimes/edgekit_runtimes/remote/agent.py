"""The agent on a board: keeps files by their hash, and makes bundles of them.

    python -m edgekit_runtimes.remote.agent FOLDER

It is started over SSH for each job and ends with the connection. What had arrived when the connection was cut is kept
and goes on from there next time; a bundle is put in place by one rename when all of its files have their hash.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from edgekit.atomic import atomic_folder, sync
from edgekit.bundle import Bundle, file_sha256
from edgekit.errors import BundleRefused, EdgeKitError, UsageError
from edgekit_runtimes.remote.protocol import CHUNK, VERSION, ConnectionCut, receive, send

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w][\w.-]{0,100}")


class Agent:
    """Answers messages.

    Args:
        folder: Where everything is kept.
        source: Where messages come from.
        sink: Where answers go.
    """

    def __init__(self, folder: Path, source: IO[bytes], sink: IO[bytes]) -> None:
        self._folder, self._source, self._sink = folder, source, sink
        self._parts, self._bundles, self._inputs = (folder / name for name in ("parts", "bundles", "inputs"))

    def serve(self) -> None:
        """Answer until the connection ends."""
        answers = {"hello": self._hello, "have": self._have, "put": self._put, "bundle": self._bundle,
                   "inputs": self._make_inputs}  # fmt: skip
        with suppress(ConnectionCut):
            while True:
                message = receive(self._source)
                answer = answers.get(str(message.get("do")))
                try:
                    if answer is None:
                        raise UsageError(f"a message {message.get('do')!r}", remedy="install the same edgekit on both")
                    send(self._sink, {"fine": True, **answer(message)})
                except (EdgeKitError, OSError, KeyError, TypeError) as error:
                    send(self._sink, {"fine": False, "error": str(error)})

    def _hello(self, _: dict[str, Any]) -> dict[str, Any]:
        from importlib.metadata import version

        return {"protocol": VERSION, "edgekit": version("edgekit-ai"), "python": sys.version.split()[0]}

    def _have(self, message: dict[str, Any]) -> dict[str, Any]:
        """How many bytes of each file are here already; all of it where the bundle of that name holds it."""
        here = self._held(message.get("name"))
        found = {}
        for digest in message["files"]:
            part = self._part(digest)
            if digest in here:
                found[digest] = here[digest].stat().st_size
            elif part.is_file():
                found[digest] = part.stat().st_size
        return {"bytes": found}

    def _held(self, name: str | None) -> dict[str, Path]:
        """Files of the bundle that lies here under a name, by the hash that they have."""
        if name is None or not (self._bundles / _plain(name)).is_dir():
            return {}
        return {file_sha256(path): path for path in (self._bundles / name).iterdir() if path.is_file()}

    def _part(self, digest: str) -> Path:
        if not _HASH.fullmatch(digest):
            raise UsageError(f"a hash {digest!r}", expected="64 hexadecimal digits")
        return self._parts / digest

    def _put(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take bytes of a file from an offset on; whatever arrives before a cut is kept."""
        path, left = self._part(message["sha256"]), int(message["bytes"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as stream:
            stream.truncate(int(message["offset"]))
            stream.seek(0, os.SEEK_END)
            while left:
                block = self._source.read(min(CHUNK, left))
                if not block:
                    raise ConnectionCut("the connection ended")
                stream.write(block)
                left -= len(block)
        if message.get("last") and (found := file_sha256(path)) != message["sha256"]:
            path.unlink()
            raise BundleRefused(f"a file arrived with SHA-256 {found}", expected=message["sha256"])
        return {}

    def _bundle(self, message: dict[str, Any]) -> dict[str, Any]:
        """Put a bundle in place, all of whose files are here."""
        place = self._bundles / _plain(message["name"])
        files: dict[str, str] = message["files"]
        here = self._held(message["name"])
        if set(here) != set(files.values()) or {path.name for path in here.values()} != set(files):
            with atomic_folder(place) as temporary:
                for name, digest in files.items():
                    source = here.get(digest) or self._part(digest)
                    shutil.copyfile(source, temporary / _plain(name))
                Bundle(temporary)
        self._forget(files.values())
        return {"path": str(place)}

    def _make_inputs(self, message: dict[str, Any]) -> dict[str, Any]:
        """Give the inputs of a run the names that they have at home, below a folder of their own."""
        place = self._inputs / _plain(message["job"])
        shutil.rmtree(place, ignore_errors=True)
        for name, digest in message["files"].items():
            path = place / name
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise UsageError(f"an input {name!r}", expected="a path below the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._part(digest), path)
        self._forget(message["files"].values())
        return {"path": str(place)}

    def _forget(self, digests: Any) -> None:
        for digest in digests:
            self._part(digest).unlink(missing_ok=True)
        if self._parts.is_dir():
            sync(self._parts)


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"a name {name!r}", expected="letters, digits, . _ -")
    return name


if __name__ == "__main__":
    # What libraries print must not end up between the messages.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Agent(Path(sys.argv[1]).expanduser(), sys.stdin.buffer, output).serve()
