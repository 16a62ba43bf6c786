"""Send files to the agent of a board: what it has already is not sent, what was cut off goes on where it stopped."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgekit.bundle import CHECKSUMS, Bundle, bundle_sha256, file_sha256, read_checksums
from edgekit.errors import EnvironmentFault
from edgekit_runtimes.remote.devices import Device
from edgekit_runtimes.remote.protocol import CHUNK, VERSION, ConnectionCut, receive, send
from edgekit_runtimes.remote.ssh import LOST, shell_path, ssh_words, unreachable

ATTEMPTS = 4
_PAUSE_SECONDS = 1.0
Told = Callable[[int, int], None]
"""Bytes sent of bytes to send."""


@dataclass(frozen=True)
class Sent:
    """What sending did.

    Attributes:
        path: Where it lies on the board.
        bytes: Bytes of files that were sent.
        attempts: Connections that it took.
    """

    path: str
    bytes: int
    attempts: int


class AgentConnection:
    """The agent of a board. Use as a context manager.

    Args:
        device: The board.

    Raises:
        EnvironmentFault: No connection, or no edgekit of this kind there.
        ConnectionCut: Lost meanwhile.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        command = f"{shell_path(device.interpreter)} -m edgekit_runtimes.remote.agent {shell_path(device.home)}"
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the connection
        self._process = subprocess.Popen(
            ssh_words(device, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )
        try:
            self.hello = self.ask({"do": "hello"})
        except ConnectionCut as cut:
            fault = self._fault(cut)
            self._end()
            raise fault from cut
        except BaseException:
            self._end()
            raise
        if self.hello.get("protocol") != VERSION:
            self._end()
            raise EnvironmentFault(
                f"{device.name} has edgekit {self.hello.get('edgekit')}, which speaks otherwise",
                remedy=f"edgekit device install {device.name}",
            )

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and return the answer. Raises EnvironmentFault when the agent refuses."""
        assert self._process.stdin is not None  # noqa: S101  a pipe
        send(self._process.stdin, message)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  a pipe
        answer = receive(self._process.stdout)
        if not answer.get("fine"):
            raise EnvironmentFault(f"{self.device.name}: {answer.get('error')}")
        return answer

    def put(self, path: Path, digest: str, offset: int, told: Callable[[int], None]) -> None:
        """Send a file from an offset on."""
        assert self._process.stdin is not None  # noqa: S101  a pipe
        size = path.stat().st_size
        with path.open("rb") as stream:
            stream.seek(offset)
            message = {"do": "put", "sha256": digest, "offset": offset, "bytes": size - offset, "last": True}
            send(self._process.stdin, message)
            while block := stream.read(CHUNK):
                try:
                    self._process.stdin.write(block)
                except OSError as error:
                    raise ConnectionCut(str(error)) from error
                told(len(block))
        with suppress(OSError):
            self._process.stdin.flush()
        self._answer()

    def _fault(self, cut: ConnectionCut) -> Exception:
        """Why the agent did not answer: no connection, or no edgekit there."""
        code = self._process.wait(30)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        if code == LOST:
            fault = unreachable(self.device, said)
            return cut if "closed by remote" in said.lower() or "broken pipe" in said.lower() else fault
        if code in (126, 127) or "No module named" in said:
            return EnvironmentFault(
                f"{self.device.name} has no edgekit in {self.device.interpreter}",
                remedy=f"edgekit device install {self.device.name}",
            )
        last = (said.strip().splitlines() or [str(cut)])[-1]
        return EnvironmentFault(f"{self.device.name}: {last}", remedy=f"edgekit device install {self.device.name}")

    def _end(self) -> None:
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def __enter__(self) -> AgentConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def deploy(bundle: Path, device: Device, told: Told | None = None) -> Sent:
    """Put a bundle on a board, under the name of its folder.

    Args:
        bundle: The bundle; every file is compared with its checksum here and there.
        device: The board.
        told: Told of progress.

    Raises:
        BundleRefused: It is damaged here.
        EnvironmentFault: The board cannot be reached or refuses; the bundle that lay there is unchanged.
    """
    Bundle(bundle)
    sums = {**read_checksums(bundle), CHECKSUMS: bundle_sha256(bundle)}
    files = {digest: bundle / name for name, digest in sums.items()}
    name = bundle.resolve().name
    return _sent(device, files, {"do": "bundle", "name": name, "files": sums}, told)


def send_inputs(paths: Mapping[str, Path], device: Device, job: str, told: Told | None = None) -> Sent:
    """Put files on a board, below a folder of their own.

    Args:
        paths: Name below that folder -> file here.
        device: The board.
        job: Name of the folder.
        told: Told of progress.
    """
    digests = {name: file_sha256(path) for name, path in paths.items()}
    files = {digests[name]: path for name, path in paths.items()}
    return _sent(device, files, {"do": "inputs", "job": job, "files": digests}, told)


def _sent(device: Device, files: Mapping[str, Path], finish: Mapping[str, Any], told: Told | None) -> Sent:
    """Send what is missing and finish; after a cut again, from where it stopped."""
    moved = [0]
    for attempt in range(1, ATTEMPTS + 1):
        with suppress(ConnectionCut), AgentConnection(device) as agent:
            _send_missing(agent, files, finish.get("name"), moved, told)
            return Sent(str(agent.ask(finish)["path"]), moved[0], attempt)
        time.sleep(_PAUSE_SECONDS * (attempt < ATTEMPTS))
    raise EnvironmentFault(
        f"{device.name}: the connection was lost {ATTEMPTS} times",
        remedy="run it again: it goes on where it stopped, and what lay there is unchanged",
    )


def _send_missing(
    agent: AgentConnection, files: Mapping[str, Path], name: str | None, moved: list[int], told: Told | None
) -> None:
    here: dict[str, int] = agent.ask({"do": "have", "name": name, "files": list(files)})["bytes"]
    missing = {digest: path for digest, path in files.items() if here.get(digest) != path.stat().st_size}
    total = sum(path.stat().st_size - _offset(here, digest, path) for digest, path in missing.items())

    begun = moved[0]

    def count(size: int) -> None:
        moved[0] += size
        if told is not None:
            told(moved[0] - begun, total)

    for digest, path in missing.items():
        agent.put(path, digest, _offset(here, digest, path), count)


def _offset(here: Mapping[str, int], digest: str, path: Path) -> int:
    """Where to go on; a part that is longer than the file is none of it."""
    held = here.get(digest, 0)
    return held if held < path.stat().st_size else 0


def names_below(path: Path) -> Sequence[tuple[str, Path]]:
    """Files of a folder under their names from its parent on, or the file itself."""
    if path.is_file():
        return [(path.name, path)]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return [(str(Path(path.name) / file.relative_to(path)), file) for file in files]
