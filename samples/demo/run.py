"""The demo, `make demo`: two real models to TFLite and ONNX, float and int8, proved and used on real photos.

Every step is a command that you can type yourself; it is printed before it runs. Results go to ``demo-output/``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = "demo-output"
NETWORK = f"{OUTPUT}/efficientnet-lite0.bundle"
DIGITS = f"{OUTPUT}/digits"
PHOTOS = ("cat", "coffee", "rocket", "camera", "motorcycle", "palace")
RECIPES = "--to tflite --to onnx --recipe fp32 --recipe int8"


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Attributes:
        title: What it does, for the reader.
        command: As typed in the project's folder.
        quiet: Show standard error only when the command fails (TensorFlow comments on the CPU there).
    """

    title: str
    command: str
    quiet: bool = False


STEPS = (
    Step("Real photos that scikit-image and scikit-learn ship", f"python samples/demo/photos.py {OUTPUT}"),
    Step(
        "EfficientNet-Lite0, a PyTorch network trained on ImageNet: calibrate with 96 crops of 12 photos,"
        " compare on 60 crops of 5 others",
        "edgekit convert samples/demo/efficientnet_lite0.py:build --input-shape 1,3,224,224 --preset efficientnet-lite"
        f" --labels {OUTPUT}/imagenet-labels.txt {RECIPES} --calibration samples/demo/photos.py:calibration"
        f" --eval samples/demo/photos.py:parity --name efficientnet-lite0 -o {NETWORK}",
    ),
    Step(
        "Classify the photos",
        f"edgekit run {NETWORK} {OUTPUT}/photos --recipe int8 --draw {OUTPUT}/annotated",
    ),
    Step(
        "All of them in one picture",
        f"python samples/demo/sheet.py {OUTPUT}/classified.jpg"
        + "".join(f" {OUTPUT}/annotated/{name}.jpg" for name in PHOTOS),
    ),
    Step("Prove that this machine gives the original's answers, with no framework", f"edgekit verify {NETWORK}"),
    Step("Look inside the int8 file", f"edgekit inspect {NETWORK}/efficientnet-lite0.int8.tflite"),
    Step(
        "Train a Keras classifier of handwritten digits, in the style of the classic tutorials",
        f"python samples/image_classification/train.py {DIGITS}",
        quiet=True,
    ),
    Step(
        "Convert it; with labelled pictures the table shows accuracy",
        f"edgekit convert {DIGITS}/digits.keras --preset unit --labels {DIGITS}/labels.txt {RECIPES}"
        f" --calibration {DIGITS}/calibration --eval {DIGITS}/test -o {DIGITS}/digits.bundle",
    ),
    Step("Prove it", f"edgekit verify {DIGITS}/digits.bundle"),
    Step(
        "Measure every artifact from picture files, as an application on the board would",
        f"python samples/image_classification/evaluate.py {DIGITS}/digits.bundle {DIGITS}/test",
    ),
)


class StepFailed(Exception):
    """A command ended with an error.

    Attributes:
        code: Its exit code.
    """

    def __init__(self, step: Step, code: int) -> None:
        super().__init__(f"the demo stopped: exit code {code} from\n  {step.command}")
        self.code = code


def run(step: Step) -> float:
    """Run one command in the project's folder; return its seconds. Raises StepFailed when it fails."""
    words = shlex.split(step.command)
    # `edgekit` and `python` of the environment that runs this file, whether it is activated or not.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    program = sys.executable if words[0] == "python" else shutil.which(words[0], path=path) or words[0]
    start = time.perf_counter()
    done = subprocess.run(
        [program, *words[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE if step.quiet else None,
        check=False,
    )
    if done.returncode:
        sys.stderr.write((done.stderr or b"").decode(errors="replace"))
        raise StepFailed(step, done.returncode)
    return time.perf_counter() - start


def run_all(steps: Sequence[Step]) -> list[float]:
    """Run the commands one after another, each announced; return the seconds of each."""
    seconds = []
    for number, step in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {step.title}\n$ {step.command}\n", flush=True)
        seconds.append(run(step))
        print(f"({seconds[-1]:.0f} s)", flush=True)
    return seconds


def summary(bundles: Sequence[Path], seconds: Sequence[float]) -> str:
    """What was made, how well it agrees with the originals, and what to do next."""
    lines = ["", f"Done in {sum(seconds):.0f} s (without installing).", ""]
    for path in bundles:
        bundle = Bundle(path)
        original = bundle.manifest.source.get("bytes") or 0
        lines.append(f"{path}: from {original / 1e6:.1f} MB of {bundle.manifest.source.get('framework')}")
        for artifact in bundle.artifacts:
            agreement = artifact.parity.agreement
            agrees = f", decides as the original on {agreement.counts}" if agreement else ""
            lines.append(f"  {artifact.file:32} {artifact.bytes / 1e6:5.2f} MB{agrees}")
    return "\n".join(lines)


def main() -> int:
    """Run the demo; return the exit code."""
    try:
        seconds = run_all(STEPS)
    except StepFailed as failed:
        print(f"\n{failed}", file=sys.stderr)
        return failed.code
    os.chdir(ROOT)
    print(summary([Path(NETWORK), Path(DIGITS, "digits.bundle")], seconds))
    print(
        f"\nLook at {OUTPUT}/classified.jpg: the photos with what the int8 network says.\n"
        f"Next: copy {NETWORK} to a Raspberry Pi or a Jetson, install edgekit there (README: Install), and\n"
        f"  edgekit verify {Path(NETWORK).name}\n"
        f"  edgekit run {Path(NETWORK).name} photo.jpg"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
