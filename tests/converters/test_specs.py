from pathlib import Path
from typing import Any

import pytest

from edgekit.engine import Array, Feeds
from edgekit.errors import DataRefused, SpecRefused, UsageError
from edgekit.presets import preset
from edgekit.spec import Spec, TensorSpec
from edgekit_converters.request import Request
from edgekit_converters.sources.base import InputHint, Source
from edgekit_converters.specs import complete_spec, parse_hint, partial_spec, read_labels, wished_layouts


class PhotoSource(Source):
    framework = "pytorch"
    name = "photo"
    path = None
    inputs = (TensorSpec("x", (None, 3, 32, 32), layout="NCHW"),)
    outputs = (TensorSpec("y", (None, 2)),)
    parameters = 0
    size_bytes = 0

    def run(self, feeds: Feeds) -> dict[str, Array]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1,3,224,224", InputHint((1, 3, 224, 224))),
        ("ids=-1,128:int64", InputHint((None, 128), "ids", "int64")),
        ("?,8", InputHint((None, 8))),
        ((1, 4), InputHint((1, 4))),
    ],
)
def test_input_shapes_are_read(text: Any, hint: InputHint) -> None:
    assert parse_hint(text) == hint


def test_a_wrong_input_shape_shows_a_right_one() -> None:
    with pytest.raises(UsageError, match=r"e\.g\. 1,3,224,224"):
        parse_hint("224x224")


def test_labels_keep_blank_lines_inside(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ant\n\ncat\n\n")
    assert read_labels(tmp_path / "labels.txt") == ("ant", "", "cat")
    with pytest.raises(DataRefused, match="one class a line"):
        read_labels(tmp_path / "none.txt")


def test_preset_and_spec_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="both --preset and --spec"):
        partial_spec("unit", Spec())


def test_the_source_completes_the_spec() -> None:
    spec = complete_spec(preset("imagenet"), PhotoSource(), ("a", "b"))
    assert spec.inputs == PhotoSource.inputs
    assert spec.outputs == PhotoSource.outputs
    assert spec.labels == ("a", "b")
    assert spec.preprocess == preset("imagenet").preprocess


def test_an_image_task_needs_an_image() -> None:
    class Row(PhotoSource):
        inputs = (TensorSpec("x", (None, 3)),)

    with pytest.raises(SpecRefused, match="expected an image input"):
        complete_spec(preset("unit"), Row(), None)


def test_the_spec_decides_the_layout() -> None:
    named = preset("imagenet").replace(inputs=(TensorSpec("x", (None, 32, 32, 3), layout="NHWC"),))
    positional = preset("imagenet").replace(inputs=(TensorSpec("photo", (None, 32, 32, 3), layout="NHWC"),))
    assert wished_layouts(named, PhotoSource()) == {"x": "NHWC"}
    assert wished_layouts(positional, PhotoSource()) == {"x": "NHWC"}
    assert wished_layouts(preset("imagenet"), PhotoSource()) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("coreml",)}, "target 'coreml'"),
        ({"recipes": ("int4",)}, "recipe 'int4'"),
        ({"recipes": ()}, "no target or no recipe"),
        ({"io": "int8"}, "--io int8 without --recipe int8"),
        ({"max_drop": -1.0}, "--max-drop -1.0"),
    ],
)
def test_a_contradictory_request_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Request(**{"model": "m", "output": Path("o"), "spec": Spec(), **changes})
