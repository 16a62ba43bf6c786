"""A real OpenSSH server on loopback, and a cable that can be cut."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgekit_runtimes.remote.devices import Device

WAIT = 20.0
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PermitUserEnvironment yes
AcceptEnv *
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Folder with keys, and port, of a running server."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if server is None:
        assert not os.environ.get("CI"), "sshd is not installed"
        pytest.skip("sshd is not installed")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    host_key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"* {' '.join(host_key)}\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen(
        [server, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    ) as process:
        _wait_for(port)
        yield folder, port
        process.terminate()


def _wait_for(port: int) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    pytest.fail("sshd did not start")


@pytest.fixture
def board(sshd: tuple[Path, int], tmp_path: Path) -> Device:
    """This machine as a board: its own folder, the tests' interpreter."""
    return device_at(sshd[0], sshd[1], tmp_path / "board")


def device_at(keys: Path, port: int, home: Path) -> Device:
    """A board at a port of this machine."""
    wrapper = home.parent / "python-there"
    paths = os.pathsep.join(path for path in (os.environ.get("PYTHONPATH"),) if path)
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    options = (
        f"IdentityFile={keys / 'user_key'}",
        "IdentitiesOnly=yes",
        f"UserKnownHostsFile={keys / 'known_hosts'}",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    )
    host = f"{getpass.getuser()}@127.0.0.1"
    return Device("board", host, port, options, str(home), str(wrapper))


class Cable:
    """Passes bytes on between clients and a server, counts them, and can be cut after some.

    Args:
        to: Port of the server.

    Attributes:
        port: Where clients connect.
        carried: Bytes so far, both ways.
        cut_after: Bytes towards the server after which the next connection is cut; ``None``: never.
        cuts: How often it was cut.
    """

    def __init__(self, to: int) -> None:
        self.carried, self.cuts = 0, 0
        self.cut_after: int | None = None
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client, self.cut_after), daemon=True).start()
                self.cut_after = None

    def _connect(self, client: socket.socket, most: int | None) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=self._carry, args=(server, client, None), daemon=True)
            back.start()
            self._carry(client, server, most)
            back.join()

    def _carry(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while block := source.recv(16384):
                if most is not None and passed + len(block) > most:
                    sink.sendall(block[: most - passed])
                    self.cuts += 1
                    break
                sink.sendall(block)
                passed += len(block)
                self.carried += len(block)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


@pytest.fixture
def cable(sshd: tuple[Path, int]) -> Iterator[Cable]:
    """A cable to the server."""
    made = Cable(sshd[1])
    yield made
    made.close()


@pytest.fixture
def far_board(sshd: tuple[Path, int], cable: Cable, tmp_path: Path) -> Device:
    """The board at the other end of the cable."""
    return device_at(sshd[0], cable.port, tmp_path / "board")


@pytest.fixture
def known(board: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Device], None]:
    """Add a board to a list of the test's own; the command finds it there."""
    from edgekit_runtimes.remote.devices import Devices

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Devices().add(board)
    return Devices().add
