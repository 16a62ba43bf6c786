"""From a bundle to its page, with the real command, engines and profilers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import edgekit
from edgekit.binding import BoundEngine
from edgekit.bundle import Bundle, Manifest, write_manifest
from edgekit.cli import group
from edgekit.engine import open_engine
from edgekit.errors import BundleRefused, DataRefused, EnvironmentFault, InputRefused, UsageError
from edgekit.tasks import task_for
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import choose
from edgekit_converters.plan.store import PlanFile, write_plan
from edgekit_converters.plan.variants import Piece, Variant
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.report.findings import Case, Findings
from edgekit_converters.report.page import PAGE, manifest_page, render
from edgekit_converters.report.timing import read_bench, this_machine
from edgekit_converters.report.write import ReportRequest, write_report

TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"
EVIL = "<script>document.title='owned'</script>"
LABELS = ("red", EVIL, "blue", "none")
Runner = Callable[..., "CompletedProcess[str]"]


def blend(share: float, seed: int) -> NDArray[np.uint8]:
    """A picture between red and green."""
    values = np.random.default_rng(seed).integers(0, 76, (32, 32, 3)).astype(np.float64)
    values[..., 0] += 153 * share
    values[..., 1] += 153 * (1 - share)
    return values.astype(np.uint8)


@pytest.fixture(scope="module")
def blends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos between two classes."""
    folder = tmp_path_factory.mktemp("blends")
    for seed, share in enumerate(np.linspace(0, 1, 40)):
        cv2.imwrite(str(folder / f"{seed:02}.png"), blend(float(share), seed)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def borders(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos on which the original is so unsure that rounding decides."""
    folder = tmp_path_factory.mktemp("borders")
    task, artifact = task_for(bundle.spec), bundle.artifacts[0]
    with open_engine(bundle.file(artifact.file), threads=1) as engine:
        runner = BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs)
        for seed in range(30):
            low, high = 0.0, 1.0
            for _ in range(12):
                middle = (low + high) / 2
                red = runner.run(task.encode(blend(middle, seed)))["output"].argmax() == 0
                low, high = (low, middle) if red else (middle, high)
            cv2.imwrite(str(folder / f"{seed:02}.png"), blend(high, seed)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def bundle(blends: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny network as TFLite in fp32 and int8; one of its classes is called like a script."""
    return edgekit.convert(
        TINY,
        tmp_path_factory.mktemp("report") / "tiny.bundle",
        to=("tflite",),
        recipes=("fp32", "int8"),
        preset="unit",
        labels=LABELS,
        input_shapes=["1,3,32,32"],
        calibration=blends,
        effort="low",
        allow_degraded=True,
    )


@pytest.fixture(scope="module")
def page(bundle: Bundle, borders: Path, edgekit_command: Runner, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command writes of everything."""
    output = tmp_path_factory.mktemp("page") / "page.html"
    done = edgekit_command("report", bundle.path, "--data", borders, "--seconds", "0.1", "-o", output)
    assert done.returncode == 0, done.stderr
    assert f"wrote {output}" in done.stdout
    return output.read_text(encoding="utf-8")


def plain(html: str) -> str:
    """The text of a page."""
    text = re.sub(r"<(style|script)>.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text))).replace("\u00a0", " ")


def test_the_page_shows_everything_that_was_measured(page: str, bundle: Bundle) -> None:
    text = plain(page)
    assert re.search(r"litert [\d.]+, \d+ threads?", text)
    assert re.search(r"The measured machine reaches [\d.]+ GMAC/s in fp32", text)
    assert re.search(r"GEMM|Conv", text)
    assert "Error of the outputs from each layer alone" in text
    assert "Not on this page" not in text
    assert str(bundle.manifest.calibration["fingerprint"]) in text
    assert "edgekit verify tiny.bundle" in text


def test_photos_whose_answer_changed_are_shown_with_both_answers(page: str) -> None:
    found = re.search(r"int8 TFLite: (\d+) of 30 inputs", plain(page))
    assert found is not None
    assert 0 < int(found[1]) < 30
    photos = re.findall(r'<img src="(data:image/jpeg;base64,[^"]+)" width="240" height="240" alt="(\d\d).png">', page)
    assert len(photos) == min(8, int(found[1]))
    answers = re.findall(r"original (\S+) \d+ % int8 (\S+) \d+ % \d\d\.png", plain(page))
    assert len(answers) == len(photos)
    assert all(set(pair) <= set(LABELS) and pair[0] != pair[1] for pair in answers)


def test_a_class_called_like_a_script_is_text(page: str) -> None:
    assert EVIL not in page
    assert "&lt;script&gt;document.title=" in page
    assert page.count("<script>") == 1


def test_no_path_of_this_machine_is_on_the_page(page: str, borders: Path, bundle: Bundle) -> None:
    for path in (borders, bundle.path, Path(TINY.rpartition(":")[0])):
        assert str(path.parent) not in page


def test_the_bundle_holds_a_page_of_its_manifest(bundle: Bundle) -> None:
    own = bundle.file(PAGE).read_text(encoding="utf-8")
    assert own == manifest_page("tiny.bundle", bundle.manifest)
    assert len(own.encode()) < 60_000
    assert "What it needs Arena: what is alive at once artifact MACs weights arena traffic fp32 TFLite" in plain(own)
    assert "Not on this page. edgekit report tiny.bundle --data PHOTOS shows them." in plain(own)
    assert "report.html" in (bundle.path / "SHA256SUMS").read_text()
    Bundle(bundle.path)


def test_the_commands_on_the_page_make_the_bundle_again(
    bundle: Bundle, blends: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page says is typed, in a folder with the files that it names."""
    own = bundle.file(PAGE).read_text(encoding="utf-8")
    spec, convert = (unescape(text) for text in re.findall(r"<code>(.*?)</code>", own, flags=re.DOTALL)[:2])
    shutil.copytree(bundle.path, tmp_path / "tiny.bundle")
    shutil.copytree(blends, tmp_path / blends.name)
    shutil.copy(TINY.rpartition(":")[0], tmp_path / "tiny.py")
    subprocess.run([sys.executable, *shlex.split(spec)[1:]], cwd=tmp_path, check=True, timeout=120)
    words = shlex.split(convert)
    words[words.index("-o") + 1] = "again.bundle"
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    again = Bundle(tmp_path / "again.bundle").manifest
    assert [(item.file, item.bytes) for item in again.artifacts] == [
        (item.file, item.bytes) for item in bundle.manifest.artifacts
    ]
    assert again.calibration == bundle.manifest.calibration
    assert again.spec == bundle.manifest.spec


def write(*sources: Path, output: Path, **more: object) -> str:
    write_report(ReportRequest(sources, output, **more), Stages(Silent()))  # type: ignore[arg-type]
    return output.read_text(encoding="utf-8")


def test_nothing_is_run_without_being_asked(bundle: Bundle, tmp_path: Path) -> None:
    text = plain(write(bundle.path, output=tmp_path / "r.html"))
    assert "Not on this page. edgekit report tiny.bundle measures it here, with --on DEVICE on a board." in text
    assert "as measured at conversion" in text


def test_bundles_lie_side_by_side(bundle: Bundle, tmp_path: Path) -> None:
    second = Path(shutil.copytree(bundle.path, tmp_path / "second.bundle"))
    text = write(bundle.path, second, output=tmp_path / "r.html")
    assert "Side by side" in text
    assert text.count("<article") == 2
    assert [int(level) for level in re.findall(r"<h(\d)", text)][:3] == [1, 2, 2]


def test_the_page_never_lies_in_a_bundle(bundle: Bundle) -> None:
    before = bundle.file(PAGE).read_bytes()
    with pytest.raises(UsageError, match=r"report\.html lies inside a bundle(.|\n)*-o report\.html"):
        write(bundle.path, output=bundle.path / "report.html")
    assert bundle.file(PAGE).read_bytes() == before


def test_a_damaged_bundle_is_refused_and_the_old_page_kept(bundle: Bundle, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(bundle.path, tmp_path / "d.bundle"))
    with (damaged / "golden.npz").open("r+b") as stream:
        stream.write(b"?")
    output = tmp_path / "r.html"
    output.write_text("old")
    with pytest.raises(BundleRefused, match=r"golden\.npz is damaged"):
        write(damaged, output=output)
    assert output.read_text() == "old"


def test_data_needs_a_float_artifact(made: Callable[..., Manifest], bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "int8.bundle"))
    (folder / "tiny.fp32.tflite").unlink()
    write_manifest(folder, replace(bundle.manifest, artifacts=bundle.artifacts[1:]))
    with pytest.raises(DataRefused, match="an fp32 artifact, which can answer other data"):
        write(folder, output=tmp_path / "r.html", data=str(tmp_path))


def test_an_unknown_board_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    """Falling back to this machine's times would be a lie."""
    with pytest.raises(EnvironmentFault, match="nowhere"):
        write(bundle.path, output=tmp_path / "r.html", seconds=0.1, device="nowhere")
    assert not (tmp_path / "r.html").exists()


def test_no_measure_and_a_board_contradict(bundle: Bundle, edgekit_command: Runner, tmp_path: Path) -> None:
    done = edgekit_command("report", bundle.path, "--no-measure", "--on", "pi", cwd=tmp_path)
    assert done.returncode == 2
    assert "--no-measure together with --on" in done.stderr


def test_a_machine_without_engines_gets_a_page_that_says_so(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ai_edge_litert.py").write_text("raise ModuleNotFoundError('no', name='ai_edge_litert')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    text = plain(write(bundle.path, output=tmp_path / "r.html", seconds=0.1))
    assert "The times are those of the conversion: ai_edge_litert is installed but cannot be imported" in text


def test_roofline_and_resources_are_shown_where_they_are_known(manifest: Manifest) -> None:
    latency = {"count": 9, "minimum": 1.0, "mean": 2.1, "p50": 2.0, "p90": 2.5, "p99": 3.0}
    measurement = {
        "artifact": "net.int8.tflite", "engine": "litert", "engine_version": "2.3.0", "threads": 1, "load_ms": 5.0,
        "latency_ms": latency, "memory_bytes": {"peak": 64_000_000}, "operators": None,
        "roofline": {"compute_bound_ms": 0.5, "reachable_ms": 0.5, "reached": 0.25, "limit": "arithmetic"},
    }  # fmt: skip
    peak = {"gmacs_per_s": {"fp32": 40.25, "int8": 120.0}, "gbytes_per_s": 9.5}
    raw = {"measurements": [measurement], "machine_peak": peak}
    benched = read_bench(json.loads(json.dumps(raw)), "a Pi 5")
    cases = tuple(Case(artifact, benched.timings.get(artifact.file)) for artifact in manifest.artifacts)
    text = plain(render([Findings("net.bundle", manifest, cases, benched)]))
    assert "The measured machine reaches 40.2 GMAC/s in fp32, 120 GMAC/s in int8 and 9.5 GB/s from memory." in text
    assert "64.00 MB 0.500 ms 25.0 % limited by arithmetic" in text
    assert "latency measured on a Pi 5" in text


def test_the_processor_is_named_and_the_machine_is_not(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    info = "processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    (tmp_path / "proc/cpuinfo").write_text(info)
    assert this_machine(tmp_path).startswith("Raspberry Pi 5 Model B Rev 1.0, ")
    assert socket.gethostname() not in this_machine(tmp_path)


def plan_folder(folder: Path, *, finished: bool = True, budget: Budget | None = None) -> Path:
    """A plan of four variants, chosen among and written by the code of `edgekit plan`."""

    def variant(recipe: str, latency: float | None, agreement: float | None, **more: Any) -> Variant:
        made = f"variants/{recipe}"
        size = {"fp32": 16_000_000}.get(recipe, 4_000_000)
        known = {"bundle": made, "artifact": f"{recipe}.tflite", "size_bytes": size, "memory_bytes": 50_000_000}
        return Variant(
            Piece("tflite", recipe, (224, 224)),
            "litert",
            2,
            latency_ms=latency,
            agreement=agreement,
            **{**known, **more},
        )

    variants = (
        variant("fp32", None, 1.0, memory_bytes=None),
        variant("int8", 4.9, 0.95),
        variant("mixed", 4.5, 0.98),
        variant("int8-int16", None, None, bundle=None, size_bytes=None, error=f"{EVIL} has no kernel"),
    )
    limits = budget or Budget(latency_ms=5, size_mb=5, drop_points=3)
    plan = PlanFile(
        model="/home/somebody/net.keras", name="net", budget=limits, device=None, machine={},
        baseline="tflite-int8-224x224/litert/2", finished=finished, variants=variants, choice=choose(variants, limits),
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_plan(folder, plan)
    return folder


def test_a_plan_says_what_won_and_why_the_others_lost(tmp_path: Path) -> None:
    html = write(plan_folder(tmp_path / "plan"), output=tmp_path / "r.html")
    text = plain(html)
    assert (
        "tflite-mixed-224x224/litert/2 fits best : 4.50 ms; 4.00 MB; 98.0 % agreement; the int8 that one would pick by "
        "hand gives 4.90 ms, 4.00 MB, 95.0 % agreement." in text
    )
    assert re.search(
        r"fp32 tflite, 224 . 224, 2 threads 16.00 MB 100.0 % misses size 16 MB, allowed 5 MB; not measured", text
    )
    assert re.search(
        r"int8 tflite, 224 . 224, 2 threads 4.90 ms 4.00 MB 50.00 MB 95.0 % fits fits, but 1.09x the", text
    )
    assert "Budget: latency 5 ms, size 5 MB, drop 3 points." in text
    assert "failed <script>" in text
    assert EVIL not in html
    assert "/home/somebody" not in html


def test_what_was_not_measured_is_drawn_by_its_size(tmp_path: Path) -> None:
    html = write(plan_folder(tmp_path / "plan"), output=tmp_path / "r.html")
    latency, size = re.findall(r'<svg class="chart".*?</svg>', html, flags=re.DOTALL)
    assert "tflite-fp32-224x224" not in latency
    assert re.search(r'class="dot g0 missed" data-key="p0-tflite-fp32-224x224/litert/2"', size)


def test_int8_by_hand_that_does_not_fit_is_said_to_lose(tmp_path: Path) -> None:
    folder = plan_folder(tmp_path / "plan", budget=Budget(latency_ms=4.6))
    text = plain(write(folder, output=tmp_path / "r.html"))
    assert "gives 4.90 ms, 4.00 MB, 95.0 % agreement and loses: latency 4.9 ms, allowed 4.6 ms." in text


def test_a_plan_under_way_says_so(tmp_path: Path) -> None:
    text = plain(write(plan_folder(tmp_path / "plan", finished=False), output=tmp_path / "r.html"))
    assert "The plan is not finished: the same command goes on with it." in text


def test_a_budget_that_nothing_fits(tmp_path: Path) -> None:
    folder = plan_folder(tmp_path / "plan", budget=Budget(size_mb=1))
    assert "No variant fits the budget ; 4 were looked at." in plain(write(folder, output=tmp_path / "r.html"))


def test_the_chosen_variant_of_a_plan_is_explained_too(bundle: Bundle, tmp_path: Path) -> None:
    """Fault: that of the variants is marked degraded where an earlier budget asked for more."""
    folder = plan_folder(tmp_path / "plan", finished=False)
    shutil.copytree(bundle.path, folder / "variants" / "mixed")
    shutil.copytree(bundle.path, folder / "chosen.bundle")
    assert "<h2>mixed</h2>" in write(folder, output=tmp_path / "r.html")
    assert "<h2>chosen.bundle</h2>" in write(plan_folder(folder), output=tmp_path / "r.html")


def test_what_a_plan_chose_is_measured_as_it_runs_there(bundle: Bundle, tmp_path: Path) -> None:
    """Fault: the page told the times of the default engine with the default number of threads."""
    folder = plan_folder(tmp_path / "plan")
    shutil.copytree(bundle.path, folder / "chosen.bundle")
    raw = json.loads((folder / "plan.json").read_text())
    chosen = next(variant for variant in raw["variants"] if variant["name"] == raw["chosen"])
    chosen["threads"] = 3
    (folder / "plan.json").write_text(json.dumps(raw))
    text = plain(write(folder, output=tmp_path / "r.html", seconds=0.1))
    assert "with litert, 3 threads, as the plan chose." in text
    assert re.search(r"litert [\d.]+, 3 threads operator type", text)
    unmeasured = plain(write(folder, output=tmp_path / "r.html"))
    assert "The plan measured 4.50 ms with litert, 3 threads, which it chose." in unmeasured


def test_a_plan_cannot_lead_outside(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "elsewhere")
    folder = plan_folder(tmp_path / "plan")
    raw = json.loads((folder / "plan.json").read_text())
    raw["variants"][2]["bundle"] = "../elsewhere"
    (folder / "plan.json").write_text(json.dumps(raw))
    with pytest.raises(InputRefused, match=r"names the bundle '\.\./elsewhere'"):
        write(folder, output=tmp_path / "r.html")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 1}', '{"schema": 2, "model": "m", "name": "n", "variants": []}']
)
def test_a_damaged_or_newer_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputRefused, match=r"plan\.json (is damaged|has schema 2)"):
        write(tmp_path, output=tmp_path / "r.html")
