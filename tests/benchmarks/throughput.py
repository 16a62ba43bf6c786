"""Many photos and the frames of a video, against plain loops that people write.

    EDGEKIT_DATA=… python -m tests.benchmarks.throughput [--photos 400] [--rounds 5]

Everything runs interleaved in one process, as medians of the rounds; on an idle machine. Coral's MobileNetV2 is the
model for LiteRT and MediaPipe; for ONNX Runtime the Keras MobileNetV2 is converted to int8 first. Peers:

- a sequential loop of ``cv2.imread``, ``cv2.resize`` and one inference of the bare engine with one thread, LiteRT and
  ONNX Runtime; edgekit has to be 1.6 times as fast on two free cores, where the limit is 2;
- MediaPipe's ImageClassifier task on the same ``.tflite``, in an environment of its own, which is made in
  ``.cache/mediapipe``; edgekit has to be 1.8 times as fast;
- for the video, ``cv2.VideoCapture`` and the same loop: frames and processor seconds.

Results have to be the loop's own: the classes are compared.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgekit.bundle import Bundle
from edgekit_runtimes.inputs.items import items_for
from edgekit_runtimes.pipeline import answered
from edgekit_runtimes.predictor import load
from tests.benchmarks.run_overhead import MODEL, data, make_bundle

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
HEADINGS = ("what", "peer", "a second", "peer's", "ratio", "wanted", "processor time, ours / peer's")
LIMITS = {"LiteRT": 1.6, "ONNX Runtime": 1.6, "MediaPipe": 1.8, "LiteRT, video": 1.6, "ONNX Runtime, video": 1.6}
VIDEO_FRAMES = 150
MEDIAPIPE = """
import sys, time
import mediapipe as mp
from mediapipe.tasks import python
from mediapipe.tasks.python import vision
options = vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[1]), max_results=1)
photos = [line.strip() for line in open(sys.argv[2])]
with vision.ImageClassifier.create_from_options(options) as classifier:
    for photo in photos[:8]:
        classifier.classify(mp.Image.create_from_file(photo))
    start = time.perf_counter()
    for photo in photos:
        classifier.classify(mp.Image.create_from_file(photo))
    print(len(photos) / (time.perf_counter() - start))
"""


def main() -> None:
    """Measure and print a Markdown table; exit with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = measure(options.photos, options.rounds)
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    print("\n".join(f"| {' | '.join(cells)} |" for cells, _ in rows))
    sys.exit(int(any(missed for _, missed in rows)))


def measure(count: int, rounds: int) -> list[tuple[list[str], bool]]:
    """Rows of the table, each with whether its limit was missed."""
    photos = sorted((data() / "imagenet_like" / "eval").glob("*.jpg"))[:count]
    onnx, python = onnx_bundle(CACHE / "throughput.bundle"), mediapipe(CACHE / "mediapipe")
    with tempfile.TemporaryDirectory() as folder:
        litert = make_bundle(Path(folder) / "litert")
        clip = film(Path(folder) / "clip.mp4", photos)
        return [
            row("photos, LiteRT", "LiteRT", *photo_rates(litert, photos, rounds)),
            row("photos, ONNX Runtime", "ONNX Runtime", *photo_rates(onnx, photos, rounds)),
            row(
                "photos, the same .tflite", "MediaPipe", *mediapipe_rates(python, litert, photos, rounds, Path(folder))
            ),
            row("1080p video, LiteRT", "LiteRT, video", *video_rates(litert, clip, rounds)),
            row("1080p video, ONNX Runtime", "ONNX Runtime, video", *video_rates(onnx, clip, rounds)),
        ]


def onnx_bundle(folder: Path) -> Bundle:
    """Keras MobileNetV2 in int8 as ONNX, kept between runs; photos are stretched, as the loop does it."""
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        command = [str(Path(sys.executable).parent / "edgekit"), "convert"]
        command += [str(data() / "models/keras/mobilenetv2_port.keras"), "--output", str(folder)]
        command += ["--spec", str(Path(__file__).with_name("throughput.toml")), "--to", "onnx", "--recipe", "int8"]
        command += ["--effort", "low", "--allow-degraded"]
        command += ["--calibration", str(data() / "imagenet_like/calib")]
        subprocess.run(command, check=True)
    return Bundle(folder)


