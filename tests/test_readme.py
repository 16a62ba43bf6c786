"""The README and the documents tell the truth: its commands and snippets run, its tables are the code's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit import errors
from edgekit.presets import PRESETS
from edgekit.spec import TASKS, Spec
from edgekit_converters.quantize.recipes import RECIPES
from samples.demo.run import STEPS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("device.md", "choose.md", "registries.md")
)

QUICKER = {
    # Two epochs instead of 25; the accuracy is lower, the files are the same.
    "python samples/image_classification/train.py digits": "--epochs 2",
    # After two epochs more scores are close to each other than in the classifier that the README shows.
    "edgekit convert digits/digits.keras --preset unit": "--max-drop 3",
}
IN_THE_DEMO = "edgekit convert samples/demo/efficientnet_lite0.py:build"
"""Takes minutes; `make demo` runs it, and a test below holds the two commands to be the same."""

NOT_RUN = {
    "pip install -c constraints.txt '.[convert]'": "installs gigabytes; the extra and the file are checked",
    "pip install '.[litert]'": "tests/packaging installs the wheel with this extra in a bare environment",
    "pip install '.[onnxruntime]'": "needs the network; the extra is checked",
    **dict.fromkeys(
        (
            "sudo edgekit service install doors.bundle camera:0 mqtt://192.168.1.5/doors",
            "edgekit service status doors",
            "edgekit service logs doors -f",
            "sudo edgekit service update doors new.bundle",
            "sudo edgekit service rollback doors",
            "sudo edgekit service uninstall doors",
        ),
        "needs a running systemd; tests/runtimes/service runs each with a service manager that records, and most "
        "under a systemd that is started for it",
    ),
    **dict.fromkeys(
        (
            "edgekit device add pi pi@raspberrypi.local",
            "edgekit device install pi --with litert",
            "edgekit deploy digits.bundle pi",
            "edgekit verify digits.bundle --on pi",
            "edgekit run digits.bundle camera:0 --on pi",
            "edgekit bench digits.bundle --on pi",
            "edgekit device doctor pi",
            "edgekit verify digits.bundle --on emulated:pi5",
        ),
        "needs a board; tests/runtimes/remote runs each against an OpenSSH server here, tests/arm on emulated boards",
    ),
    **dict.fromkeys(
        (
            "edgekit push digits.bundle oci://registry.example.com/team/digits:v1",
            "edgekit pull oci://registry.example.com/team/digits:v1 -o digits.bundle",
            "edgekit push digits.bundle models:/digits",
        ),
        "needs a registry; tests/runtimes/lifecycle runs each against one on loopback",
    ),
    "make demo": "takes minutes; `make --dry-run` is checked, and the demo's parts have tests of their own",
}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: After the opening fence.
        text: Between the fences.
    """

    language: str
    text: str

    def commands(self) -> list[tuple[str, list[str]]]:
        """Commands of a console block, each with the lines of output that follow it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                found.append((" ".join(line[2:].split()), []))
            else:
                found[-1][1].append(line)
        return found


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", DOCUMENTS, re.M | re.S)]


@dataclass(frozen=True)
class Ran:
    """A command of the README that was run."""

    command: str
    shown: list[str]
    code: int
    output: str
    errors: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """Everything that can be run, in the README's order, in one folder."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "samples").symlink_to(ROOT / "samples")
    ran = []
    for block in BLOCKS:
        if block.language == "toml":
            (folder / "spec.toml").write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            ran.append(_run(block.text, [], [sys.executable, "-c", block.text], folder))
        elif block.language == "console":
            for command, shown in block.commands():
                if not command.startswith(IN_THE_DEMO):
                    ran.append(_run(command, shown, ["bash", "-c", _quicker(command)], folder))
    return ran


def _quicker(command: str) -> str:
    extra = next((extra for start, extra in QUICKER.items() if command.startswith(start)), "")
    return f"{command} {extra}"


def _run(command: str, shown: list[str], words: Sequence[str], folder: Path) -> Ran:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, check=False, capture_output=True, text=True, timeout=300
    )
    return Ran(command, shown, done.returncode, done.stdout, done.stderr)


def skeleton(line: str) -> str:
    """A line of output without what differs from run to run: numbers, units of size and time, and spacing."""
    masked = re.sub(r"[\d?][\d.,:+-]*(e-?\d+)?( ?(MB|kB|B|ms|k|M))?\b", "#", line)
    return " ".join(re.sub(r"[─█]+", "-", masked).split())


