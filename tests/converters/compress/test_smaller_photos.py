"""Smaller photos as a way to fewer MACs, from the choice to the artifact that is judged against the original."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.errors import UsageError
from edgekit.presets import preset
from edgekit_converters.compress.compressor import compress
from edgekit_converters.compress.record import Record
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from tests.converters.compress.conftest import TINY, request

AT_32 = SourceOptions(inputs=(InputHint((1, 3, 32, 32)),))


@pytest.fixture(scope="module")
def shrunk(colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """The tiny network for photos of 16 x 16, a quarter of its MACs."""
    output = tmp_path_factory.mktemp("shrunk") / "shrunk.pt2"
    asked = request(colour_photos[0].parent, output, target=0.26, steps=6, resolutions=((16, 16),))
    record, stages = compress(asked)
    assert any("distance at 26 % of the MACs, by the size of the photos: as they are" in note for note in stages.notes)
    return output, record


def test_smaller_photos_are_taken_where_they_change_fewer_answers(shrunk: tuple[Path, Record]) -> None:
    record = shrunk[1]
    assert record.photo == ((32, 32), (16, 16))
    assert [step.kind for step in record.steps] == ["resize", "recover"]
    assert 0.24 < record.macs[1] / record.macs[0] <= 0.26
    assert record.parameters[0] == record.parameters[1]
    assert record.steps[-1].agreement == 1.0
    with open_source(shrunk[0]) as source:
        assert source.inputs[0].shape == (None, 3, 16, 16)
        assert source.original_size == (32, 32)


def test_channels_go_where_smaller_photos_do_not_save_enough(colour_photos: list[Path], tmp_path: Path) -> None:
    asked = request(colour_photos[0].parent, tmp_path / "small.pt2", target=0.5, steps=0, resolutions=((28, 28),))
    record, _ = compress(asked)
    kinds = [step.kind for step in record.steps]
    assert kinds in (["prune"], ["resize", "prune"])
    assert record.macs[1] <= 0.5 * record.macs[0]


def test_sizes_are_found_by_themselves_unless_they_are_to_stay(colour_photos: list[Path], tmp_path: Path) -> None:
    for own, expected in ((True, 0), (False, 1)):
        asked = request(colour_photos[0].parent, tmp_path / "x.pt2", target=0.6, steps=0, own_resolution=own)
        _, stages = compress(asked)
        told = [note for note in stages.notes if "by the size of the photos" in note]
        assert len(told) == expected
    assert "as they are" in told[0]
    assert "of 28x28" in told[0]
    assert "of 24x24" in told[0]
    assert "of 20x20" not in told[0]


def test_artifacts_for_smaller_photos_are_judged_against_the_original_with_its_own(
    shrunk: tuple[Path, Record], colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"to": ("onnx",), "preset": "unit", "evaluation": colour_photos[0].parent}
    judged = edgekit.convert(shrunk[0], tmp_path / "judged.bundle", original=TINY, **arguments)
    parity = judged.artifacts[0].parity
    assert 1e-4 < parity.worst.relative_l2 < 0.5
    assert judged.artifacts[0].degraded is None
    golden, answers = judged.golden()
    assert golden["input"].shape[2:] == (16, 16)
    bundle = edgekit.convert(TINY, tmp_path / "whole.bundle", input_shapes=["1,3,32,32"], **arguments)
    whole, wanted = bundle.golden()
    assert whole["input"].shape[2:] == (32, 32)
    assert np.allclose(wanted["output"], answers["output"], atol=1e-5)


def test_the_words_for_the_original_hold_for_the_smaller_one(
    shrunk: tuple[Path, Record], colour_photos: list[Path], tmp_path: Path
) -> None:
    said = preset("imagenet").replace(task="image-classification")
    arguments: dict[str, Any] = {"to": ("onnx",), "spec": said, "evaluation": colour_photos[0].parent}
    bundle = edgekit.convert(shrunk[0], tmp_path / "own.bundle", **arguments)
    assert bundle.spec.preprocess is not None
    assert bundle.spec.preprocess.size == (128, 128)  # 256 for photos of 32 is 128 for photos of 16
    assert any("photos of 16x16 for a network made for 32x32" in note for note in bundle.manifest.notes)


def test_answers_at_another_size_mean_the_same_only_of_classifiers(shrunk: tuple[Path, Record], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--original for pictures of 32x32, the model for 16x16"):
        edgekit.convert(shrunk[0], tmp_path / "b", to=("onnx",), original=TINY, preset="tensors")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"goal": "size", "target": 1e4}, "--resolution with --target-size"),
        ({"own_resolution": True}, "--own-resolution with --resolution"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        request(tmp_path, tmp_path / "x.pt2", resolutions=((16, 16),), **changed)
