from collections.abc import Mapping

import numpy as np
import pytest

from edgekit.binding import Binding, BoundEngine, adapt_feeds
from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.errors import DataRefused, ModelRefused
from edgekit.spec import Spec, TensorSpec

SPEC = Spec(
    inputs=(TensorSpec("image", (None, 3, 2, 4), layout="NCHW"), TensorSpec("ids", (None, 2), "int64")),
    outputs=(TensorSpec("sum", (None, 1)),),
)
INPUTS = (Binding("image", "in:0", (1, 2, 4, 3), "float32", "NHWC"), Binding("ids", "in:1", (1, 2), "int32"))
OUTPUTS = (Binding("sum", "out:0", (1, 1), "float32"),)


class Adder:
    """Takes NHWC pictures and int32 numbers, one sample at a time."""

    inputs = (TensorInfo("in:0", (1, 2, 4, 3), "float32"), TensorInfo("in:1", (1, 2), "int32"))
    outputs = (TensorInfo("out:0", (1, 1), "float32"),)

    def __init__(self) -> None:
        self.seen: list[Mapping[str, Array]] = []

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.seen.append(feeds)
        assert [feeds[info.name].shape for info in self.inputs] == [info.shape for info in self.inputs]
        return {"out:0": feeds["in:0"][:, 0, 0, :1] + feeds["in:1"][:, :1]}


def feeds(batch: int) -> dict[str, Array]:
    image = np.arange(batch * 24, dtype=np.float32).reshape(batch, 3, 2, 4)
    return {"image": image, "ids": np.full((batch, 2), 1000, np.int64)}


def test_names_layouts_dtypes_and_batches_are_adapted() -> None:
    runner = Adder()
    outputs = BoundEngine(runner, SPEC, INPUTS, OUTPUTS).run(feeds(3))
    assert outputs["sum"].tolist() == [[1000.0], [1024.0], [1048.0]]
    assert len(runner.seen) == 3
    assert runner.seen[0]["in:1"].dtype == np.int32
    assert np.array_equal(runner.seen[1]["in:0"][0], feeds(2)["image"][1].transpose(1, 2, 0))


def test_numbers_that_do_not_fit_are_refused() -> None:
    wide = feeds(1)
    wide["ids"][0, 0] = 2**40
    with pytest.raises(DataRefused, match="'ids' has values outside int32"):
        adapt_feeds(wide, SPEC, INPUTS)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(DataRefused, match="no array for input 'ids', got \\['image'\\]"):
        adapt_feeds({"image": feeds(1)["image"]}, SPEC, INPUTS)


def test_a_manifest_that_names_another_tensor_is_refused() -> None:
    with pytest.raises(ModelRefused, match="no tensor 'elsewhere'"):
        BoundEngine(Adder(), SPEC, INPUTS, (Binding("sum", "elsewhere", (1, 1), "float32"),))
