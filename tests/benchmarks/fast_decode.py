"""What `edgekit run --fast-decode` changes and what it saves, on large photos.

    EDGEKIT_DATA=... python tests/benchmarks/fast_decode.py PHOTOS [--ratios 1 1.5 2 3] [--repeats 7]

PHOTOS is a folder of JPEGs of two megapixels and more, such as those of Debian's packages mate-backgrounds,
ukui-wallpapers and lomiri-wallpapers-16.04, by which the ratio was chosen.

- for each least ratio of the reduced photo to the resized one: how far the uint8 pixels of the input tensor are from
  those of the whole photo, and how often Coral's MobileNetV2 then decides the same;
- the time of one photo from the file to the input tensor, with and without, interleaved, for the three sizes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import edgekit.preprocess as preprocessing
from edgekit.engine import Array, Engine, open_engine
from edgekit.images import Reduction, read_image
from edgekit.preprocess import normalise, place, reduction
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks.image_classification import ImageClassification

MODEL = "models/ref/mobilenet_v2_1.0_224_quant.tflite"
TENSOR = TensorSpec("image", (1, 224, 224, 3), layout="NHWC")
HOWS = {
    "stretch, bilinear": Preprocess(),
    "stretch, bicubic": Preprocess(interpolation="bicubic"),
    "stretch, lanczos": Preprocess(interpolation="lanczos"),
    "short side 256, bilinear, crop": Preprocess("short-side", (256, 256), crop=True),
    "short side 256, bicubic, crop": Preprocess("short-side", (256, 256), "bicubic", crop=True),
    "letterbox, bilinear": Preprocess("letterbox"),
}
REDUCTIONS: tuple[Reduction, ...] = (1, 2, 4, 8)
SIZES = {"12 MP (4000 x 3000)": (4000, 3000), "3 MP (2048 x 1536)": (2048, 1536), "1080p": (1920, 1080)}


@dataclass(frozen=True)
class Difference:
    """What a reduction changed of one photo.

    Attributes:
        ratio: Least ratio of the reduced photo to the resized one.
        how: Name of the preprocessing.
        by: The reduction.
        mean: Of the absolute differences of all pixels and channels, of 255.
        most: The largest of them.
        same: Whether the network decides the same.
        lead: Probability of the best class less that of the second, with the whole photo.
    """

    ratio: float
    how: str
    by: int
    mean: float
    most: int
    same: bool
    lead: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--ratios", type=float, nargs="+", default=[preprocessing.REDUCED_OVER_RESIZED])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if "EDGEKIT_DATA" not in os.environ:
        sys.exit("EDGEKIT_DATA is not set")
    cv2.setNumThreads(1)
    files = sorted(options.photos.glob("*.jpg"))
    if not files:
        sys.exit(f"no .jpg in {options.photos}")
    print_differences(files, options.ratios)
    with tempfile.TemporaryDirectory() as folder:
        for name, progressive, whole, fast in times(files, Path(folder), options.repeats):
            print(f"{name:<22}{progressive:<12}{whole:8.1f} ms{fast:8.1f} ms  {whole / fast:5.2f} x")


def print_differences(files: Sequence[Path], ratios: Sequence[float]) -> None:
    """Print one line for each ratio and preprocessing."""
    with open_engine(Path(os.environ["EDGEKIT_DATA"]) / MODEL, threads=1) as engine:
        found = [one for path in files for one in differences(path, ratios, engine)]
    print(f"{'ratio':<7}{'preprocessing':<32}{'photos':>7}{'mean':>7}{'worst mean':>12}{'largest':>9}{'alike':>15}")
    for ratio in ratios:
        every = [one for one in found if one.ratio == ratio]
        for how in HOWS:
            of = [one for one in every if one.how == how]
            if not of:
                continue
            mean, worst = statistics.mean(one.mean for one in of), max(one.mean for one in of)
            figures = f"{len(of):>7}{mean:>7.2f}{worst:>12.2f}{max(one.most for one in of):>9}"
            print(f"{ratio:<7g}{how:<32}{figures}{sum(one.same for one in of):>8} of {len(of)}")
        print("leads of what was decided otherwise:", [round(one.lead, 3) for one in every if not one.same])


def differences(path: Path, ratios: Sequence[float], engine: Engine) -> Iterator[Difference]:
    """Compare the input tensors of one photo, for each ratio and each preprocessing by which it is reduced."""
    reduced = {by: read_image(path, reducer=lambda *_, by=by: by) for by in REDUCTIONS}
    size = (reduced[1].shape[0], reduced[1].shape[1])
    for name, how in HOWS.items():
        whole, _ = place(reduced[1], TENSOR, how)
        first = scores(engine, whole)
        lead = np.sort(first)[-2:]
        for ratio in ratios:
            by = reduction_at(ratio, size, how)
            if by == 1:
                continue
            fast, _ = place(reduced[by], TENSOR, how)
            apart = np.abs(whole.astype(int) - fast)
            same = bool(first.argmax() == scores(engine, fast).argmax())
            yield Difference(ratio, name, by, float(apart.mean()), int(apart.max()), same, float(lead[1] - lead[0]))


def reduction_at(ratio: float, size: tuple[int, int], how: Preprocess) -> Reduction:
    """Return what would be chosen if the least ratio were another one."""
    chosen = preprocessing.REDUCED_OVER_RESIZED
    preprocessing.REDUCED_OVER_RESIZED = ratio
    try:
        return reduction(size, TENSOR, how)
    finally:
        preprocessing.REDUCED_OVER_RESIZED = chosen


def scores(engine: Engine, pixels: Array) -> Array:
    """``(1001,)`` probabilities of Coral's MobileNetV2."""
    feeds = {engine.inputs[0].name: normalise(pixels, TENSOR, Preprocess(scale=1 / 127.5, mean=(1.0,)))[None]}
    found: Array = engine.run(feeds)[engine.outputs[0].name][0]
    return found


def times(files: Sequence[Path], folder: Path, repeats: int) -> Iterator[tuple[str, str, float, float]]:
    """Yield size, kind of JPEG and median milliseconds from file to input tensor, whole and fast."""
    whole, fast = (classifier(), classifier())
    fast.fast_decode = True
    large = sorted(files, key=lambda path: path.stat().st_size)[-5:]
    for name, (width, height) in SIZES.items():
        for progressive in (0, 1):
            taken: tuple[list[float], list[float]] = ([], [])
            for number, path in enumerate(large):
                copy = folder / f"{number}.jpg"
                resized = cv2.resize(cv2.imread(str(path)), (width, height), interpolation=cv2.INTER_AREA)
                quality = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
                cv2.imwrite(str(copy), resized, quality)
                for _ in range(repeats):
                    for task, seconds in zip((whole, fast), taken, strict=True):
                        start = time.perf_counter()
                        task.encode(copy)
                        seconds.append(time.perf_counter() - start)
            kind = "progressive" if progressive else "baseline"
            yield name, kind, 1000 * statistics.median(taken[0]), 1000 * statistics.median(taken[1])


def classifier() -> ImageClassification:
    """Return a task that shrinks photos to 224 x 224."""
    outputs = (TensorSpec("scores", (1, 1001)),)
    return ImageClassification(Spec("image-classification", (TENSOR,), outputs, Preprocess()))


if __name__ == "__main__":
    main()
