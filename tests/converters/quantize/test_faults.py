"""Faults 4 to 8 and 25 through the real command and the Python interface, on a trained network and files on disk.

ResNet8 of MLPerf Tiny, as ``.tflite`` and as ``.onnx``, and photos of CIFAR-10. What is refused must leave an older
bundle at the output as it was. Tests elsewhere go deeper into single parts: ``test_calibration`` into what a sample
may be, ``test_check`` into artifacts that are not what their name says, ``test_quantize`` into what `quantize` itself
refuses, ``tests/converters/test_convert`` into a PyTorch network with made-up pictures.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit.errors import DataRefused, QualityError
from edgekit_converters import convert as conversion

Pictures = NDArray[np.uint8]
BAD = 13
"""Number of the bad sample in every file that holds one."""
INPUT = {"tflite": "serving_default_input_1:0", "onnx": "input_1"}


@pytest.fixture(scope="module")
def pictures(realpack: Path) -> Pictures:
    """CIFAR-10 ``[1200, 32, 32, 3]``."""
    with np.load(realpack / "cifar10/cifar10.npz") as data:
        return np.asarray(data["x"])


@pytest.fixture(scope="module")
def floats(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network in float32, both formats."""
    output = tmp_path_factory.mktemp("floats") / "resnet8"
    return edgekit.convert(realpack / "models/keras/pretrainedResnet.h5", output, preset="raw", name="resnet8")


@pytest.fixture(params=["tflite", "onnx"])
def form(request: pytest.FixtureRequest) -> str:
    """Format of the model and of what is made of it."""
    return str(request.param)


@pytest.fixture
def model(form: str, floats: Bundle) -> Path:
    """The float model in the format."""
    return floats.path / f"resnet8.fp32.{form}"


@pytest.fixture
def old(floats: Bundle, tmp_path: Path) -> Path:
    """An older good bundle, alone in its folder."""
    (tmp_path / "out").mkdir()
    return Path(shutil.copytree(floats.path, tmp_path / "out" / "old.bundle"))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def convert_command(capsys: pytest.CaptureFixture[str], model: Path, form: str) -> Command:
    """Run ``edgekit convert MODEL --recipe int8`` and return the exit code and what it wrote to standard error."""

    def run(calibration: Path | str, output: Path, *more: str, preset: str = "tensors") -> tuple[int, str]:
        words = ["convert", str(model), "--to", form, "--preset", preset, "--recipe", "int8"]
        with pytest.raises(SystemExit) as stop:
            main([*words, "--calibration", str(calibration), "-o", str(output), *more])
        return int(stop.value.code or 0), capsys.readouterr().err

    return run


def assert_refused(code: int, written: str, text: str, *, exit_code: int = 3) -> None:
    """The documented code, and a cause and a remedy in three lines at most."""
    assert code == exit_code, written
    error = written[written.index("error: ") :].strip()
    assert text in error
    assert "remedy: " in error
    assert len(error.splitlines()) <= 3
    assert "Traceback" not in written


def array_file(folder: Path, values: NDArray[Any]) -> Path:
    np.save(folder / "data.npy", values)
    return folder / "data.npy"


def photo_folder(folder: Path, pictures: Pictures) -> Path:
    (folder / "photos").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "photos" / f"{number:03d}.png"), picture[..., ::-1])
    return folder / "photos"


def function_file(folder: Path, pictures: Pictures, body: str) -> Path:
    """A Python file with the pictures in ``X``."""
    np.save(folder / "x.npy", pictures.astype(np.float32))
    code = f"import numpy as np\nX = np.load({str(folder / 'x.npy')!r})\n{body}"
    (folder / "data.py").write_text(code, encoding="utf-8")
    return folder / "data.py"


def with_value(pictures: Pictures, value: float) -> NDArray[np.float32]:
    values = pictures.astype(np.float32)
    values[BAD, 5, 5, 1] = value
    return values


