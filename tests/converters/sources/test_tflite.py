from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import open_engine
from edgekit.errors import DataRefused, ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.sources.tflite import TFLiteSource

RESHAPE_SHAPE_AT = 25548
"""Where kws_ref_model.tflite names the shape of a reshape; -1 there means "left out", and the runtime follows it."""
RESHAPE_SHAPE = (2).to_bytes(4, "little")


@pytest.fixture(scope="session")
def models(realpack: Path) -> Path:
    return realpack / "models/ref"


@pytest.fixture
def keyword(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(models / "kws_ref_model.tflite", tmp_path))


def pictures(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_a_float_model_answers_as_the_reference(models: Path) -> None:
    path = models / "vww_96_float.tflite"
    feed = pictures(1, 96, 96, 3)
    with open_source(path) as source:
        assert isinstance(source, TFLiteSource)
        assert (source.framework, source.name, source.path) == ("tflite", "vww_96_float", path)
        assert [(item.shape, item.dtype, item.layout) for item in source.inputs] == [
            ((None, 96, 96, 3), "float32", "NHWC")
        ]
        assert [(item.shape, item.layout) for item in source.outputs] == [((None, 2), None)]
        assert source.size_bytes == path.stat().st_size
        assert source.is_float
        # Keras counts 221,794; batch norms are folded into the convolutions here.
        assert 200_000 < source.parameters < 221_794
        answer = source.run({source.inputs[0].name: feed})[source.outputs[0].name]
    with open_engine(path) as engine:
        expected = engine.run({engine.inputs[0].name: feed})[engine.outputs[0].name]
    np.testing.assert_array_equal(answer, expected)


def test_a_quantized_model_has_floats_at_its_edge(models: Path) -> None:
    with open_source(models / "vww_96_int8.tflite") as source:
        assert isinstance(source, TFLiteSource)
        assert not source.is_float
        assert source.inputs[0].dtype == "float32"
        answer = source.run({source.inputs[0].name: pictures(1, 96, 96, 3)})[source.outputs[0].name]
    assert answer.dtype == np.float32
    assert answer.sum() == pytest.approx(1, abs=0.02)


def test_it_runs_in_a_child_process_that_ends(keyword: Path) -> None:
    with open_source(keyword) as source:
        assert isinstance(source, TFLiteSource)
        child = source.engine.pid
        assert child != os.getpid()
        assert Path(f"/proc/{child}").exists()
    assert not Path(f"/proc/{child}").exists()


def test_feeds_and_hints_are_checked(keyword: Path) -> None:
    with open_source(keyword) as source, pytest.raises(DataRefused, match=r"has shape \[1, 49, 10\]"):
        source.run({source.inputs[0].name: pictures(1, 49, 10)})
    with pytest.raises(UsageError, match=r"input shape \[1, 50, 10, 1\]"):
        open_source(keyword, SourceOptions(inputs=(InputHint((1, 50, 10, 1)),)))


@pytest.mark.parametrize("name", ["kws_ref_model.tflite", "vww_96_float.tflite", "pretrainedResnet_quant.tflite"])
def test_a_cut_file_is_refused_with_its_size(
    models: Path, tmp_path: Path, name: str, cut_short: Callable[[Path], str]
) -> None:
    """Fault 1."""
    path = Path(shutil.copy(models / name, tmp_path))
    cut_short(path)
    size = path.stat().st_size
    # Some cuts are found here, some by LiteRT in the child.
    with pytest.raises(ModelRefused, match=rf"{re.escape(name)} \(({size}|{size:,}) bytes\)") as caught:
        open_source(path)
    assert caught.value.exit_code == 3
    assert "copy" in str(caught.value.remedy)


def test_another_format_under_this_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelRefused, match="does not start like a TFLite model"):
        open_source(path)


def test_a_model_that_crashes_the_runtime_is_refused_and_the_parent_lives(keyword: Path) -> None:
    """Fault 3."""
    data = bytearray(keyword.read_bytes())
    assert data[RESHAPE_SHAPE_AT : RESHAPE_SHAPE_AT + 4] == RESHAPE_SHAPE
    data[RESHAPE_SHAPE_AT : RESHAPE_SHAPE_AT + 4] = b"\xff" * 4
    keyword.write_bytes(data)
    name = re.escape(keyword.name)
    with pytest.raises(ModelRefused, match=rf"{name} crashed the runtime \(SIGSEGV\)") as caught:
        open_source(keyword)
    assert caught.value.exit_code == 3
