from pathlib import Path

import pytest

from edgekit.errors import SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec

TOML = """
task = "image-classification"
labels = ["cat", "dog"]

[[inputs]]
name = "image"
shape = [-1, 3, 224, 224]
layout = "NCHW"

[[outputs]]
name = "logits"
shape = [-1, 2]

[preprocess]
resize = "short-side"
size = 256
interpolation = "bicubic"
crop = true
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = 0.5
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def test_toml_is_read(tmp_path: Path) -> None:
    spec = Spec.from_toml(write(tmp_path, TOML))
    assert spec.inputs == (TensorSpec("image", (None, 3, 224, 224), "float32", "NCHW"),)
    assert spec.preprocess == Preprocess(
        "short-side", (256, 256), "bicubic", crop=True, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.5,)
    )
    assert spec.labels == ("cat", "dog")


def test_json_form_round_trips(tmp_path: Path) -> None:
    spec = Spec.from_toml(write(tmp_path, TOML))
    assert Spec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = 'juggling'", "task 'juggling'; expected image-classification or"),
        ("colour = 'rgb'", "unknown key 'colour'; expected inputs, labels"),
        ("[preprocess]\nresize = 'squash'", "preprocess.resize = 'squash'; expected none or stretch"),
        ("[preprocess]\nmean = [1.0, 2.0]", "preprocess.mean has 2 numbers for color 'rgb'; expected 1 or 3"),
        ("[preprocess]\nstd = 0.0", "preprocess.std contains 0"),
        ("[[inputs]]\nname = 'x'\nshape = [1, 2]\nlayout = 'NHWC'", "expected four dimensions"),
        ("[[inputs]]\nshape = [1, 2]", "missing 1 required positional argument: 'name'"),
        ("[[inputs]]\nname='a'\nshape=[1]\n[[inputs]]\nname='a'\nshape=[1]", "expected different names"),
        ("preprocess = 3", "preprocess is 3; expected a table"),
        ("task = ", "spec.toml: Invalid value"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecRefused) as caught:
        Spec.from_toml(write(tmp_path, text))
    assert message in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match=r"nothing\.toml"):
        Spec.from_toml(tmp_path / "nothing.toml")


def test_height_and_width_need_an_image_layout() -> None:
    assert TensorSpec("x", (None, 10, 20, 3), layout="NHWC").height_width == (10, 20)
    assert TensorSpec("x", (None, 3, 10, 20), layout="NCHW").height_width == (10, 20)
    with pytest.raises(SpecRefused, match="fixed height and width"):
        _ = TensorSpec("x", (None, None, None, 3), layout="NHWC").height_width
