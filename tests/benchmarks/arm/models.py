"""The models, each with the words of an `edgekit convert` command, and the inputs that every machine answers."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import quality
from tests.benchmarks.quality import ROOT, real

INPUTS = 100
CACHE = ROOT / ".cache" / "arm"


@dataclass(frozen=True)
class Model:
    """A model of the table.

    Attributes:
        name: Of its folder.
        title: In the table.
        words: Writes data files into a folder and returns the words for ``edgekit convert`` that say model and data.
        recipes: What it is converted to, in both formats.
    """

    name: str
    title: str
    words: Callable[[Path], list[str]]
    recipes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """What is kept of it between runs."""
        return CACHE / self.name

    @property
    def bundle(self) -> Path:
        """Its bundle."""
        return self.folder / "bundle"


def _file_list(path: Path, files: list[tuple[Path, str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "label"), *files])
    return str(path)


def _spread(files: list[Any]) -> list[Any]:
    return [files[number * len(files) // INPUTS] for number in range(INPUTS)]


def _photos(words: list[str], folder: Path) -> list[str]:
    """The words of a network on photos, with fewer photos to measure on."""
    images = real() / "imagenet_like"
    with (images / "eval.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(images / row["file"], row["label"]) for row in csv.DictReader(stream)]
    return [*words[: words.index("--eval")], "--eval", _file_list(folder / "photos.csv", _spread(rows))]


def mobilenet(folder: Path) -> list[str]:
    """MobileNetV2 in Keras, on photos."""
    return _photos(quality.keras_mobilenet(folder), folder)


def efficientnet(folder: Path) -> list[str]:
    """EfficientNet-Lite0 in PyTorch, on photos."""
    return _photos(quality.efficientnet(folder), folder)


def keywords(folder: Path) -> list[str]:
    """MLPerf Tiny's DS-CNN, on recordings: its bundle computes the MFCC."""
    script = ROOT / "samples" / "keyword_spotting" / "clips.py"
    arrays = real() / "speech_commands" / "sc12.npz"
    subprocess.run([sys.executable, str(script), "write", str(arrays), str(folder / "words")], check=True)
    clips = _spread(sorted((folder / "words" / "test").rglob("*.wav")))
    labels = (folder / "words" / "labels.txt").read_text(encoding="utf-8").split()
    listed = _file_list(folder / "clips.csv", [(clip, str(labels.index(clip.parent.name))) for clip in clips])
    data = ["--calibration", str(folder / "words" / "calibration"), "--eval", listed]
    labelled = ["--preset", "mlperf-tiny-kws", "--labels", str(folder / "words" / "labels.txt")]
    return [str(real() / "models/savedmodel/kws_ref_model"), *labelled, *data]


def minilm(folder: Path) -> list[str]:
    """MiniLM with a sentiment head, on sentences."""
    words = quality.minilm(folder)
    place = words.index("--eval") + 1
    lines = _spread(Path(words[place]).read_text(encoding="utf-8").splitlines())
    (folder / "sentences.tsv").write_text("\n".join(lines), encoding="utf-8")
    return [*words[:place], str(folder / "sentences.tsv"), *words[place + 1 :]]


MODELS = (
    Model("keywords", "DS-CNN keywords (SavedModel)", keywords, ("fp32", "fp16", "dynamic-int8", "int8", "int8-int16")),
    Model("mobilenetv2", "MobileNetV2 (Keras)", mobilenet, ("fp32", "fp16", "dynamic-int8", "int8", "int8-int16")),
    Model("efficientnet-lite0", "EfficientNet-Lite0 (PyTorch)", efficientnet, ("fp32", "dynamic-int8", "int8")),
    Model("minilm", "MiniLM SST-2 (PyTorch)", minilm, ("fp32", "dynamic-int8", "int8")),
)


def made(model: Model) -> Path:
    """Return the folder of a model with its bundle, its inputs and the original's answers, made where they are not."""
    model.folder.mkdir(parents=True, exist_ok=True)
    if not (model.folder / "original.npz").is_file():
        _child([sys.executable, "-m", "tests.benchmarks.arm.original", model.name])
    if not model.bundle.is_dir():
        recipes = [word for recipe in model.recipes for word in ("--recipe", recipe)]
        words = [*model.words(model.folder), *recipes, "--allow-degraded", "--name", model.name]
        _child([str(Path(sys.executable).with_name("edgekit")), "convert", *words, "-o", str(model.bundle)])
    return model.folder


def _child(words: list[str]) -> None:
    """Run a command that needs frameworks; they end with it."""
    print(" ".join(words), file=sys.stderr, flush=True)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(words, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        sys.exit(f"{words[0]}: exit code {done.returncode}")


def items_of(model: Model) -> list[dict[str, str]]:
    """The inputs: each with the key ``path`` or ``text``."""
    items: list[dict[str, str]] = json.loads((model.folder / "items.json").read_text(encoding="utf-8"))
    return items
