"""A bundle that answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.bundle import Bundle
from edgekit.errors import BundleRefused, DataRefused
from edgekit.images import read_image
from edgekit.tasks.classification import Classification
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes.predictor import load


def test_predicts_from_a_path_as_from_a_picture(person_bundle: Bundle, photos: list[Path]) -> None:
    with load(person_bundle.path, threads=1) as predictor:
        from_path = predictor.predict(photos[0])
        from_picture = predictor.predict(read_image(photos[0]))
    assert isinstance(from_path, Classification)
    assert from_path == from_picture
    assert from_path.best.name in ("nobody", "person")
    assert sum(label.score for label in from_path.labels) == pytest.approx(1, abs=1e-3)


def test_a_batch_gives_what_single_photos_give(person_bundle: Bundle, photos: list[Path]) -> None:
    with load(person_bundle.path, threads=1) as predictor:
        together = predictor.predict_batch(photos)
        apart = [predictor.predict(photo) for photo in photos]
        assert predictor.predict_batch([]) == []
    assert len(together) == len(photos)
    for one, other in zip(together, apart, strict=True):
        assert isinstance(one, Classification)
        assert isinstance(other, Classification)
        assert one.best.name == other.best.name
        assert one.best.score == pytest.approx(other.best.score, abs=1e-4)


def test_an_artifact_with_a_fixed_batch_takes_a_batch(detector_bundle: Bundle) -> None:
    items = list(np.random.default_rng(1).random((2, 3, 352, 352), np.float32))
    with load(detector_bundle.path, threads=1) as predictor:
        results = predictor.predict_batch(items)
        alone = predictor.predict(items[1])
    assert isinstance(results[1], Arrays)
    assert isinstance(alone, Arrays)
    np.testing.assert_allclose(results[1].arrays["cells"], alone.arrays["cells"], atol=1e-5)


def test_one_prediction_is_for_one_sample(person_bundle: Bundle, detector_bundle: Bundle) -> None:
    with load(detector_bundle.path) as predictor, pytest.raises(DataRefused, match="input of 2 samples"):
        predictor.predict(np.zeros((2, 3, 352, 352), np.float32))


def test_the_python_interface_loads_a_bundle(person_bundle: Bundle, photos: list[Path]) -> None:
    with edgekit.load(person_bundle.path, recipe="int8") as predictor:
        assert predictor.artifact.recipe == "int8"
        assert isinstance(predictor.predict(photos[0]), Classification)


def test_another_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match=r"is not a bundle: it has no manifest\.json"):
        load(tmp_path)
