"""Unlabelled samples to learn from."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit_converters.compress.samples import Samples, changed_picture
from edgekit_converters.store import SampleStore, Stored

PHOTO = TensorSpec("photo", (None, 3, 16, 24), layout="NCHW")
IDS = TensorSpec("ids", (None, 5), "int64")
SPEC = Spec("image-classification", inputs=(PHOTO, IDS), preprocess=Preprocess())


@pytest.fixture
def store(tmp_path: Path) -> SampleStore:
    made = SampleStore(tmp_path)
    random = np.random.default_rng(0)
    for number in range(6):
        photo = random.random((1, 3, 16, 24), np.float32)
        made.add(Stored(str(number), {"photo": photo, "ids": np.full((1, 5), number, np.int64)}, {}))
    return made


def test_pictures_change_and_everything_else_stays(store: SampleStore) -> None:
    ((batch, originals),) = islice(Samples(store, SPEC).endless(6), 1)
    assert originals is batch
    assert sorted(batch["ids"][:, 0]) == list(range(6))
    for photo, ids in zip(batch["photo"], batch["ids"], strict=True):
        own = store[int(ids[0])].feeds["photo"][0]
        assert photo.shape == own.shape
        assert photo.dtype == np.float32
        assert not np.allclose(photo, own, atol=1e-3)


def test_the_same_seed_gives_the_same_batches(store: SampleStore) -> None:
    one, same, other = (
        [batch["photo"] for batch, _ in islice(Samples(store, SPEC).endless(4, seed), 3)] for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_every_sample_comes_once_a_round(store: SampleStore) -> None:
    seen = [int(ids) for batch, _ in islice(Samples(store, SPEC).endless(2), 3) for ids in batch["ids"][:, 0]]
    assert sorted(seen) == list(range(6))


def test_unchanged_batches_are_the_samples_in_order(store: SampleStore) -> None:
    batches = list(Samples(store, SPEC, [5, 1, 3]).batches(2))
    assert [batch["ids"][:, 0].tolist() for batch in batches] == [[5, 1], [3]]
    assert np.array_equal(batches[0]["photo"][0], store[5].feeds["photo"][0])


@pytest.fixture
def smaller(store: SampleStore, tmp_path: Path) -> SampleStore:
    """The photos at half their size, without the ids."""
    made = SampleStore(tmp_path / "smaller")
    for sample in store:
        photo = sample.feeds["photo"].reshape(1, 3, 8, 2, 12, 2).mean((3, 5))
        made.add(Stored(sample.name, {"photo": photo}, {}))
    return made


def test_a_network_for_smaller_photos_sees_the_originals_changed_photos_shrunk(
    store: SampleStore, smaller: SampleStore
) -> None:
    spec = Spec("image-classification", inputs=(TensorSpec("photo", (None, 3, 8, 12), layout="NCHW"),))
    samples = Samples(smaller, spec, [4, 0], originals=store)
    for own, wanted in islice(samples.endless(2), 3):
        assert own["photo"].shape == (2, 3, 8, 12)
        assert np.allclose(own["photo"], wanted["photo"].reshape(2, 3, 8, 2, 12, 2).mean((3, 5)), atol=1e-5)
    ((own, wanted),) = samples.pairs(2)
    assert np.array_equal(own["photo"], np.concatenate([smaller[4].feeds["photo"], smaller[0].feeds["photo"]]))
    assert np.array_equal(wanted["photo"], np.concatenate([store[4].feeds["photo"], store[0].feeds["photo"]]))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_changed_picture_stays_within_the_range_of_the_original(layout: str) -> None:
    shape = (1, 3, 16, 24) if layout == "NCHW" else (1, 16, 24, 3)
    tensor = TensorSpec("photo", shape, layout=layout)  # type: ignore[arg-type]
    photo = np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)
    for seed in range(8):
        changed = changed_picture(photo, tensor, np.random.default_rng(seed))
        assert changed.shape == shape
        assert photo.min() <= changed.min() <= changed.max() <= photo.max()
