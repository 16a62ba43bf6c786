"""Install, update and go back, with a service manager that writes down what it is asked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edgekit.bundle import Bundle
from edgekit.errors import BundleRefused, EnvironmentFault, QualityError, UsageError
from edgekit_runtimes.service.install import Services, refuse_private, verified
from edgekit_runtimes.service.store import Store, contents_of
from edgekit_runtimes.service.systemd import Systemd
from edgekit_runtimes.service.unit import Job

Command = Callable[..., CompletedProcess[str]]
JOB = Job("door", Path("/var/lib/edgekit/door/current"), "camera:0", ("results.jsonl",), user="daemon")

SYSTEMCTL = """#!/bin/sh
echo "$*" >> "{folder}/asked"
case "$1" in
  show) cat "{folder}/shown";;
  restart) test ! -e "{folder}/broken" || {{ rm "{folder}/broken"; echo "Job failed" >&2; exit 1; }};;
esac
"""


class Live(Systemd):
    """A service manager that starts what lies below a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.live = True


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a `systemctl` that comes first: ``asked`` is its record; with ``broken`` the next restart fails."""
    folder = tmp_path / "manager"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(SYSTEMCTL.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def bundles(person_maker: Callable[..., Bundle], tmp_path: Path) -> list[Path]:
    """Three bundles of different contents."""
    return [person_maker(tmp_path / name, name=name).path for name in ("one", "two", "three")]


def asked(manager: Path) -> list[str]:
    return (manager / "asked").read_text().splitlines() if (manager / "asked").exists() else []


def test_installing_copies_proves_enables_and_starts(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), verified)
    path = services.install(bundles[0], JOB)
    assert path == tmp_path / "root/etc/systemd/system/edgekit-door.service"
    assert "run /var/lib/edgekit/door/current" in path.read_text()
    store = services.store("door")
    assert store.running is not None
    assert store.running.name == contents_of(bundles[0])
    assert Bundle(store.current).manifest.name == "one"
    assert asked(manager) == [
        "daemon-reload",
        "enable edgekit-door.service",
        "reset-failed edgekit-door.service",
        "restart edgekit-door.service",
    ]


def test_an_update_keeps_the_one_before_and_no_more(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), lambda _: None)
    services.install(bundles[0], JOB)
    for bundle in bundles[1:]:
        services.update("door", bundle)
    store = services.store("door")
    assert Bundle(store.current).manifest.name == "three"
    assert store.before is not None
    assert Bundle(store.before).manifest.name == "two"
    assert len(list((store.folder / "bundles").iterdir())) == 2
    services.back("door")
    assert Bundle(store.current).manifest.name == "two"
    assert asked(manager).count("restart edgekit-door.service") == 4


def test_what_runs_already_is_not_started_anew(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), lambda _: None)
    services.install(bundles[0], JOB)
    before = asked(manager)
    services.update("door", bundles[0])
    assert asked(manager) == before


def test_a_bundle_that_does_not_prove_itself_is_never_switched_to(
    manager: Path, bundles: list[Path], tmp_path: Path
) -> None:
    services = Services(Live(tmp_path / "root"), verified)
    services.install(bundles[0], JOB)
    before = asked(manager)
    other = bundles[1]
    manifest = json.loads((other / "manifest.json").read_text())
    for artifact in manifest["artifacts"]:
        artifact["golden"]["outputs"][0]["name"] = "another output"  # not what this machine gives
    (other / "manifest.json").write_text(json.dumps(manifest))
    sums = subprocess.run(
        ["sha256sum", "manifest.json", *(f.name for f in other.iterdir() if f.suffix in (".tflite", ".npz"))],
        cwd=other, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (other / "SHA256SUMS").write_text(sums.stdout)
    with pytest.raises(QualityError, match="does not prove itself on this machine: this machine does not give"):
        services.update("door", other)
    assert Bundle(services.store("door").current).manifest.name == "one"
    assert asked(manager) == before
    assert len(list((services.store("door").folder / "bundles").iterdir())) == 1


def test_a_damaged_bundle_leaves_nothing_behind(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), verified)
    services.install(bundles[0], JOB)
    artifact = next(bundles[1].glob("*.tflite"))
    content = bytearray(artifact.read_bytes())
    content[1000] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(BundleRefused, match=artifact.name):
        services.update("door", bundles[1])
    assert len(list((services.store("door").folder / "bundles").iterdir())) == 1
    assert asked(manager)[-1] == "restart edgekit-door.service"


def test_a_service_that_does_not_answer_goes_back_by_itself(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), lambda _: None)
    services.install(bundles[0], JOB)
    (manager / "broken").touch()
    with pytest.raises(QualityError, match=rf"door does not answer .*Job failed.*; {contents_of(bundles[0])} runs"):
        services.update("door", bundles[1])
    assert Bundle(services.store("door").current).manifest.name == "one"
    assert asked(manager).count("restart edgekit-door.service") == 3


def test_an_image_is_built_without_starting_anything(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Systemd(tmp_path / "root"), lambda _: None)
    services.install(bundles[0], JOB)
    assert asked(manager) == [f"--root {tmp_path / 'root'} enable edgekit-door.service"]


def test_removing_keeps_bundles_until_told(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), lambda _: None)
    services.install(bundles[0], JOB)
    services.remove("door", purge=False)
    assert not services.systemd.unit("edgekit-door").exists()
    assert "stop edgekit-door.service" in asked(manager)
    assert services.store("door").folder.is_dir()
    services.install(bundles[0], JOB)
    services.remove("door", purge=True)
    assert not services.store("door").folder.exists()
    with pytest.raises(UsageError, match="no service named door; expected one of: none"):
        services.remove("door", purge=False)


def test_a_unit_with_a_password_is_for_root_alone(manager: Path, bundles: list[Path], tmp_path: Path) -> None:
    services = Services(Live(tmp_path / "root"), lambda _: None)
    job = replace(JOB, source="rtsp://user:secret@10.0.0.2/live")
    assert services.install(bundles[0], job).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "../etc", "UPPER", "a b", "x" * 42])
def test_names_are_plain(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a service named"):
        Services(Systemd(tmp_path), verified).store(name)


def test_an_interpreter_in_a_private_home_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home/pi"
    (home / "venv/bin").mkdir(parents=True)
    python = home / "venv/bin/python"
    python.touch()
    tmp_path.chmod(0o755)
    home.chmod(0o700)
    with pytest.raises(UsageError, match=r"may not enter .*home/pi\n?.*"):
        refuse_private(Path("/home/pi/venv/bin/python"), tmp_path)
    home.chmod(0o711)
    refuse_private(Path("/home/pi/venv/bin/python"), tmp_path)


def test_power_may_fail_at_any_moment_of_an_update(bundles: list[Path], tmp_path: Path) -> None:
    """SIGKILL at random points: the link names a whole bundle, and the next update works."""
    store = Store(tmp_path / "root" / "door")
    store.switch(store.add(bundles[0]))
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgekit_runtimes.service.store import Store\n"
        "store = Store(Path(sys.argv[1]))\nprint('go', flush=True)\n"
        "while True:\n    for bundle in sys.argv[2:]:\n"
        "        store.switch(store.add(Path(bundle)))\n        store.tidy()\n"
    )
    chance = random.Random(0)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(store.folder), *map(str, bundles)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.0, 0.15))
            process.send_signal(signal.SIGKILL)
        assert Bundle(store.current).manifest.name in ("one", "two", "three")
    store.switch(store.add(bundles[2]))
    assert Bundle(store.current).manifest.name == "three"


def test_status_reads_what_systemd_says(manager: Path, edgekit_command: Command) -> None:
    shown = "ActiveState=active\nSubState=running\nStatusText=7 answers, 3.0 a second\nMemoryCurrent=52428800\n"
    (manager / "shown").write_text(shown)
    done = edgekit_command("service", "status", "door", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["door"]
    assert facts["state"] == "active (running)"
    assert facts["doing"] == "7 answers, 3.0 a second"
    assert facts["memory"] == "52 MB"
    (manager / "shown").write_text(shown.replace("=active", "=failed").replace("=running", "=failed"))
    assert edgekit_command("service", "status", "door").returncode == 5


def test_no_systemd_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="no systemctl on this machine"):
        Systemd().show("edgekit-door")


def test_the_command_prints_the_unit(edgekit_command: Command, bundles: list[Path]) -> None:
    done = edgekit_command("service", "install", str(bundles[0]), "camera:0", "page:8080", "--print", "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert "Description=edgekit: one" in done.stdout
    assert "--threads 2 -- camera:0" in done.stdout
    assert edgekit_command("service", "install", str(bundles[0]), "camera:0", "window", "--print").returncode == 2