def test_skeletons_differ_only_where_runs_differ() -> None:
    assert skeleton("tflite int8  0.54 MB  26%  0.0011") == skeleton("tflite int8 541 kB 7%   1e-07")
    assert skeleton("tflite fp32 pass") != skeleton("tflite fp32 degraded")


def test_every_command_and_snippet_runs(session: list[Ran]) -> None:
    failed = [f"{ran.command}\n{ran.errors[-2000:]}" for ran in session if ran.code]
    assert not failed, "\n".join(failed)
    assert len(session) >= 10


def test_the_output_shown_is_the_output_given(session: list[Ran]) -> None:
    """Line by line, apart from numbers: column headings, file names, verdicts, operators."""
    compared = 0
    for ran in session:
        given = {skeleton(line) for line in ran.output.splitlines()}
        for line in ran.shown:
            if line not in ("", "…"):
                assert skeleton(line) in given, f"{ran.command} no longer prints {line!r}, but\n{ran.output}"
                compared += 1
    assert compared > 40


def test_the_table_of_the_demo_has_the_columns_of_today(session: list[Ran]) -> None:
    today = next(ran for ran in session if ran.command.startswith("edgekit convert")).output.splitlines()
    for command, shown in [item for block in BLOCKS if block.language == "console" for item in block.commands()]:
        if command.startswith(IN_THE_DEMO):
            assert shown[1].split() == today[1].split()
            return
    pytest.fail("the README does not show the demo's conversion")


def test_the_command_of_the_demo_is_the_one_that_the_demo_runs() -> None:
    shown = [command for block in BLOCKS if block.language == "console" for command, _ in block.commands()]
    assert next(step.command for step in STEPS if step.command.startswith(IN_THE_DEMO)) in shown


def test_commands_that_are_not_run_are_listed_with_a_reason() -> None:
    given = [line for block in BLOCKS if block.language == "bash" for line in block.text.splitlines() if line]
    assert sorted(given) == sorted(NOT_RUN)
    assert {block.language for block in BLOCKS} == {"bash", "console", "python", "text", "toml"}


def test_extras_that_the_readme_installs_exist() -> None:
    from importlib.metadata import metadata

    known = set(metadata("edgekit-ai").get_all("Provides-Extra") or [])
    named = set(re.findall(r"'\.\[(\w+)\]'", README))
    assert {"convert", "litert", "onnxruntime", "demo"} <= named <= known
    assert (ROOT / "constraints.txt").is_file()


def test_make_demo_starts_the_demo() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "samples/demo/run.py" in done.stdout


def test_the_toml_example_is_what_preset_unit_does(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.language == "toml")
    path = tmp_path / "spec.toml"
    path.write_text(block.text, encoding="utf-8")
    spec = Spec.from_toml(path)
    assert spec.preprocess == PRESETS["unit"][1].preprocess
    assert spec.inputs[0].height_width == (32, 32)


def test_tables_are_the_codes_own() -> None:
    text = README + (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = {tuple(cell.strip() for cell in row.strip("|").split("|")) for row in re.findall(r"^\|.*\|$", text, re.M)}
    assert {(f"`{recipe.name}`", recipe.summary) for recipe in RECIPES.values()} <= rows
    assert {(f"`{name}`", said) for name, (said, _) in PRESETS.items()} <= rows
    assert {f"`{task}`" for task in TASKS} <= {row[0] for row in rows}


def test_exit_codes_are_those_of_the_errors() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d) \| ", README, re.MULTILINE)}
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "EdgeKitError"]
    assert listed == {0} | {kind.exit_code for kind in kinds}


def test_a_bundle_holds_what_the_readme_lists(session: list[Ran]) -> None:
    checked = next(ran for ran in session if "sha256sum" in ran.command)
    shown = {line.partition(":")[0] for line in checked.shown}
    assert shown == {line.partition(":")[0] for line in checked.output.splitlines()}


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "samples" / "README.md"], ids=str
)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    for target in targets:
        assert (document.parent / target).exists() or target.startswith("https://"), target
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@pytest.mark.parametrize("picture", ["classified.jpg", "live-page.png", "report-light.png"])
def test_pictures_are_quick_to_load(picture: str) -> None:
    assert (ROOT / "docs" / picture).stat().st_size < 200_000


def test_the_readme_has_one_place_for_benchmarks() -> None:
    assert README.index("<!-- benchmarks:start -->") < README.index("<!-- benchmarks:end -->")
    assert README.count("benchmarks:start") == README.count("benchmarks:end") == 1