def mediapipe(folder: Path) -> Path:
    """Python of an environment with MediaPipe, kept between runs."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "mediapipe"], check=True)
        (folder / "ready").touch()
    return python


Timed = tuple[float, float]
"""Inputs a second, and processor seconds an input."""


def row(what: str, peer: str, ours: Timed, theirs: Timed) -> tuple[list[str], bool]:
    """Cells of a line, and whether its limit was missed."""
    ratio, limit = ours[0] / theirs[0], LIMITS.get(peer)
    cost = f"{1000 * ours[1]:.1f} / {1000 * theirs[1]:.1f} ms" if theirs[1] else ""
    cells = [
        what,
        peer if peer == "MediaPipe" else "sequential loop",
        f"{ours[0]:.0f}",
        f"{theirs[0]:.0f}",
        f"{ratio:.2f}",
        f"{limit or ''}",
        cost,
    ]
    return cells, limit is not None and ratio < limit


def photo_rates(bundle: Bundle, photos: list[Path], rounds: int) -> tuple[Timed, Timed]:
    """Ours and a sequential loop's; their classes are compared."""
    words = [str(photo) for photo in photos]
    with load(bundle.path) as predictor:
        classify = bare(predictor)

        def ours() -> list[int]:
            outcomes = answered(predictor, items_for(bundle.spec, words))
            return [outcome.result.labels[0].index for outcome in outcomes]  # type: ignore[union-attr]

        def theirs() -> list[int]:
            return [classify(cv2.imread(word)) for word in words]

        return timed(ours, theirs, len(words), rounds)


def video_rates(bundle: Bundle, clip: Path, rounds: int) -> tuple[Timed, Timed]:
    """The same over the frames of a video."""
    with load(bundle.path) as predictor:
        classify = bare(predictor)

        def ours() -> list[int]:
            outcomes = answered(predictor, items_for(bundle.spec, [str(clip)]))
            return [outcome.result.labels[0].index for outcome in outcomes]  # type: ignore[union-attr]

        return timed(ours, lambda: [classify(frame) for frame in frames(clip)], VIDEO_FRAMES, rounds)


def frames(clip: Path) -> Iterator[Any]:
    """Frames as OpenCV gives them."""
    capture = cv2.VideoCapture(str(clip))
    while (got := capture.read())[0]:
        yield got[1]
    capture.release()


def bare(predictor: Any) -> Callable[[Any], int]:
    """Class of a BGR picture by the bare engine with one thread, as a script would do it."""
    path = predictor.bundle.file(predictor.artifact.file)
    how, tensor = predictor.bundle.spec.preprocess, predictor.bundle.spec.inputs[0]
    height, width = tensor.height_width

    def encoded(picture: Any) -> Any:
        picture = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (width, height))
        values = (picture * np.float32(how.scale) - np.float32(how.mean)) / np.float32(how.std)
        return (values.transpose(2, 0, 1) if predictor.artifact.inputs[0].layout == "NCHW" else values)[None]

    if predictor.artifact.format == "onnx":
        import onnxruntime

        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda picture: int(session.run(None, {name: np.ascontiguousarray(encoded(picture))})[0].argmax())
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def classify(picture: Any) -> int:
        # A uint8 model with this preprocessing takes the pixels as they are.
        pixels = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (width, height))[None]
        interpreter.set_tensor(entry["index"], pixels if entry["dtype"] == np.uint8 else encoded(picture))
        interpreter.invoke()
        return int(interpreter.get_tensor(result["index"])[0].argmax())

    return classify


def timed(
    ours: Callable[[], list[int]], theirs: Callable[[], list[int]], count: int, rounds: int
) -> tuple[Timed, Timed]:
    """Both in turn, after a round that is left out."""
    seconds: dict[str, list[Timed]] = {"ours": [], "theirs": []}
    for _ in range(rounds + 1):
        found = {}
        for name, function in (("ours", ours), ("theirs", theirs)):
            start, used = time.perf_counter(), time.process_time()
            found[name] = function()
            seconds[name].append((time.perf_counter() - start, time.process_time() - used))
        same = sum(a == b for a, b in zip(found["ours"], found["theirs"], strict=True))
        if len(found["ours"]) != count or same < 0.99 * count:
            sys.exit(f"{same} of {count} results are the loop's")

    def median(name: str) -> Timed:
        walls, used = zip(*seconds[name][1:], strict=True)
        return count / statistics.median(walls), statistics.median(used) / count

    return median("ours"), median("theirs")


def mediapipe_rates(python: Path, bundle: Bundle, photos: list[Path], rounds: int, folder: Path) -> tuple[Timed, Timed]:
    """MediaPipe in its own environment, ours in this one, in turn."""
    listed, words = folder / "photos.txt", [str(photo) for photo in photos]
    listed.write_text("\n".join(words))
    ours, theirs = [], []
    with load(bundle.path) as predictor:
        for _ in range(rounds):
            command = [str(python), "-c", MEDIAPIPE, str(data() / MODEL), str(listed)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            theirs.append(float(done.stdout.split()[-1]))
            start = time.perf_counter()
            count = sum(1 for _ in answered(predictor, items_for(bundle.spec, words)))
            ours.append(count / (time.perf_counter() - start))
    return (statistics.median(ours), 0.0), (statistics.median(theirs), 0.0)


def film(path: Path, photos: list[Path]) -> Path:
    """A 1080p video of photos, each shown for a few frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1920, 1080))
    for number in range(VIDEO_FRAMES):
        if number % 5 == 0:
            picture = cv2.resize(cv2.imread(str(photos[number // 5 % len(photos)])), (1920, 1080))
        writer.write(np.roll(picture, 8 * number, axis=1))
    writer.release()
    return path


if __name__ == "__main__":
    main()
