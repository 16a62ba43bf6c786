from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SpecRefused
from edgekit.spec import TensorSpec
from edgekit_converters.targets.base import ExportOptions, artifact_layouts, inverse, permutations

INPUTS = (TensorSpec("picture", (None, 3, 8, 6), layout="NCHW"), TensorSpec("ids", (None, 5), "int64"))


def test_an_image_takes_the_default_of_the_format_and_others_keep_none() -> None:
    assert artifact_layouts(INPUTS, ExportOptions(), "NHWC") == ("NHWC", None)
    assert artifact_layouts(INPUTS, ExportOptions(), None) == ("NCHW", None)


def test_options_go_before_the_default() -> None:
    assert artifact_layouts(INPUTS, ExportOptions(layouts={"picture": "NCHW"}), "NHWC") == ("NCHW", None)


@pytest.mark.parametrize("name", ["ids", "nothing"])
def test_a_layout_for_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(SpecRefused, match=f"layout NHWC for input '{name}'; expected one of the image inputs picture"):
        artifact_layouts(INPUTS, ExportOptions(layouts={name: "NHWC"}), None)


def test_permutation_and_its_inverse_move_the_channels_there_and_back() -> None:
    axes = permutations(INPUTS, ("NHWC", None))
    assert list(axes) == ["picture"]
    array = np.zeros((1, 3, 8, 6))
    moved = array.transpose(axes["picture"])
    assert moved.shape == (1, 8, 6, 3)
    assert moved.transpose(inverse(axes["picture"])).shape == array.shape
