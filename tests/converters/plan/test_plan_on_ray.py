"""`edgekit plan --ray` on two nodes of this machine, against the same plan without them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import MANIFEST, Bundle
from edgekit.cluster import Done, Tasks
from edgekit_converters.plan import on_ray
from edgekit_converters.plan.planner import Cluster
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import Piece
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.request import Request
from tests.conftest import CommandRunner, TwoNodes
from tests.fixtures.ray_cluster import await_

WIDE = ("--budget", "latency=1s,size=1MB,memory=1GB,drop=1%", "--prefer", "size")
TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"
_TIMES = ("latency_ms", "memory_bytes", "rounds", "front", "why")
_ORDERS = """
import os
import signal
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def photos():
    take(HERE / "kill", die)
    take(HERE / "go", lambda: None)
    end = time.monotonic() + 300
    first = (HERE / f"go-{os.getpid()}").exists()
    while (HERE / "hold").exists() and not (first and (HERE / "held").exists()):
        if not first:
            (HERE / "held").write_text(str(os.getpid()))
        time.sleep(0.05)
        assert time.monotonic() < end
    return [str(path) for path in sorted(HERE.glob("*.png"))]


def die():
    tempfile.mkdtemp(prefix="edgekit-left-")  # as libraries do
    os.kill(os.getpid(), signal.SIGKILL)


def take(token, then):
    try:
        token.rename(token.with_name(f"{token.name}-{os.getpid()}"))
    except FileNotFoundError:
        return
    then()
"""


@pytest.fixture
def photos(colour_photos: list[Path], tmp_path: Path) -> Path:
    """A folder of photos with a module that gives them, and follows orders by files on the way."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in colour_photos:
        shutil.copy(path, folder)
    (folder / "orders.py").write_text(_ORDERS)
    return folder


@pytest.fixture
def words(colour_model: Path, photos: Path) -> list[str]:
    found = ["plan", str(colour_model), "--preset", "unit", "--calibration", f"{photos}/orders.py:photos"]
    found += ["--effort", "low", "--engine", "onnxruntime", "--threads", "1", "--rounds", "1", "--seconds", "0.01"]
    return [*found, *WIDE, "--own-resolution"]


def onnx(*recipes: str) -> list[str]:
    return ["--to", "onnx", *(word for recipe in recipes for word in ("--recipe", recipe))]


def timeless(folder: Path) -> dict[str, Any]:
    """A plan without its times."""
    raw: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    rows = [{key: value for key, value in row.items() if key not in _TIMES} for row in raw["variants"]]
    return {**raw, "machine": None, "variants": rows}


