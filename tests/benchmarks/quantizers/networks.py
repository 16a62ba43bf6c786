"""The networks, each with the words of an `edgekit convert` command that says model, preprocessing and data."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks import quality
from tests.benchmarks.quality import FIXTURES, real

PERSON_AREA = 0.02
"""A photo shows a person if one covers at least this share of it; photos with smaller ones only are left out."""


@dataclass(frozen=True)
class Network:
    """A network to be quantized.

    Attributes:
        name: Name in the tables.
        arguments: Writes data files into a folder and returns the words of the command.
        recipes: Recipes that are measured.
        published: int8 files of the same network that its authors published, relative to the real models.
        keras: Whether TensorFlow can read the original: a Keras model or a SavedModel.
        attention: A transformer.
        photos: Calibrated and measured on photos: it is in the README's table and in the ablation.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    recipes: tuple[str, ...] = ("int8",)
    published: tuple[str, ...] = ()
    keras: bool = False
    attention: bool = False
    photos: bool = False

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower()).strip("-")


def person_detector(folder: Path) -> list[str]:
    """MLPerf Tiny's person detector: measured on COCO photos, calibrated on photos of another data set."""
    (folder / "labels.txt").write_text("no person\nperson\n", encoding="utf-8")
    rows = []
    for boxes in sorted((real() / "coco").glob("0*.txt")):
        fields = [line.split() for line in boxes.read_text(encoding="utf-8").splitlines()]
        people = [float(box[3]) * float(box[4]) for box in fields if box[0] == "0"]
        if not people or max(people) > PERSON_AREA:
            rows.append([str(boxes.with_suffix(".jpg")), int(bool(people))])
    with (folder / "evaluation.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["file", "label"], *rows])
    data = ["--calibration", str(real() / "imagenet_like/calib"), "--eval", str(folder / "evaluation.csv")]
    return [
        str(real() / "models/keras/vww_96.h5"),
        "--preset",
        "unit",
        "--labels",
        str(folder / "labels.txt"),
        *data,
    ]


def keyword_lstm(folder: Path) -> list[str]:
    """A three-layer LSTM keyword spotter in PyTorch; every fourth clip calibrates, the others measure."""
    from tests.fixtures.keyword_lstm import mfcc

    words = (real() / "models/torch/classes_kaggle.names").read_text(encoding="utf-8").split()
    with np.load(real() / "speech_commands/sc12.npz") as clips:
        spoken = np.char.lower(clips["word"])
        known = np.isin(spoken, words)
        frames, spoken = mfcc(clips["audio_i16_16k"][known]), spoken[known]
    classes = np.array([words.index(word) for word in spoken])
    apart = np.arange(len(frames)) % 4 == 0
    np.savez(folder / "calibration.npz", frames=frames[apart])
    np.savez(folder / "evaluation.npz", frames=frames[~apart], label=classes[~apart])
    (folder / "labels.txt").write_text("\n".join(words), encoding="utf-8")
    weights = str(real() / "models/torch/kaggle.ckpt")
    data = ["--calibration", str(folder / "calibration.npz"), "--eval", str(folder / "evaluation.npz")]
    factory = f"{FIXTURES / 'keyword_lstm.py'}:build"
    shape = ["--input-shape", "1,32,12", "--labels", str(folder / "labels.txt")]
    return [factory, "--weights", weights, *shape, *data]


NETWORKS = (
    Network("MobileNetV2 (Keras)", quality.keras_mobilenet, keras=True, photos=True),
    Network("MobileNetV2 (PyTorch)", quality.torch_mobilenet, photos=True),
    Network("EfficientNet-Lite0 (PyTorch)", quality.efficientnet, photos=True),
    Network(
        "ResNet8 (Keras .h5)", quality.resnet8, published=("models/ref/pretrainedResnet_quant.tflite",), keras=True
    ),
    Network("VWW (Keras .h5)", person_detector, published=("models/ref/vww_96_int8.tflite",), keras=True),
    Network(
        "DS-CNN keywords (SavedModel)", quality.keywords, published=("models/ref/kws_ref_model.tflite",), keras=True
    ),
    Network("LSTM keywords (PyTorch)", keyword_lstm, recipes=("dynamic-int8", "int8")),
    Network("MiniLM SST-2 (PyTorch)", quality.minilm, recipes=("dynamic-int8", "int8"), attention=True),
)


def named(name: str) -> Network:
    """The network of a name."""
    return next(network for network in NETWORKS if network.name == name)
