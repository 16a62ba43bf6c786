"""What the runtime brings onto a board, beside tools that do the same job.

    EDGEKIT_DATA=… python -m tests.benchmarks.footprint [--wheel FILE] [--heavy]

Each tool is installed by pip into an environment of its own, which is removed again; counted are packages, megabytes on
disk (pip itself left out) and, after importing the tool and opening MobileNetV2 where that needs no download, the
resident memory of the process. Tools that bring PyTorch are resolved only (``--heavy`` installs them too).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.run_overhead import MODEL, data, make_bundle

HEADINGS = ("tool", "packages", "MB on disk", "MB in memory, model open")
ROOT = Path(__file__).parents[2]
RESIDENT = "import re; print(int(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
OURS = "import sys, edgekit; model = edgekit.load(sys.argv[1])"
MEDIAPIPE = """
import sys
from mediapipe.tasks import python
from mediapipe.tasks.python import vision
model = vision.ImageClassifier.create_from_options(
    vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[2])))
"""
TOOLS = (
    ("edgekit-ai[litert]", ("{wheel}[litert]",), OURS, False),
    (
        "edgekit-ai[onnxruntime]",
        ("{wheel}[onnxruntime]",),
        "import edgekit_runtimes.predictor, onnxruntime, cv2",
        False,
    ),
    ("mediapipe", ("mediapipe",), MEDIAPIPE, False),
    ("ultralytics", ("ultralytics",), "import ultralytics", True),
    ("inference", ("inference",), "import inference", True),
)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="of edgekit; built here by default")
    parser.add_argument("--heavy", action="store_true")
    options = parser.parse_args()
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    for cells in measure(options.wheel, options.heavy):
        print(f"| {' | '.join(cells)} |", flush=True)


def measure(wheel: Path | None = None, heavy: bool = False) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel or built(Path(folder))
        bundle = make_bundle(Path(folder) / "bundle").path
        for name, words, code, large in TOOLS:
            wanted = [word.format(wheel=wheel) for word in words]
            if large and not heavy:
                yield [name, resolved(wanted), "not installed", ""]
            else:
                yield [name, *installed(Path(folder) / name, wanted, code, bundle)]


def built(folder: Path) -> Path:
    """Our wheel."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def resolved(words: Sequence[str]) -> str:
    """Packages that pip would install, without installing them."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        return "cannot be resolved here"
    return str(len(json.loads(done.stdout)["install"]))


def installed(folder: Path, words: Sequence[str], code: str, bundle: Path) -> tuple[str, str, str]:
    """Packages, megabytes on disk and in memory."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    before = occupied(folder)
    subprocess.run([*pip, "install", "--quiet", "--no-compile", *words], check=True)
    names = json.loads(subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True).stdout)
    count = sum(entry["name"] not in ("pip", "setuptools") for entry in names)
    size = occupied(folder) - before
    command = [python, "-B", "-c", f"{code}\n{RESIDENT}", str(bundle), str(data() / MODEL)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    memory = f"{float(done.stdout.split()[-1]):.0f}" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    return str(count), f"{size / 2**20:.0f}", memory


def occupied(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
