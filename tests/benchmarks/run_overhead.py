"""What edgekit costs over a hand-written script.

    EDGEKIT_DATA=... python tests/benchmarks/run_overhead.py [BUNDLE PHOTO] [--repeats 15]

Measured, each against its peer in the same run, interleaved, as medians:

- the process time of ``edgekit run`` on one photo over that of a minimal script (OpenCV, numpy and LiteRT: decode,
  resize, run, print the best class): at most 1.3;
- ``edgekit --help``: at most 150 ms;
- the processor time of one call of `BoundEngine.run` on floats, on one thread: of a float model over the same call of
  bare LiteRT and of bare ONNX Runtime, at most 50 µs each; of a uint8 model over bare LiteRT, once fed with integers
  that are ready and once with floats that one line of numpy quantizes.

Without arguments a bundle is made of Coral's MobileNetV2 from the real models; the calls are always measured on files
of the real models.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekit.binding import Binding, BoundEngine
from edgekit.bundle import Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.engine import Array, Engine, open_engine
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit_runtimes.engines.litert import LiteRTEngine
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine

MODEL = "models/ref/mobilenet_v2_1.0_224_quant.tflite"
FLOAT_TFLITE = "models/ref/vww_96_float.tflite"
FLOAT_ONNX = "models/ref/FastestDet.onnx"
Call = Callable[[], object]
LIMITS = {
    "run over script": 1.3,
    "help, ms": 150.0,
    "LiteRT float call, +µs": 50.0,
    "ONNX Runtime float call, +µs": 50.0,
}
CALLS = 300

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
        figures = {**processes(bundle, photo, options.repeats), **calls()}
    for name, figure in figures.items():
        limit = f"  (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<44}{figure:10.3f}{limit}")
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
        preprocess=Preprocess(scale=1 / 128, mean=(1.0,), antialias=False),  # the grid of its input: pixels as they are
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


def calls() -> dict[str, float]:
    """Time single calls on one thread, each beside the same interpreter or session without edgekit."""
    figures: dict[str, float] = {}
    with LiteRTEngine(data() / MODEL, threads=1) as engine:
        floats = draw(engine)
        ready, quantizing = bare_litert(engine, floats)
        figures |= overheads({"LiteRT uint8 call": ready, "LiteRT uint8 call with numpy": quantizing}, engine, floats)
    with LiteRTEngine(data() / FLOAT_TFLITE, threads=1) as engine:
        floats = draw(engine)
        ready, _ = bare_litert(engine, floats)
        figures |= overheads({"LiteRT float call": ready}, engine, floats)
    with OnnxRuntimeEngine(data() / FLOAT_ONNX, threads=1) as onnx:
        floats = draw(onnx)
        figures |= overheads({"ONNX Runtime float call": bare_onnxruntime(onnx, floats)}, onnx, floats)
    return figures


def draw(engine: Engine) -> Array:
    """One random input of floats from -1 to 1, in the shape of an engine's only input."""
    (entry,) = engine.inputs
    return np.random.default_rng(0).uniform(-1, 1, [size or 1 for size in entry.shape]).astype(np.float32)


def bare_litert(engine: LiteRTEngine, floats: Array) -> tuple[Call, Call]:
    """A call of the bare interpreter on stored values, and one that quantizes the floats first."""
    interpreter = engine._interpreter
    index, result = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
    (info,) = engine.inputs
    stored = info.quantize(floats)

    def call(values: Array) -> Array:
        interpreter.set_tensor(index, values)
        interpreter.invoke()
        found: Array = interpreter.get_tensor(result)
        return found

    def quantizing() -> Array:
        limits = np.iinfo(info.dtype)
        values = np.clip(np.round(floats / np.float32(info.scale) + info.zero_point), limits.min, limits.max)
        return call(values.astype(info.dtype))

    return lambda: call(stored), quantizing


def bare_onnxruntime(engine: OnnxRuntimeEngine, floats: Array) -> Call:
    """A call of the bare session."""
    names, feeds = [info.name for info in engine.outputs], {engine.inputs[0].name: floats}
    return lambda: engine._session.run(names, feeds)


def overheads(peers: Mapping[str, Call], engine: Engine, floats: Array) -> dict[str, float]:
    """Median milliseconds of each peer, and by how many microseconds `BoundEngine.run` is slower: medians of the
    differences between neighbouring calls, which what else runs on the machine slows alike."""
    spec = Spec(
        task="tensors",
        inputs=tuple(TensorSpec(info.name, info.shape) for info in engine.inputs),
        outputs=tuple(TensorSpec(info.name, info.shape) for info in engine.outputs),
    )
    inputs, outputs = (
        [Binding(info.name, info.name, info.shape, info.dtype) for info in infos]
        for infos in (engine.inputs, engine.outputs)
    )
    bound, feeds = BoundEngine(engine, spec, inputs, outputs), {engine.inputs[0].name: floats}
    seconds = np.array(times([lambda: bound.run(feeds), *peers.values()], CALLS))
    figures = {}
    for name, bare in zip(peers, seconds[1:], strict=True):
        figures[f"{name}, bare ms"] = 1e3 * float(np.median(bare))
        figures[f"{name}, +µs"] = 1e6 * float(np.median(seconds[0] - bare))
    return figures


def times(functions: Sequence[Call], repeats: int) -> list[list[float]]:
    """Seconds that each function keeps this thread's processor busy, in turn in random order, without the first."""
    seconds: list[list[float]] = [[] for _ in functions]
    random = np.random.default_rng(0)
    for _ in range(repeats + 1):
        for number in random.permutation(len(functions)):
            start = time.thread_time()
            functions[number]()
            seconds[number].append(time.thread_time() - start)
    return [taken[1:] for taken in seconds]


if __name__ == "__main__":
    main()
