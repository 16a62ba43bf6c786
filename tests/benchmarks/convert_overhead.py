"""Time of `edgekit convert` over the bare library calls that it makes, as ratios in one run.

    EDGEKIT_DATA=… python tests/benchmarks/convert_overhead.py [--repeats 3] [--json FILE]

Both sides are whole processes on MobileNetV2, imports included, and alternate. From edgekit's time its parity stages
are taken off (the original's answers, each artifact's), for the bare script has none.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
REAL = Path(os.environ["EDGEKIT_DATA"]).resolve()
KERAS = REAL / "models/keras/mobilenetv2_port.keras"
WEIGHTS = REAL / "models/torch/mobilenet_v2-b0353104.pth"
FACTORY = HERE.parent / "fixtures" / "mobilenet_v2.py"

_KERAS = f"import keras\nmodel = keras.saving.load_model({str(KERAS)!r}, compile=False)\n"
_TORCH = f"""import sys, torch
sys.path.insert(0, {str(FACTORY.parent)!r})
from mobilenet_v2 import build
model = build()
model.load_state_dict(torch.load({str(WEIGHTS)!r}, weights_only=True))
model.eval()
sample = (torch.zeros(1, 3, 224, 224),)
"""
BARE = {
    "Keras to TFLite": _KERAS
    + "import tensorflow as tf\nopen('out', 'wb').write(tf.lite.TFLiteConverter.from_keras_model(model).convert())",
    "Keras to ONNX": _KERAS + "import numpy as np\nmodel(np.zeros((1, 224, 224, 3), 'float32'))\n"
    "model.export('out.onnx', format='onnx', verbose=False)",
    "PyTorch to TFLite": _TORCH + "import litert_torch\nnhwc = (sample[0].permute(0, 2, 3, 1),)\n"
    "litert_torch.convert(litert_torch.to_channel_last_io(model, args=[0]).eval(), nhwc).export('out.tflite')",
    "PyTorch to ONNX": _TORCH + "batch = ({0: torch.export.Dim('batch')},)\n"
    "torch.onnx.export(model, (torch.zeros(2, 3, 224, 224),), dynamo=True, dynamic_shapes=batch, verbose=False)"
    ".save('out.onnx')",
}


def edgekit_arguments(case: str) -> list[str]:
    """Arguments of `edgekit convert` for a case."""
    target = case.rpartition(" ")[2].lower()
    if case.startswith("Keras"):
        source = [str(KERAS)]
    else:
        source = [f"{FACTORY}:build", "--weights", str(WEIGHTS), "--input-shape", "1,3,224,224"]
    return [*source, "--to", target, "--preset", "imagenet", "-o", "bundle", "--json"]


def timed(command: list[str], folder: str) -> tuple[float, str]:
    """Seconds of a process and its output."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr[-2000:]}")
    return seconds, done.stdout


def once(case: str) -> tuple[float, float]:
    """Seconds of the bare script and of edgekit without its parity stages."""
    with tempfile.TemporaryDirectory() as folder:
        bare, _ = timed([sys.executable, "-c", BARE[case]], folder)
        whole, output = timed(
            [str(Path(sys.executable).parent / "edgekit"), "convert", *edgekit_arguments(case)], folder
        )
    stages: dict[str, float] = json.loads(output)["seconds"]
    parity = sum(seconds for title, seconds in stages.items() if title.endswith("the original"))
    return bare, whole - parity


def measure(repeats: int) -> list[dict[str, object]]:
    """Medians and their ratio for every case."""
    rows = []
    for case in BARE:
        pairs = [once(case) for _ in range(repeats)]
        bare, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        rows.append({"what": f"convert: {case}", "peer": "bare library calls", "ratio": ours / bare, "limit": 1.2})
        print(f"{case}: edgekit {ours:.1f} s, bare {bare:.1f} s, ratio {ours / bare:.2f}", flush=True)
    return rows


def main() -> None:
    """Measure and print; with --json also write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
