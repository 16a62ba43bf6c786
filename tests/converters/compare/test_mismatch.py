"""The doctor names a mismatch that is there, and none that is not."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.bundle import Bundle
from edgekit.metrics import Proportion
from edgekit.spec import Preprocess
from edgekit.tasks import task_for
from edgekit_converters.compare import CompareRequest, compare
from edgekit_converters.compare.mismatch import examine_labels
from edgekit_converters.compare.samples import read_samples
from edgekit_converters.compare.search import Diagnosis, is_poor, sign_test
from edgekit_converters.compare.subject import BoundFile
from edgekit_converters.progress import Silent, Stages

from .conftest import LABELS, artifact, picture, rewritten_weights

UNIT = Preprocess(scale=1 / 255)


def examined(bundle: Bundle, how: Preprocess, data: Any, folder: Path) -> Diagnosis:
    """Feed the network otherwise than it was trained, and ask the doctor."""
    spec = bundle.spec.replace(preprocess=how)
    file = next(item for item in bundle.artifacts if (item.format, item.recipe) == ("onnx", "fp32"))
    task, stages = task_for(spec), Stages(Silent())
    samples, _ = read_samples(data, task, stages, folder)
    with BoundFile(bundle.file(file.file), file.inputs, file.outputs).opened(spec) as engine:
        return examine_labels("tiny", task, samples, data=data, run=engine.run, stages=stages)


WRONG: list[tuple[str, Preprocess, dict[str, tuple[str, str]]]] = [
    ("colours", replace(UNIT, color="bgr"), {"colour": ("BGR", "RGB")}),
    ("values", Preprocess(mean=(127.0,), std=(1e4,)), {"values": ("x * 1, mean 127, std 1e+04", "0..1")}),
    (
        "both",
        Preprocess(color="bgr", mean=(127.0,), std=(1e4,)),
        {"values": ("x * 1, mean 127, std 1e+04", "0..1"), "colour": ("BGR", "RGB")},
    ),
]


@pytest.mark.parametrize(("how", "changes"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_the_cause_is_named_and_nothing_else(
    bundle: Bundle, photos: Path, tmp_path: Path, how: Preprocess, changes: dict[str, tuple[str, str]]
) -> None:
    found = examined(bundle, how, photos, tmp_path)
    assert set(found.changes) == set(changes)
    if "colour" in changes:
        assert found.changes["colour"] == changes["colour"]
    assert found.changes.get("values", ("", ""))[0] == changes.get("values", ("", ""))[0]
    assert found.before.value < 0.6
    assert found.after.value == 1.0
    assert "accuracy" in str(found)
    assert "answers best with" in str(found)


def test_swapped_colours_lead_to_the_preset(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    found = examined(bundle, replace(UNIT, color="bgr"), photos, tmp_path)
    assert str(found) == (
        "tiny is fed BGR, but answers best with RGB: accuracy 50 % -> 100 % on 40 samples; convert with --preset unit"
    )


def test_nothing_is_named_where_nothing_is_wrong(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    found = examined(bundle, UNIT, photos, tmp_path)
    assert found.better is None
    assert found.changes == {}
    assert found.tried > 30
    assert found.remedy == ""
    assert "is clearly better" in str(found)


def test_noise_is_no_cause(bundle: Bundle, tmp_path: Path) -> None:
    """Labels drawn at random: some reading gets more of them right by luck, and none is named."""
    draw = np.random.default_rng(5)
    data = [(picture(int(draw.integers(4)), seed), int(draw.integers(4))) for seed in range(40)]
    found = examined(bundle, UNIT, data, tmp_path)
    assert found.better is None
    assert "order of classes" in found.remedy


def test_too_few_samples_prove_nothing(bundle: Bundle, tmp_path: Path) -> None:
    data = [(picture(label, label), label) for label in (0, 2, 0, 2)]
    assert examined(bundle, replace(UNIT, color="bgr"), data, tmp_path).better is None


def test_sign_test() -> None:
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(8, 2) == pytest.approx((45 + 10 + 1) / 1024)
    assert sign_test(0, 0) == 1.0
    assert sign_test(500, 500) > 0.5


def test_poor_is_below_one_half_for_sure() -> None:
    assert is_poor(Proportion(10, 40))
    assert not is_poor(Proportion(19, 40))
    assert not is_poor(Proportion(0, 1))
    assert not is_poor(None)


def reversed_channels(kind: str) -> Any:
    """Weights of the first layer for pictures in the other colour order."""
    return {0: lambda weights: weights[..., ::-1].copy() if kind == "tflite" else weights[:, ::-1].copy()}


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_an_artifact_with_swapped_channels_is_found_by_the_originals_answers(
    bundle: Bundle, kind: str, tmp_path: Path
) -> None:
    other = rewritten_weights(artifact(bundle, kind, "fp32"), tmp_path / f"swapped.{kind}", reversed_channels(kind))
    found = compare(CompareRequest(bundle.path, other))
    (diagnosis,) = found.diagnoses
    assert diagnosis.against == "the original's answers"
    assert diagnosis.changes == {"colour": ("RGB", "BGR")}
    assert diagnosis.after == Proportion(4, 4)
    assert "convert the model again" in diagnosis.remedy


def test_an_artifact_that_is_broken_otherwise_is_no_mismatch(bundle: Bundle, tmp_path: Path) -> None:
    other = rewritten_weights(artifact(bundle, "onnx", "fp32"), tmp_path / "broken.onnx", {1: lambda weights: -weights})
    found = compare(CompareRequest(bundle.path, other))
    assert [diagnosis.better for diagnosis in found.diagnoses] == [None]


def test_the_search_can_be_left_out_and_asked_for(bundle: Bundle, photos: Path) -> None:
    request = CompareRequest(bundle.path, "int8", format="onnx", data=photos)
    assert compare(request).diagnoses == ()
    both = compare(replace(request, diagnose=True)).diagnoses
    assert [diagnosis.against for diagnosis in both] == ["labels", "the original's answers"]
    assert all(diagnosis.better is None for diagnosis in both)


def test_converting_with_the_wrong_values_is_told(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    original = artifact(bundle, "onnx", "fp32")
    spec = bundle.spec.replace(inputs=(), outputs=(), preprocess=WRONG[2][1])
    made = edgekit.convert(original, tmp_path / "b", to=["onnx"], spec=spec, labels=LABELS, evaluation=photos)
    assert any("the model is fed" in note and "accuracy" in note for note in made.manifest.notes)
    right = edgekit.convert(original, tmp_path / "c", to=["onnx"], preset="unit", labels=LABELS, evaluation=photos)
    assert not any("is fed" in note for note in right.manifest.notes)


@pytest.fixture(scope="module")
def mobilenet(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return edgekit.convert(
        realpack / "models/keras/mobilenetv2_port.keras",
        tmp_path_factory.mktemp("real") / "b",
        to=["tflite"],
        preset="imagenet",
    )


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_real_photos(realpack: Path, mobilenet: Bundle, wrong: bool, tmp_path: Path) -> None:
    """MobileNetV2 with ImageNet weights on 48 labelled photos, fed as trained and with BGR in -1..1."""
    with (realpack / "imagenet_like/calib.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(realpack / "imagenet_like" / row["file"], int(row["label"])) for row in csv.DictReader(stream)][:48]
    right = mobilenet.spec.preprocess or Preprocess()
    how = replace(right, color="bgr", scale=1 / 127.5, mean=(1.0,), std=(1.0,)) if wrong else right
    spec = mobilenet.spec.replace(preprocess=how)
    file, task, stages = mobilenet.artifacts[0], task_for(spec), Stages(Silent())
    samples, _ = read_samples(rows, task, stages, tmp_path)
    with BoundFile(mobilenet.file(file.file), file.inputs, file.outputs).opened(spec) as engine:
        found = examine_labels("MobileNetV2", task, samples, data=rows, run=engine.run, stages=stages)
    if wrong:
        assert found.changes == {"values": ("-1..1", "ImageNet mean and std"), "colour": ("BGR", "RGB")}, str(found)
        assert found.remedy == "convert with --preset imagenet"
        assert found.after.successes > found.before.successes
    else:
        assert found.better is None, str(found)
