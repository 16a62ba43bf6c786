"""The conversion end to end on a small network: what is published, and what is refused with nothing published."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest

import edgekit
from edgekit.bundle import Bundle
from edgekit.errors import DataRefused, EnvironmentFault, ModelRefused, QualityError, UsageError
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit_converters.convert import GateMissed

TINY = f"{Path(__file__).parents[1] / 'fixtures' / 'tiny.py'}:build"
LABELS = ("red", "green", "blue", "none")
SHAPE = "1,3,32,32"


def picture(label: int, seed: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    values = np.random.default_rng(seed).integers(0, 76, (32, 32, 3), dtype=np.uint8)
    if label < 3:
        values[..., label] += 153
    return values


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(40):
        label = seed % 4
        (folder / LABELS[label]).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / LABELS[label] / f"{seed}.png"), picture(label, seed)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def converted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Every recipe for both targets."""
    return edgekit.convert(
        TINY,
        tmp_path_factory.mktemp("out") / "tiny.bundle",
        recipes=("fp32", "fp16", "dynamic-int8", "int8", "mixed", "int8-int16"),
        preset="unit",
        labels=LABELS,
        input_shapes=[SHAPE],
        calibration=photos,
    )


def test_artifacts_are_named_by_model_and_recipe(converted: Bundle) -> None:
    assert [artifact.file for artifact in converted.artifacts] == [
        f"tiny.{recipe}.{suffix}"
        for suffix in ("tflite", "onnx")
        for recipe in ("fp32", "fp16", "dynamic-int8", "int8", "mixed", "int8-int16")
    ]
    Bundle(converted.path)  # all hashes match


def test_every_artifact_answers_as_the_original(converted: Bundle) -> None:
    for artifact in converted.artifacts:
        assert artifact.degraded is None
        assert artifact.parity.metric is not None
        assert artifact.parity.metric.value == 1.0, artifact.file
        assert artifact.parity.samples == 8
        limit = {"fp32": 1e-4, "fp16": 1e-2}.get(artifact.recipe, 0.1)
        assert artifact.parity.worst.relative_l2 < limit, artifact.file


def test_the_manifest_tells_where_everything_comes_from(converted: Bundle) -> None:
    manifest = converted.manifest
    assert manifest.source["framework"] == "pytorch"
    assert manifest.source["parameters"] == 224 + 584 + 36
    assert manifest.calibration["samples"] == 32
    assert len(manifest.calibration["fingerprint"]) == 64
    assert manifest.evaluation["origin"] == "calibration data kept aside"
    assert any("kept aside for parity" in note for note in manifest.notes)
    assert manifest.tools["torch"].startswith("2.")
    assert manifest.spec.labels == LABELS


def test_the_manifest_tells_what_an_inference_costs(converted: Bundle) -> None:
    found = {(artifact.format, artifact.recipe): artifact.resources for artifact in converted.artifacts}
    macs = {resources.macs for resources in found.values() if resources is not None}
    assert None not in found.values()
    assert len(macs) == 1  # formats and recipes differ in how they multiply, not in how often
    for form in ("tflite", "onnx"):
        whole, eighth = found[form, "fp32"], found[form, "int8"]
        assert whole is not None
        assert eighth is not None
        assert 4 * (224 + 584 + 36) <= whole.weight_bytes < 4 * (224 + 584 + 36) + 100
        assert (whole.int8_macs, eighth.int8_macs) == (0, whole.macs)
        assert eighth.peak_activation_bytes < whole.peak_activation_bytes
        assert sum(operator.macs for operator in whole.operators) == whole.macs


def test_pytorch_becomes_nhwc_in_tflite_and_stays_nchw_in_onnx(converted: Bundle) -> None:
    layouts = {(artifact.format, artifact.inputs[0].layout) for artifact in converted.artifacts}
    assert layouts == {("tflite", "NHWC"), ("onnx", "NCHW")}


def test_onnx_takes_any_batch(converted: Bundle) -> None:
    assert {a.inputs[0].shape[0] for a in converted.artifacts if a.format == "onnx"} == {None}


def test_a_loaded_bundle_predicts(converted: Bundle) -> None:
    for engine in ("litert", "onnxruntime"):
        with edgekit.load(converted.path, engine=engine, recipe="int8") as predictor:
            assert [predictor.predict(picture(i, 99)).best.name for i in range(4)] == list(LABELS)


def convert(output: Path, **arguments: Any) -> Bundle:
    given: dict[str, Any] = {"to": ("onnx",), "preset": "unit", "input_shapes": [SHAPE], **arguments}
    model = given.pop("model", TINY)
    return edgekit.convert(model, output, **given)


