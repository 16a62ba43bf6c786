from pathlib import Path

import numpy as np

from edgekit_converters.store import SampleStore, Stored, batches, stack


def sample(i: int, length: int = 3) -> Stored:
    return Stored(f"s{i}", {"x": np.full((1, length), i)}, {"odd/name": np.full((1, 2), -i)}, i)


def test_samples_come_back_as_often_as_wanted(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "store")
    for i in range(3):
        store.add(sample(i))
    for _ in range(2):
        assert [(s.name, s.truth, s.feeds["x"].tolist()) for s in store] == [(f"s{i}", i, [[i] * 3]) for i in range(3)]
    assert store[1].outputs["odd/name"].tolist() == [[-1, -1]]


def test_batches_hold_equal_shapes_in_order() -> None:
    samples = [sample(0), sample(1), sample(2), sample(3, 5), sample(4)]
    groups = [[s.name for s in group] for group in batches(samples, 2)]
    assert groups == [["s0", "s1"], ["s2"], ["s3"], ["s4"]]
    assert stack(s.feeds for s in samples[:2])["x"].tolist() == [[0] * 3, [1] * 3]
