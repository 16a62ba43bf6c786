"""`edgekit plan` as a user runs it: a real model, real artifacts, real measurements."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgekit
from edgekit.bundle import Bundle
from edgekit_converters.api import build_request
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.measuring import Target
from edgekit_converters.plan.planner import Job, Planner
from edgekit_converters.plan.store import Ledger, held
from edgekit_converters.progress import Silent, Stages
from tests.conftest import CommandRunner
from tests.converters.plan.conftest import Plan

WIDE = "latency=1s,size=1MB,memory=1GB,drop=1%"


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found


@pytest.fixture(scope="module")
def planned(plan_words: list[str], edgekit_command: CommandRunner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished plan; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("plans") / "colours.plan"
    done = edgekit_command("plan", *plan_words, "--budget", WIDE, "--plot", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert "★" in done.stdout
    assert f"edgekit run {folder}/chosen.bundle INPUT --engine onnxruntime --threads 1" in done.stderr
    return folder


def test_the_plan_holds_what_was_measured_and_why(planned: Path) -> None:
    raw = read(planned)
    assert (raw["finished"], raw["name"], raw["device"]) == (True, "colours", None)
    rows = {row["name"]: row for row in raw["variants"]}
    assert list(rows)[:2] == ["onnx-fp32/onnxruntime/1", "onnx-int8/onnxruntime/1"]
    for row in list(rows.values())[:2]:
        assert row["latency_ms"] > 0
        assert row["memory_bytes"] > 20_000_000  # Python alone takes that
        assert row["agreement"] == 1.0
        assert (planned / row["bundle"] / row["artifact"]).stat().st_size == row["size_bytes"]
    assert raw["chosen"] in list(rows)[:2]
    assert raw["baseline"].startswith("onnx-int8/onnxruntime/")
    assert raw["chosen"] in [name for name, row in rows.items() if row["front"]]
    assert "load_average" in raw["machine"]


def test_the_chosen_bundle_is_whole_and_answers(planned: Path, colour_photos: list[Path]) -> None:
    bundle = Bundle(planned / "chosen.bundle")  # every hash matches
    (artifact,) = bundle.artifacts
    chosen = next(row for row in read(planned)["variants"] if row["name"] == read(planned)["chosen"])
    assert (artifact.file, artifact.degraded) == (chosen["artifact"], None)
    assert (bundle.path / "report.html").is_file()
    command = bundle.manifest.source["command"]
    assert [command[place + 1] for place, word in enumerate(command) if word == "--recipe"] == [artifact.recipe]
    assert "--allow-degraded" not in command
    with edgekit.load(bundle.path) as predictor:
        assert [predictor.predict(photo).best.index for photo in colour_photos[:4]] == [0, 1, 2, 3]


def test_the_input_size_that_a_file_fixes_is_not_varied(planned: Path) -> None:
    row = next(row for row in read(planned)["variants"] if row["resolution"] == [24, 24])
    assert row["error"].startswith("not made: the model takes no 24x24 photos: its file fixes the input size")
    assert row["latency_ms"] is None


def test_the_plot_is_a_picture(planned: Path) -> None:
    assert (planned / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_another_budget_uses_what_is_there_and_can_find_that_nothing_fits(
    planned: Path, plan: Plan, plan_words: list[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(planned, tmp_path / "copy"))
    before = read(folder)
    code, _, said = plan(*plan_words, "--budget", "size=100B,drop=1%", "-o", folder)
    assert code == 4
    assert "nothing fits the budget" in said
    assert "chosen.bundle is that of an earlier budget" in said
    assert "remedy: loosen an axis: size=" in said
    assert "onnx: convert" not in said
    assert "measure, round" not in said
    after = read(folder)
    assert (after["chosen"], after["budget"]) == (None, {"size_mb": pytest.approx(1e-4), "drop_points": 1.0})
    measured = [(row["name"], row["latency_ms"]) for row in before["variants"]]
    assert [(row["name"], row["latency_ms"]) for row in after["variants"]] == measured
    assert all(row["misses"] for row in after["variants"] if row["size_bytes"])
    assert Bundle(folder / "chosen.bundle").artifacts  # the old one is as it was


def test_what_is_too_large_is_not_measured(plan: Plan, plan_words: list[str], tmp_path: Path) -> None:
    # A budget that only the smaller of the two files fits: its size is known before anything is measured.
    words = [word if word != "int8" else "fp16" for word in plan_words]
    code, out, _ = plan(*words, "--own-resolution", "--json", "--budget", "size=1MB", "-o", tmp_path / "p")
    assert code == 0
    sizes = sorted(row["size_bytes"] for row in json.loads(out)["variants"])
    limit = (sizes[0] + sizes[1]) / 2
    again = tmp_path / "again"
    code, out, _ = plan(*words, "--own-resolution", "--json", "--budget", f"size={limit:.1f}B", "-o", again)
    assert code == 0
    small, large = sorted(json.loads(out)["variants"], key=lambda row: row["size_bytes"])
    assert small["fits"]
    assert small["latency_ms"] > 0
    assert (large["fits"], large["latency_ms"]) == (False, None)
    assert large["why"].endswith("not measured")


def interrupted(words: list[str], line: str, how: signal.Signals) -> tuple[int, str]:
    """Start the command, and interrupt it when it has said something; its exit code and the rest of what it said."""
    command = [str(Path(sys.executable).parent / "edgekit"), "plan", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = next(text for text in process.stderr if text.startswith(line))
        process.send_signal(how)
        said += process.stderr.read()
        return process.wait(timeout=60), said


def bundles(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (folder / "variants").glob("*.bundle")}


def test_a_plan_that_was_killed_goes_on(plan: Plan, plan_words: list[str], planned: Path, tmp_path: Path) -> None:
    words = [*plan_words, "--budget", WIDE, "-o", str(tmp_path / "p")]
    code, _ = interrupted(words, "onnx: int8 against the original", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert [row["recipe"] for row in read(tmp_path / "p")["variants"]][:1] == ["fp32"]
    assert not read(tmp_path / "p")["finished"]
    kept = bundles(tmp_path / "p")
    assert any(name.startswith("onnx-fp32") for name in kept)
    half = tmp_path / "p" / "variants" / ".onnx-int8-0.bundle.abc.tmp"
    half.mkdir()
    code, _, said = plan(*words)
    assert code == 0, said
    assert kept.items() <= bundles(tmp_path / "p").items()
    assert not half.exists()
    mine, theirs = read(tmp_path / "p"), read(planned)
    assert [row["name"] for row in mine["variants"]] == [row["name"] for row in theirs["variants"]]
    assert [row["bundle"] for row in mine["variants"]] == [row["bundle"] for row in theirs["variants"]]
    Bundle(tmp_path / "p" / "chosen.bundle")


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("onnx: int8: ", r"interrupted: \d artifacts? made so far and kept in "),
        ("measure, round 1 of 2", r"interrupted: [2-9] of \d variants so far are measured and kept in "),
    ],
)
def test_ctrl_c_says_what_is_there_and_how_to_go_on(
    line: str, there: str, plan_words: list[str], tmp_path: Path
) -> None:
    words = [*plan_words, "--budget", WIDE, "--rounds", "2", "-o", str(tmp_path / "p")]
    code, said = interrupted(words, line, signal.SIGINT)
    assert code == 130
    assert re.search(there + re.escape(f"{tmp_path}/p\n"), said), said
    assert f"go on with: edgekit plan {plan_words[0]} --preset unit" in said
    assert "Traceback" not in said
    assert not read(tmp_path / "p")["finished"]


def test_a_damaged_bundle_is_made_again(planned: Path, plan: Plan, plan_words: list[str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(planned, tmp_path / "copy"))
    artifact = next((folder / "variants").glob("onnx-int8-*.bundle/*.onnx"))
    good = artifact.read_bytes()
    artifact.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    code, _, said = plan(*plan_words, "--budget", WIDE, "-o", folder)
    assert code == 0
    assert "note: made again: " in said
    Bundle(artifact.parent)


@pytest.fixture
def no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has added no board."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.usefixtures("no_devices")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "latency=20"], "latency=20 has no unit"),
        (["--budget", WIDE, "--threads", "0"], "--threads 0"),
        (["--budget", WIDE, "--resolution", "big"], "--resolution big"),
        (["--budget", WIDE, "--on", "emulated:pi5"], "time and memory say nothing of the board's"),
        (["--budget", WIDE, "--on", "attic"], "no device named attic"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    words: list[str], said: str, plan: Plan, plan_words: list[str], tmp_path: Path
) -> None:
    code, _, error = plan(*plan_words, *words, "-o", tmp_path / "p")
    assert code == 2
    assert said in error
    assert not (tmp_path / "p").exists()


def test_a_folder_of_something_else_is_left_alone(plan: Plan, plan_words: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, said = plan(*plan_words, "--budget", WIDE, "-o", tmp_path)
    assert code == 2
    assert "a folder that is no plan and not empty" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_that_is_no_model_ends_the_plan(
    plan: Plan, plan_words: list[str], tmp_path: Path, colour_model: Path
) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(colour_model.read_bytes()[:200])
    code, _, said = plan(str(cut), *plan_words[1:], "--budget", WIDE, "-o", tmp_path / "p")
    assert code == 3
    assert "cut.onnx" in said
    assert not (tmp_path / "p").exists()


def test_a_plan_that_was_finished_stays_where_the_next_one_is_refused(
    planned: Path, plan: Plan, plan_words: list[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(planned, tmp_path / "copy"))
    before = read(folder)
    code, _, said = plan(*plan_words, "--calibration", tmp_path / "nowhere", "--budget", "size=1B", "-o", folder)
    assert code == 3, said
    assert read(folder) == before


def test_two_plans_do_not_work_in_one_folder(planned: Path, plan: Plan, plan_words: list[str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(planned, tmp_path / "copy"))
    before = read(folder)
    with held(folder):
        code, _, said = plan(*plan_words, "--budget", "size=1B", "-o", folder)
    assert code == 5
    assert "another plan is at work in it" in said
    assert read(folder) == before


def test_what_another_plan_measured_before_the_folder_was_held_is_kept(
    colour_model: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    folder, measured = tmp_path / "p", tmp_path / "p" / "variants" / "measured.json"
    photos = str(colour_photos[0].parent)
    request = build_request(
        str(colour_model), folder, to=("onnx",), recipes=("fp32",), preset="unit", evaluation=photos
    )
    target = Target(None, ("onnxruntime",), (1,), 0.01)
    planner = Planner(Job(request, Budget(latency_ms=1000), "latency", target, rounds=1, vary=False), Stages(Silent()))
    Ledger(measured).add("of the other", 1.0, None)
    (folder / "plan.json").write_text(json.dumps({"device": None, "machine": {"of": "the other"}}))
    found = planner.run()
    assert found.machine == {"of": "the other"}
    assert Ledger(measured).rounds("of the other") == ((1.0, None),)
    assert len(json.loads(measured.read_text())) == 2


def test_an_engine_that_runs_none_of_the_formats_is_a_usage_error(
    plan: Plan, plan_words: list[str], tmp_path: Path
) -> None:
    words = [word if word != "onnxruntime" else "litert" for word in plan_words]
    code, _, said = plan(*words, "--budget", WIDE, "-o", tmp_path / "p")
    assert code == 2
    assert "--engine litert for --to onnx; expected an engine that runs it" in said


def test_help_imports_no_framework() -> None:
    code = "import sys; from edgekit.cli import main\ntry:\n main(['plan', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'tensorflow', 'torch', 'onnx', 'keras', 'matplotlib', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.rstrip().endswith("[]")
    assert "--budget" in done.stdout
