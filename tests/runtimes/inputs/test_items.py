"""Words from the command line become items."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit.spec import Spec, TensorSpec
from edgekit_runtimes.inputs.items import Item, items_for

PHOTOS = Spec(task="image-classification")
TEXT = Spec(task="text-classification")
ONE = Spec(task="tensors", inputs=(TensorSpec("x", (None, 2)),))
TWO = Spec(task="tensors", inputs=(TensorSpec("x", (None, 2)), TensorSpec("y", (None, 1))))


def listed(spec: Spec, *words: str | Path) -> list[Item]:
    return list(items_for(spec, [str(word) for word in words]))


def test_folders_are_searched_in_order_whatever_the_case_of_the_suffix(tmp_path: Path, photos: list[Path]) -> None:
    for name in ("b.JPG", "a.jpeg", "sub/deep/c.png", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos[0], tmp_path / name)
    items = listed(PHOTOS, tmp_path)
    assert [str(item.inside) for item in items] == ["a.jpeg", "b.JPG", "sub/deep/c.png"]
    assert [item.load() for item in items] == [tmp_path / "a.jpeg", tmp_path / "b.JPG", tmp_path / "sub/deep/c.png"]


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    (item,) = listed(PHOTOS, tmp_path)
    with pytest.raises(DataRefused, match="holds no photos"):
        item.load()


def test_sentences_and_files_of_sentences(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    (tmp_path / "b.tsv").write_text("three\t1\n")
    (tmp_path / "c.jsonl").write_text('{"text": "four"}\n{"text": "five", "text_pair": "six"}\n{"label": 1}\n')
    items = listed(TEXT, "a word. with dots", *(tmp_path / name for name in ("a.txt", "b.tsv", "c.jsonl")))
    assert [item.load() for item in items[:-1]] == [
        "a word. with dots",
        "one",
        " two ",
        "three",
        "four",
        ("five", "six"),
    ]
    assert items[2].name == f"{tmp_path / 'a.txt'} line 3"
    with pytest.raises(DataRefused, match=r"c\.jsonl line 3"):
        items[-1].load()


def test_text_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(DataRefused, match=r"a\.txt cannot be read"):
        listed(TEXT, tmp_path / "a.txt")[-1].load()


def test_arrays_give_one_item_a_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 2)), y=np.ones((2, 1)), label=np.zeros(5))
    items = listed(ONE, tmp_path / "a.npy")
    assert [item.load()["x"].tolist() for item in items] == [[0, 1], [2, 3], [4, 5]]
    both = listed(TWO, tmp_path / "b.npz")
    assert [sorted(item.load()) for item in both] == [["x", "y"]] * 2


def test_arrays_that_do_not_fit_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", x=np.zeros((2, 2)), y=np.ones((3, 1)))
    np.savez(tmp_path / "less.npz", x=np.zeros((2, 2)), z=np.ones((3, 1)))
    np.save(tmp_path / "object.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npz").write_text("not arrays")
    for name, message in (
        ("short.npz", "the same number of samples"),
        ("less.npz", "expected one named 'y'"),
        ("object.npy", "cannot be read: .*allow_pickle"),
        ("text.npz", "cannot be read"),
        ("none.npz", "cannot be read: .*No such file"),
    ):
        (item,) = listed(TWO, tmp_path / name)
        with pytest.raises(DataRefused, match=message):
            item.load()


def test_label_maps_in_a_folder_of_photos_are_no_inputs(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).write_bytes(b"")
    for task, expected in (("semantic-segmentation", ["a.png"]), ("image-classification", ["a.png", "a_mask.png"])):
        found = [Path(item.name).name for item in listed(Spec(task), tmp_path)]
        assert found == expected