def fingerprint(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def test_an_older_bundle_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    output = tmp_path / "tiny.bundle"
    first = convert(output, name="first")
    second = convert(output, name="second")
    assert [artifact.file for artifact in second.artifacts] == ["second.fp32.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.bundle"]
    assert first.path == second.path


def test_made_up_inputs_stand_in_for_data_and_are_called_so(tmp_path: Path) -> None:
    bundle = convert(tmp_path / "b")
    assert bundle.manifest.evaluation["origin"] == "made-up inputs"
    assert bundle.artifacts[0].parity.samples == 8


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="a folder that is not a bundle"):
        convert(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def old(tmp_path: Path, converted: Bundle) -> Path:
    """An older good bundle at the place of the output."""
    import shutil

    return Path(shutil.copytree(converted.path, tmp_path / "old.bundle"))


NAN = np.full((32, 32, 3), np.nan, np.float32)
BAD_DATA: list[tuple[str, Any, str]] = [
    ("nothing", None, "--recipe int8 without calibration data"),
    ("empty", [], "holds no samples"),
    ("nan", [np.full((3, 32, 32), i / 9, np.float32) for i in range(8)] + [NAN.transpose(2, 0, 1)] * 2, "NaN"),
    ("constant", [np.zeros((3, 32, 32), np.float32)] * 10, "constant"),
    ("shape", [np.zeros((3, 31, 32), np.float32)] * 10, r"shape \[1, 3, 31, 32\]"),
    ("one-shot", (np.zeros((3, 32, 32), np.float32) for _ in range(10)), "one-shot generator"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in BAD_DATA], ids=[case[0] for case in BAD_DATA])
def test_bad_calibration_data_is_refused_and_the_old_bundle_stays(old: Path, data: Any, message: str) -> None:
    before = fingerprint(old)
    with pytest.raises(DataRefused, match=message) as caught:
        convert(old, preset="tensors", recipes=("int8",), calibration=data)
    assert caught.value.exit_code == 3
    assert fingerprint(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["old.bundle"]


def test_a_generator_function_is_as_good_as_a_list(tmp_path: Path, photos: Path) -> None:
    def samples() -> Any:
        yield from (picture(i % 4, i) for i in range(20))

    bundle = convert(tmp_path / "b", recipes=("int8",), calibration=samples, max_drop=20.0)
    assert bundle.manifest.calibration["samples"] == 16


def test_a_network_with_nan_is_never_published(old: Path) -> None:
    before = fingerprint(old)
    with pytest.raises(ModelRefused, match=r"the original gives NaN in output 'output' for made-up input 0"):
        convert(old, model=TINY.replace(":build", ":broken"), allow_degraded=True)
    assert fingerprint(old) == before


def damaging_quantizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantizer whose artifacts answer wrongly: the weights of the last layer are exchanged."""
    import onnx
    from onnx import numpy_helper

    from edgekit_converters import convert as module
    from edgekit_converters.quantize import quantizer

    real = quantizer.quantize

    def quantize(float_path: Path, out: Path, *arguments: Any, **options: Any) -> Any:
        model = onnx.load(float_path)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.shape in ((4, 8), (8, 4)):
                tensor.CopyFrom(numpy_helper.from_array(-values, tensor.name))
        damaged = out.with_name("damaged.onnx")
        onnx.save(model, damaged)
        report = real(damaged, out, *arguments, **options)
        damaged.unlink()
        return report

    monkeypatch.setattr(module, "quantize", quantize)


def test_lost_parity_is_refused_naming_the_output(old: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaging_quantizer(monkeypatch)
    before = fingerprint(old)
    with pytest.raises(QualityError, match=r"tiny\.int8\.onnx: accuracy dropped by .* worst output") as caught:
        convert(old, recipes=("int8",), calibration=photos, labels=LABELS)
    assert caught.value.exit_code == 4
    assert isinstance(caught.value, GateMissed)
    assert caught.value.manifest.artifacts[0].degraded is not None
    assert fingerprint(old) == before


def test_allow_degraded_publishes_and_says_so(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaging_quantizer(monkeypatch)
    bundle = convert(tmp_path / "b", recipes=("int8",), calibration=photos, labels=LABELS, allow_degraded=True)
    assert "accuracy dropped" in (bundle.artifacts[0].degraded or "")


def test_a_full_disk_leaves_the_old_bundle(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from edgekit_converters import convert as module

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = fingerprint(old)
    monkeypatch.setattr(module, "write_manifest", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        convert(old)
    assert fingerprint(old) == before


def test_the_spec_chooses_the_layout(tmp_path: Path) -> None:
    spec = Spec(
        "image-classification",
        inputs=(TensorSpec("photo", (1, 32, 32, 3), layout="NHWC"),),
        preprocess=Preprocess(scale=1 / 255),
    )
    bundle = convert(tmp_path / "b", preset=None, spec=spec)
    assert bundle.artifacts[0].inputs[0].layout == "NHWC"
    assert bundle.artifacts[0].inputs[0].shape[1:] == (32, 32, 3)


def test_live_modules_are_converted(tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    bundle = convert(
        tmp_path / "b", model=nn.Sequential(nn.Linear(4, 3), nn.Tanh()), preset="tensors", input_shapes=[(1, 4)]
    )
    assert bundle.manifest.source["file"] is None
    assert bundle.spec.outputs[0].shape[1:] == (3,)


Command = Callable[..., CompletedProcess[str]]


def test_the_command_prints_a_table_and_json(edgekit_command: Command, photos: Path, tmp_path: Path) -> None:
    arguments = ["convert", TINY, "--input-shape", SHAPE, "--preset", "unit", "--to", "onnx", "-o", tmp_path / "b"]
    table = edgekit_command(*arguments, "--eval", photos)
    assert table.returncode == 0, table.stderr
    assert "onnx fp32" in table.stdout
    assert "pass" in table.stdout
    raw = json.loads(edgekit_command(*arguments, "--json").stdout)
    assert raw["artifacts"][0]["file"] == "tiny.fp32.onnx"
    assert raw["seconds"]["onnx: convert"] > 0


def test_the_command_refuses_in_two_lines(edgekit_command: Command, tmp_path: Path) -> None:
    result = edgekit_command("convert", tmp_path / "none.keras", "-o", tmp_path / "b")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3
    assert not (tmp_path / "b").exists()
