"""What edgekit costs over a hand-written script.

    EDGEKIT_DATA=... python tests/benchmarks/run_overhead.py [BUNDLE PHOTO] [--repeats 15]

Measured, each against its peer in the same run, interleaved, as medians:

- the process time of ``edgekit run`` on one photo over that of a minimal script (OpenCV, numpy and LiteRT: decode,
  resize, run, print the best class): at most 1.3;
- ``edgekit --help``: at most 150 ms;
- one call of `BoundEngine.run` over set_tensor, invoke and get_tensor on the bare interpreter.

Without arguments a bundle is made of Coral's MobileNetV2 from the real models.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgekit.binding import Binding, BoundEngine
from edgekit.bundle import Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.engine import open_engine
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Preprocess, Spec, TensorSpec

MODEL = "models/ref/mobilenet_v2_1.0_224_quant.tflite"
LIMITS = {"run over script": 1.3, "help, ms": 150.0}

SCRIPT = """
import sys
import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=2)
interpreter.allocate_tensors()
entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
photo = cv2.cvtColor(cv2.imread(sys.argv[2]), cv2.COLOR_BGR2RGB)
height, width = entry["shape"][1:3]
photo = cv2.resize(photo, (int(width), int(height)))[None]
if entry["dtype"] == np.float32:
    photo = photo.astype(np.float32) / 127.5 - 1
interpreter.set_tensor(entry["index"], photo)
interpreter.invoke()
scores = interpreter.get_tensor(result["index"])[0]
print(scores.argmax(), scores.max())
"""


def main() -> None:
    """Measure, print, and exit with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle(options.bundle) if options.bundle else make_bundle(Path(folder) / "bundle")
        photo = options.photo or next((data() / "imagenet_like" / "eval").glob("*.jpg"))
        figures = {**processes(bundle, photo, options.repeats), **calls(bundle)}
    for name, figure in figures.items():
        limit = f"  (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<28}{figure:10.3f}{limit}")
    sys.exit(int(any(figures[name] > limit for name, limit in LIMITS.items())))


def data() -> Path:
    """Folder of the real models and data."""
    if "EDGEKIT_DATA" not in os.environ:
        sys.exit("EDGEKIT_DATA is not set")
    return Path(os.environ["EDGEKIT_DATA"])


def make_bundle(folder: Path) -> Bundle:
    """Wrap Coral's MobileNetV2 in a bundle."""
    source = data() / MODEL
    folder.mkdir()
    (folder / "model.int8.tflite").write_bytes(source.read_bytes())
    spec = Spec(
        task="image-classification",
        inputs=(TensorSpec("image", (1, 224, 224, 3), layout="NHWC"),),
        outputs=(TensorSpec("scores", (1, 1001)),),
        preprocess=Preprocess(scale=1 / 127.5, mean=(1.0,), antialias=False),
        labels=tuple(f"class {number}" for number in range(1001)),
    )
    with open_engine(source) as engine:
        (entry,), (result,) = engine.inputs, engine.outputs
    parity = Parity(1, (OutputParity("scores", 0.0, 1.0, 0.0),))
    artifact = Artifact(
        file="model.int8.tflite",
        format="tflite",
        recipe="int8",
        bytes=source.stat().st_size,
        inputs=(Binding("image", entry.name, entry.shape, entry.dtype, "NHWC"),),
        outputs=(Binding("scores", result.name, result.shape, result.dtype),),
        parity=parity,
        golden=parity,
        latency_ms=1.0,
    )
    write_golden(folder, {"image": np.zeros((1, 224, 224, 3), np.float32)}, {"scores": np.zeros((1, 1001), np.float32)})
    write_manifest(folder, Manifest(name="model", spec=spec, artifacts=(artifact,)))
    return Bundle(folder)


def processes(bundle: Bundle, photo: Path, repeats: int) -> dict[str, float]:
    """Time whole processes."""
    command = str(Path(sys.executable).parent / "edgekit")
    artifact = next(a for a in bundle.artifacts if a.format == "tflite")
    peers: dict[str, Sequence[str]] = {
        "script": [sys.executable, "-c", SCRIPT, str(bundle.file(artifact.file)), str(photo)],
        "run": [command, "run", str(bundle.path), str(photo), "--recipe", artifact.recipe, "--engine", "litert"],
        "help": [command, "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    # Everything runs from compiled bytecode, as it does where it was installed; the first round writes it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as bytecode:
        for _ in range(repeats + 1):
            for name, words in peers.items():
                start = time.perf_counter()
                env = {**environment, "PYTHONPYCACHEPREFIX": bytecode}
                subprocess.run(words, check=True, capture_output=True, env=env)
                seconds[name].append(time.perf_counter() - start)
    script, run, help_ = (statistics.median(times[1:]) for times in seconds.values())
    return {
        "script, ms": 1000 * script,
        "run, ms": 1000 * run,
        "run over script": run / script,
        "help, ms": 1000 * help_,
    }


def calls(bundle: Bundle) -> dict[str, float]:
    """Time single calls on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    artifact = next(a for a in bundle.artifacts if a.format == "tflite")
    path = bundle.file(artifact.file)
    bare = Interpreter(str(path), num_threads=1)
    bare.allocate_tensors()
    entry, result = bare.get_input_details()[0], bare.get_output_details()[0]
    shape = tuple(int(size) for size in entry["shape"])
    stored, floats = np.zeros(shape, entry["dtype"]), np.zeros(shape, np.float32)

    def bare_call() -> None:
        bare.set_tensor(entry["index"], stored)
        bare.invoke()
        bare.get_tensor(result["index"])

    with open_engine(path, "litert", threads=1) as engine:
        bound = BoundEngine(engine, bundle.spec, artifact.inputs, artifact.outputs)
        feeds = {bundle.spec.inputs[0].name: floats}
        alone, within = medians([bare_call, lambda: bound.run(feeds)], 60)
    return {"bare call, ms": alone, "BoundEngine call, ms": within, "overhead a call, ms": within - alone}


def medians(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median milliseconds of each function, called in turn."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times[1:]) for times in seconds]


if __name__ == "__main__":
    main()
