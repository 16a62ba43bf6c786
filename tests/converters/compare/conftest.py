"""A small network that tells colours, as a bundle, and pictures for it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.bundle import Bundle

LABELS = ("red", "green", "blue", "none")
TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"


def picture(label: int, seed: int) -> NDArray[np.uint8]:
    values = np.random.default_rng(seed).integers(0, 76, (32, 32, 3), dtype=np.uint8)
    if label < 3:
        values[..., label] += 153
    return values


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty labelled photos, ten of each colour."""
    folder = tmp_path_factory.mktemp("colours")
    for seed in range(40):
        label = seed % 4
        (folder / LABELS[label]).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / LABELS[label] / f"{seed}.png"), picture(label, seed)[..., ::-1])
    return folder


@pytest.fixture(scope="session")
def bundle(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network in three precisions for both formats."""
    return edgekit.convert(
        TINY,
        tmp_path_factory.mktemp("compare") / "tiny.bundle",
        recipes=("fp32", "fp16", "dynamic-int8", "int8"),
        preset="unit",
        labels=LABELS,
        input_shapes=["1,3,32,32"],
        calibration=photos,
    )


def rewritten_weights(source: Path, target: Path, change: dict[int, Any]) -> Path:
    """Write a float artifact with some layers' weights changed.

    Args:
        source: A float artifact.
        target: Where to write.
        change: Number of a layer -> function of its weights.
    """
    if source.suffix == ".tflite":
        from edgekit_converters.quantize.tflite_graph import TFLiteGraph, packed

        tflite = TFLiteGraph(source)
        tflite.replace_weights(
            {tflite.layers[n].weight: f(tflite.weight(tflite.layers[n].weight)) for n, f in change.items()}
        )
        target.write_bytes(packed(tflite.model))
        return target
    import onnx

    from edgekit_converters.quantize.onnx_graph import OnnxGraph

    graph = OnnxGraph(source)
    graph.replace_weights({graph.layers[n].weight: f(graph.weight(graph.layers[n].weight)) for n, f in change.items()})
    onnx.save(graph.model, target)
    return target


def renamed(source: Path, target: Path) -> Path:
    """Write an artifact whose inner tensors have other names, as another tool would give them."""
    if source.suffix == ".tflite":
        from edgekit_converters.quantize.tflite_graph import packed, read_flatbuffer

        model = read_flatbuffer(source)
        for number, tensor in enumerate(model.subgraphs[0].tensors):
            tensor.name = f"t{number}".encode()
        model.signatureDefs = []
        target.write_bytes(packed(model))
        return target
    import onnx

    onnx_model = onnx.load(source)
    edges = {value.name for value in (*onnx_model.graph.input, *onnx_model.graph.output)}
    for node in onnx_model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = name if name in edges or not name else f"x_{abs(hash(name))}"
    for tensor in onnx_model.graph.initializer:
        tensor.name = f"x_{abs(hash(tensor.name))}"
    del onnx_model.graph.value_info[:]
    onnx.save(onnx_model, target)
    return target


def artifact(bundle: Bundle, file_format: str, recipe: str) -> Path:
    """Path of an artifact."""
    return next(
        bundle.file(item.file) for item in bundle.artifacts if (item.format, item.recipe) == (file_format, recipe)
    )
