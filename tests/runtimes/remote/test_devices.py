"""The list of boards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.errors import InputRefused, UsageError
from edgekit_runtimes.remote.devices import Device, Devices
from edgekit_runtimes.remote.ssh import shell_path, ssh_words

Command = Callable[..., CompletedProcess[str]]


def test_boards_are_kept(tmp_path: Path) -> None:
    devices = Devices(tmp_path / "config" / "devices.json")
    pi = Device("pi", "pi@raspberrypi.local", 2222, ("ForwardAgent=no",))
    devices.add(pi)
    devices.add(Device("jetson", "jetson"))
    assert devices.get("pi") == pi
    devices.remove("pi")
    assert list(devices.all()) == ["jetson"]
    with pytest.raises(UsageError, match="no device named pi; expected one of: jetson"):
        devices.get("pi")


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "devices.json"
    for text in ("{", '{"pi": 3}', '{"pi": {"hots": "x"}}'):
        path.write_text(text)
        with pytest.raises(InputRefused, match="is damaged"):
            Devices(path).all()


@pytest.mark.parametrize(("name", "host"), [("a b", "h"), ("", "h"), ("pi", "-oProxyCommand=x"), ("pi", "a b")])
def test_names_and_hosts_are_plain(tmp_path: Path, name: str, host: str) -> None:
    with pytest.raises(UsageError):
        Devices(tmp_path / "devices.json").add(Device(name, host))


def test_ssh_never_asks_and_takes_no_option_for_a_host() -> None:
    words = ssh_words(Device("pi", "pi@h", 22, ("User=x",)), "true")
    assert "BatchMode=yes" in words
    assert words[-3:] == ["--", "pi@h", "true"]
    assert shell_path("~/a b/c") == "~/'a b/c'"
    assert shell_path("a;b") == "'a;b'"


def test_the_commands(edgekit_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert edgekit_command("device", "add", "pi", "pi@raspberrypi.local", "--port", "2222").returncode == 0
    listed = edgekit_command("device", "list").stdout
    assert listed == "pi  pi@raspberrypi.local:2222  ~/.local/share/edgekit/venv/bin/python\n"
    assert edgekit_command("device", "remove", "pi").returncode == 0
    assert edgekit_command("device", "list").stdout == ""