def artifacts(folder: Path) -> dict[str, bytes]:
    """All that the bundles of a plan hold, but what says when and how fast."""
    files = [path for path in folder.glob("variants/*.bundle/*") if path.name not in (MANIFEST, "SHA256SUMS")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_cluster_makes_the_same_plan_and_one_that_was_made_starts_no_task(
    two_nodes: TwoNodes, words: list[str], edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    # Of an .onnx file no .tflite can be made: a variant that fails. The rescue waits for int8, which needs none.
    several = [*words, "--to", "tflite", *onnx("fp32", "int8", "mixed"), "--engine", "litert"]
    here, there = tmp_path / "here", tmp_path / "there"
    assert edgekit_command(*several, "-o", here).returncode == 0
    done = edgekit_command(*several, "-o", there, "--ray", two_nodes.address)
    assert done.returncode == 0, done.stderr
    assert "note: onnx-int8: made in" in done.stderr
    assert "raylet" not in done.stdout + done.stderr
    assert timeless(there) == timeless(here)
    reasons = {row["name"]: row["error"] or "" for row in timeless(there)["variants"]}
    assert reasons["onnx-mixed/onnxruntime/1"].startswith("not made: int8 keeps the answers")
    assert reasons["tflite-fp32/litert/1"].startswith("not made: ")
    assert len(artifacts(there)) >= 4
    assert artifacts(there) == artifacts(here)
    Bundle(there / "chosen.bundle")
    only = [*words, *onnx("fp32", "int8"), "--json", "-o", there, "--ray", "127.0.0.1:1"]  # nobody listens there
    again = edgekit_command(*only)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["finished"]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_a_repetition_and_leaves_nothing_behind(
    two_nodes: TwoNodes, words: list[str], photos: Path, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    (photos / "kill").touch()
    plan = [*words, *onnx("fp32"), "--json", "-o", tmp_path / "p", "--ray", two_nodes.address]
    done = edgekit_command(*plan)
    assert done.returncode == 0, done.stderr
    assert len(list(photos.glob("kill-*"))) == 1
    assert json.loads(done.stdout)["chosen"] == "onnx-fp32/onnxruntime/1"  # and nothing else on standard output
    await_(lambda: not list(two_nodes.temporary.glob("edgekit-*")))


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_and_keeps_what_is_made(
    two_nodes: TwoNodes, words: list[str], photos: Path, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    for name in ("go", "hold"):
        (photos / name).touch()
    folder = tmp_path / "p"
    # Without a size in the budget int8 does not wait for fp32.
    plan = [*words, "--budget", "latency=1s", *onnx("fp32", "int8"), "-o", str(folder), "--ray", two_nodes.address]
    code, said = interrupted(plan, ": made in ")
    assert code == 130, said
    assert f"interrupted: 1 artifact made so far and kept in {folder}\ngo on with: edgekit plan" in said
    assert "Traceback" not in said
    kept = {path.name: path.stat().st_ino for path in folder.glob("variants/*.bundle")}
    assert len(kept) == 1
    held = (photos / "held").read_text()
    await_(lambda: not Path("/proc", held).exists())
    (photos / "hold").unlink()
    done = edgekit_command(*plan)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": made in ") == 1
    now = {path.name: path.stat().st_ino for path in folder.glob("variants/*.bundle")}
    assert kept.items() < now.items()


@pytest.mark.slow
def test_a_smaller_input_is_made_on_a_node(
    two_nodes: TwoNodes, colour_photos: list[Path], edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    folder = tmp_path / "p"
    plan = ["plan", TINY, "--input-shape", "1,3,32,32", "--preset", "unit", "--eval", str(colour_photos[0].parent)]
    plan += ["--engine", "onnxruntime", "--threads", "1", "--rounds", "1", "--seconds", "0.01", "--own-resolution"]
    plan += ["--resolution", "16", *onnx("fp32"), *WIDE, "-o", str(folder), "--ray", two_nodes.address]
    done = edgekit_command(*plan)
    assert done.returncode == 0, done.stderr
    assert "note: onnx-fp32-16x16: made in " in done.stderr
    rows = {tuple(row["resolution"] or ()): row for row in timeless(folder)["variants"]}
    assert list(rows) == [(), (16, 16)]
    assert rows[()]["relative_l2"] < 1e-4 < rows[16, 16]["relative_l2"] < 1  # against the original, at its own size
    bundle = Bundle(folder / rows[16, 16]["bundle"])
    assert bundle.spec.inputs[0].shape == (None, 3, 16, 16)
    assert "16x16: judged against the original, with photos of 32x32" in bundle.manifest.notes


def test_a_node_that_sees_other_data_is_named(
    two_nodes: TwoNodes, words: list[str], photos: Path, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    head, other = two_nodes.folders
    for folder in (head, other):
        shutil.copytree(photos, folder / "seen", dirs_exist_ok=True)
    (other / "seen" / "00.png").write_bytes((photos / "01.png").read_bytes())
    path = "/proc/self/cwd/seen"  # each node has a current folder of its own
    plan = [*words, *onnx("fp32"), "--calibration", path, "-o", tmp_path / "p", "--ray", two_nodes.address]
    done = edgekit_command(*plan, cwd=head)
    assert done.returncode == 5, done.stderr
    assert f"sees another content of --calibration {path}; expected the same files" in done.stderr
    assert "error: node " in done.stderr
    assert not (tmp_path / "p").exists()


def test_a_model_that_is_refused_ends_the_plan(
    two_nodes: TwoNodes, words: list[str], colour_model: Path, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(colour_model.read_bytes()[:200])
    plan = ["plan", cut, *words[2:], *onnx("fp32"), "-o", tmp_path / "p", "--ray", two_nodes.address]
    done = edgekit_command(*plan)
    assert done.returncode == 3, done.stderr
    assert "cut.onnx" in done.stderr
    assert not (tmp_path / "p").exists()


def test_more_cpus_than_a_node_has_are_refused(
    two_nodes: TwoNodes, words: list[str], edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    plan = [*words, *onnx("fp32"), "-o", tmp_path / "p", "--ray", two_nodes.address, "--ray-cpus", "64"]
    done = edgekit_command(*plan)
    assert done.returncode == 5, done.stderr
    assert "no node of the Ray cluster has 64 CPUs" in done.stderr


def test_cpus_without_a_cluster_are_a_usage_error(
    words: list[str], edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    done = edgekit_command(*words, *onnx("fp32"), "-o", tmp_path / "p", "--ray-cpus", "2")
    assert done.returncode == 2
    assert "--ray-cpus without --ray" in done.stderr


def test_without_ray_the_extra_is_named(words: list[str], tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['ray'] = None; from edgekit.cli import main; main(sys.argv[1:])"
    plan = [*words, *onnx("fp32"), "-o", str(tmp_path / "p"), "--ray", "auto"]
    done = subprocess.run(
        [sys.executable, "-c", blocked, *plan], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert "this needs ray, which is not installed\n  remedy: pip install 'edgekit-ai[ray]'" in done.stderr
    assert not (tmp_path / "p").exists()


class Dead(Tasks[Any]):
    """Tasks whose processes die each time."""

    def start(self, key: Any, function: Any, *arguments: Any) -> None:
        self.key = key

    def next(self) -> Done[Any]:
        return Done(self.key, lost="its process died")


def test_what_is_lost_is_named_with_a_remedy(
    colour_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "connected", nullcontext)
    monkeypatch.setattr(on_ray, "on_each_node", lambda *_, **__: {})
    monkeypatch.setattr(on_ray, "Tasks", Dead)
    request, stages = Request(str(colour_model), tmp_path), Stages(Silent())
    workers = on_ray.Workers(request, Cluster("auto"), Stock(request, tmp_path, stages), stages, pytest.fail)
    for work, called in ((Piece("onnx", "fp32"), "onnx-fp32"), ((24, 24), "not made")):
        workers.start(work)
        outcome = workers.next()
        assert (outcome.work, outcome.lost) == (work, True)
        assert str(outcome.error).startswith(f"{called}: its process died\n  remedy: set aside more of a node for each")


def interrupted(words: Sequence[str], line: str) -> tuple[int, str]:
    """Start the command and interrupt it when a line of it holds something; its exit code and what it said."""
    command = [str(Path(sys.executable).parent / "edgekit"), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = next((text for text in process.stderr if line in text), "")
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        return process.wait(timeout=60), said
