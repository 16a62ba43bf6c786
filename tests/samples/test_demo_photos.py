"""The photos of the demo: real, disjoint, the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.images import read_image
from samples.demo import photos
from samples.demo.run import PHOTOS


def test_calibration_and_parity_share_no_photo() -> None:
    # The two motorcycle photos are one scene: both count as one photo.
    scenes = [{name.replace("_left", "").replace("_right", "") for name in names} for names in SETS]
    assert not scenes[0] & scenes[1]


SETS = (photos.CALIBRATION, photos.PARITY)


def test_calibration_yields_what_its_docstring_says() -> None:
    crops = list(photos.calibration())
    assert len(crops) == 96
    assert len(photos.CALIBRATION) == 12
    for crop in crops:
        assert crop.dtype == np.uint8
        assert crop.shape[0] == crop.shape[1] >= 0.7 * 300
        assert crop.shape[2] == 3


def test_parity_yields_60_crops_that_differ() -> None:
    crops = list(photos.parity())
    assert len(crops) == 60
    assert len({crop.tobytes() for crop in crops}) == 60


def test_crops_are_the_same_each_time() -> None:
    first, second = (list(photos.crops(photos.PARITY[:1], 3, seed=5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = next(photos.crops(photos.PARITY[:1], 1, seed=6))
    assert not np.array_equal(first[0], other)


def test_every_other_crop_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3))
    monkeypatch.setattr(photos, "read_image", lambda _: ramp)
    straight, mirrored = photos.crops(photos.PARITY[:1], 2, seed=1)
    assert int(straight[0, 0, 0]) < int(straight[0, -1, 0])
    assert int(mirrored[0, 0, 0]) > int(mirrored[0, -1, 0])


def test_a_photo_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(FileNotFoundError, match=r"edgekit-ai\[demo\]"):
        photos.locate("skimage/no_such_photo.png")


def test_class_names_are_unique_and_in_order() -> None:
    names = photos.class_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[285], names[657], names[967]) == ("tench", "Egyptian cat", "missile", "espresso")
    assert names[134] != names[517]  # both are a crane


def test_write_gives_the_photos_that_the_demo_draws(tmp_path: Path) -> None:
    photos.write(tmp_path)
    written = sorted((tmp_path / "photos").iterdir())
    assert {path.stem for path in written} == set(PHOTOS)
    assert all(read_image(path).shape[2] == 3 for path in written)
    assert len((tmp_path / "imagenet-labels.txt").read_text(encoding="utf-8").splitlines()) == 1000