YIELDS_NAN = f"def samples():\n    for i, x in enumerate(X):\n        yield x * (np.nan if i == {BAD} else 1)\n"
FAULTS: dict[str, tuple[Callable[[Path, Pictures], Path | str], str]] = {
    "4 NaN in an array": (lambda f, x: array_file(f, with_value(x, np.nan)), f"data.npy sample {BAD}: "),
    "4 infinite value in an array": (lambda f, x: array_file(f, with_value(x, np.inf)), f"data.npy sample {BAD}: "),
    "4 minus infinity in an array": (lambda f, x: array_file(f, with_value(x, -np.inf)), f"data.npy sample {BAD}: "),
    "4 NaN from a function": (lambda f, x: f"{function_file(f, x, YIELDS_NAN)}:samples", f"sample {BAD}: "),
    "5 folder without photos": (lambda f, x: photo_folder(f, x[:0]), "photos holds no samples"),
    "5 array of length 0": (lambda f, x: array_file(f, x[:0]), "data.npy holds no samples"),
    "5 function that yields nothing": (
        lambda f, x: f"{function_file(f, x, 'def samples():  yield from ()')}:samples",
        "samples holds no samples",
    ),
    "6 generator instead of its function": (
        lambda f, x: f"{function_file(f, x, 'samples = (x for x in X)')}:samples",
        "a one-shot generator",
    ),
    "7 one value everywhere": (lambda f, x: array_file(f, np.full(x.shape, 7, np.float32)), "every value is 7"),
    "7 wrong size": (lambda f, x: array_file(f, x[:, :31].astype(np.float32)), "has shape [1, 31, 32, 3]; expected"),
    "7 other layout": (lambda f, x: array_file(f, np.moveaxis(x, 3, 1)), "has shape [1, 3, 32, 32]; expected"),
    "7 gray": (lambda f, x: array_file(f, x.mean(3)), "has shape [32, 32]; expected"),
    "7 complex numbers": (lambda f, x: array_file(f, x.astype(np.complex64)), "has dtype complex64; expected float32"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_data_that_cannot_calibrate_is_refused(
    fault: str, convert_command: Command, old: Path, tmp_path: Path, pictures: Pictures
) -> None:
    make, text = FAULTS[fault]
    before = contents(old.parent)
    preset = "raw" if "photos" in fault else "tensors"
    code, written = convert_command(make(tmp_path, pictures[:40]), old, preset=preset)
    assert_refused(code, written, text)
    assert ": convert:" not in written  # refused before anything is converted, let alone quantized
    assert contents(old.parent) == before


def test_black_photos_are_refused(convert_command: Command, old: Path, tmp_path: Path, pictures: Pictures) -> None:
    before = contents(old.parent)
    code, written = convert_command(photo_folder(tmp_path, np.zeros_like(pictures[:20])), old, preset="raw")
    assert_refused(code, written, "is constant: every value is 0")
    assert contents(old.parent) == before


def test_fractions_for_an_input_of_integers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault 7: token numbers that were scaled would all be cut to 0."""
    import onnx
    from onnx import helper

    table = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "tokens"], ["rows"])],
        "lookup",
        [helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, [1, 3])],
        [helper.make_tensor_value_info("rows", 1, [1, 3, 4])],
        [table],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    data = array_file(tmp_path, np.random.default_rng(0).random((20, 3)))
    words = ["convert", str(tmp_path / "m.onnx"), "--to", "onnx", "--preset", "tensors", "--recipe", "int8"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--calibration", str(data), "-o", str(tmp_path / "out")])
    assert_refused(int(stop.value.code or 0), capsys.readouterr().err, "has dtype float64; expected int64")
    assert not (tmp_path / "out").exists()


def test_data_that_may_be_meant_is_named_in_a_note(
    convert_command: Command, tmp_path: Path, pictures: Pictures
) -> None:
    """Fault 7, and 6: a function that yields is read as often as needed."""
    body = "def samples():\n    yield from X.repeat(20, axis=0)\n"
    data = f"{function_file(tmp_path, pictures[:1], body)}:samples"
    code, written = convert_command(data, tmp_path / "new.bundle", "--allow-degraded")
    assert code == 0, written
    assert "right only if the model takes pixel values that are not normalised" in written
    assert "note: all 16 calibration samples have the same" in written
    bundle = Bundle(tmp_path / "new.bundle")
    assert [artifact.recipe for artifact in bundle.artifacts] == ["int8"]
    assert bundle.manifest.calibration["samples"] == 16
    assert any("the same" in note for note in bundle.manifest.notes)


def test_data_of_another_scale_than_the_evaluation_misses_the_gate(
    convert_command: Command, old: Path, tmp_path: Path, pictures: Pictures
) -> None:
    """Fault 7: values 0..1 for a model that takes 0..255 are finite and varied; only the answers tell."""
    np.save(tmp_path / "evaluation.npy", pictures[60:120].astype(np.float32))
    before = contents(old.parent)
    scaled = array_file(tmp_path, pictures[:20].astype(np.float32) / 255)
    code, written = convert_command(scaled, old, "--eval", str(tmp_path / "evaluation.npy"))
    assert_refused(code, written, "has cosine", exit_code=4)
    assert contents(old.parent) == before


def test_a_float_model_under_an_int8_name_is_refused(
    convert_command: Command, old: Path, tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 8: a quantizer that gives the float model back, as TensorFlow's does without calibration data."""

    def gives_the_float_model(float_path: Path, out: Path, *arguments: Any, **options: Any) -> Any:
        shutil.copyfile(float_path, out)
        return Report()

    class Report:
        notes: tuple[str, ...] = ()

    monkeypatch.setattr(conversion, "quantize", gives_the_float_model)
    before = contents(old.parent)
    code, written = convert_command(array_file(tmp_path, pictures[:20].astype(np.float32)), old, "--allow-degraded")
    assert_refused(code, written, "recipe int8 asked for, but no weight is stored in it", exit_code=4)
    assert contents(old.parent) == before


def generated(pictures: Pictures) -> Iterator[NDArray[np.float32]]:
    return (picture.astype(np.float32) for picture in pictures)


IN_PYTHON: dict[str, tuple[Callable[[Pictures], Any], str]] = {
    "4": (lambda x: list(with_value(x, np.nan)), rf"sample {BAD}: calibration sample \d+, .*NaN"),
    "5": (lambda x: [], "holds no samples"),
    "6": (generated, "a one-shot generator"),
    "7": (lambda x: [np.zeros((32, 32, 3), np.float32)] * 20, "is constant"),
}


@pytest.mark.parametrize("fault", list(IN_PYTHON))
def test_the_python_interface_refuses_alike(fault: str, model: Path, form: str, old: Path, pictures: Pictures) -> None:
    make, text = IN_PYTHON[fault]
    before = contents(old.parent)
    data = make(pictures[:40])
    with pytest.raises(DataRefused, match=text) as caught:
        edgekit.convert(model, old, to=[form], preset="tensors", recipes=["int8"], calibration=data)
    assert caught.value.remedy
    assert contents(old.parent) == before


def test_the_python_interface_refuses_a_float_model_under_an_int8_name(
    model: Path, form: str, old: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gives_the_float_model(float_path: Path, out: Path, *arguments: Any, **options: Any) -> None:
        shutil.copyfile(float_path, out)

    monkeypatch.setattr(conversion, "quantize", gives_the_float_model)
    before = contents(old.parent)
    data = list(pictures[:20].astype(np.float32))
    with pytest.raises(QualityError, match="recipe int8 asked for") as caught:
        edgekit.convert(model, old, to=[form], preset="tensors", recipes=["int8"], calibration=data)
    assert caught.value.remedy
    assert contents(old.parent) == before


QUANTIZES = """
import sys
import numpy as np
from pathlib import Path
from edgekit_converters.quantize import RECIPES, quantize

model, out, pictures, name, count, seed = sys.argv[1:]
order = np.arange(int(count))
if int(seed):
    np.random.default_rng(int(seed)).shuffle(order)

class Samples:
    def __iter__(self):
        for number in order:
            picture = np.fromfile(pictures, np.uint8, 3072, offset=3072 * int(number))
            yield {name: picture.reshape(1, 32, 32, 3).astype(np.float32)}

quantize(Path(model), Path(out), RECIPES["int8"], Samples(), threads=1)
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(line.split()[1])
"""


def quantized_apart(model: Path, out: Path, pictures: Path, count: int, seed: int = 0) -> int:
    """Quantize in a process of its own; return its peak memory in KiB."""
    command = [sys.executable, "-c", QUANTIZES, str(model), str(out), str(pictures), INPUT[model.suffix[1:]]]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(count), str(seed)], env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture(scope="module")
def pictures_file(pictures: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "pictures.bin"
    pictures.tofile(path)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory of a process is read from /proc")
def test_memory_of_calibration_does_not_grow_with_the_samples(model: Path, pictures_file: Path, tmp_path: Path) -> None:
    """Fault 25. Kept activations would take 0.5 to 0.8 MB a sample."""
    out = tmp_path / f"out{model.suffix}"
    few, many = (quantized_apart(model, out, pictures_file, count) for count in (32, 512))
    assert many <= 1.1 * few


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory of a process is read from /proc")
def test_order_of_the_samples_changes_nothing(model: Path, pictures_file: Path, tmp_path: Path) -> None:
    """Fault 25: the same artifact, byte for byte."""
    files = [tmp_path / f"{seed}{model.suffix}" for seed in (0, 1, 2)]
    for seed, file in enumerate(files):
        quantized_apart(model, file, pictures_file, 32, seed)
    assert len({file.read_bytes() for file in files}) == 1
