"""A run on a Ray cluster that is started for it; Ray runs in a child process alone, with its threads and warnings."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit_runtimes.bulk import on_ray
from edgekit_runtimes.bulk.answer import Setup
from edgekit_runtimes.signals import Stopped, clean_stop
from tests.fixtures.ray_cluster import await_
from tests.runtimes.bulk.conftest import Run, write_arrays


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where processes make their temporary files; the kernel bounds the paths of Ray's sockets, which lie there too."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other tests Ray's workers hardly run by default
        yield Path(folder)


@pytest.mark.slow
def test_a_cluster_gives_the_bytes_of_one_machine(run_deadly: Run, temporary: Path, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 100)
    (source / "0" / "0040.npy").write_bytes(b"damaged")
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    done = run_deadly(source, there, "--ray", "local", "--workers", "2")
    assert done.returncode == 6, done.stderr
    await_(lambda: not list(temporary.glob("edgekit-*")))
    assert run_deadly(source, here).returncode == 6
    assert there.read_bytes() == here.read_bytes()


@pytest.mark.slow
def test_a_run_on_a_cluster_that_is_stopped_says_so(keywords: Bundle, temporary: Path, tmp_path: Path) -> None:
    source, command = write_arrays(tmp_path / "inputs", 10), str(Path(sys.executable).parent / "edgekit")
    words = [command, "run", str(keywords.path), str(source), "-o", str(tmp_path / "r.parquet"), "--ray", "local"]
    with subprocess.Popen([*words, "--workers", "1"], stderr=subprocess.PIPE, text=True) as process:
        await_(lambda: bool(list(temporary.glob("edgekit-bundle-*"))))  # the engine takes longer to open
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "stopped by SIGTERM: nothing was done yet" in said
    await_(lambda: not list(temporary.glob("edgekit-*")))


def test_what_ray_makes_of_a_signal_is_the_signal_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(_: str) -> None:
        with suppress(Stopped):
            signal.raise_signal(signal.SIGTERM)
        raise KeyboardInterrupt  # as Ray does where it waits in native code

    monkeypatch.setattr(on_ray, "connected", connected)
    parts = on_ray.answered(Setup("bundle", "hash"), iter(()), on_ray.Cluster("auto"))
    with clean_stop(), pytest.raises(Stopped) as stopped:
        next(parts)
    assert stopped.value.code == 143


def test_no_cluster_says_how_to_have_one(run_deadly: Run, tmp_path: Path) -> None:
    source = write_arrays(tmp_path / "inputs", 2)
    done = run_deadly(source, tmp_path / "r.parquet", "--ray", "127.0.0.1:1")
    assert done.returncode == 5, done.stderr
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr
    assert "--ray local to start one" in done.stderr
