import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.errors import DataRefused, InputRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit_converters.data import Dataset, open_dataset

SPEC = Spec(
    task="image-classification",
    inputs=(TensorSpec("image", (None, 8, 8, 3), layout="NHWC"),),
    outputs=(TensorSpec("scores", (None, 3)),),
    preprocess=Preprocess(),
    labels=("ant", "bee", "cat"),
)
TEXT = SPEC.replace(task="text-classification")


def photo(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((10, 12, 3), value, np.uint8))
    return path


def listed(data: Dataset) -> list[tuple[str, int | None]]:
    return [(item.name, item.label) for item in data]


def test_subfolders_are_labels_by_name(tmp_path: Path) -> None:
    for name in ("cat/1.png", "bee/1.jpg", "bee/2.PNG"):
        photo(tmp_path / name)
    (tmp_path / "bee" / "notes.txt").write_text("not a photo")
    assert listed(open_dataset(tmp_path, SPEC)) == [("bee/1.jpg", 1), ("bee/2.PNG", 1), ("cat/1.png", 2)]


def test_subfolders_without_label_names_count_up(tmp_path: Path) -> None:
    for name in ("x/1.png", "y/1.png"):
        photo(tmp_path / name)
    assert listed(open_dataset(tmp_path, SPEC.replace(labels=None))) == [("x/1.png", 0), ("y/1.png", 1)]


def test_a_subfolder_that_is_no_class_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "dog" / "1.png")
    with pytest.raises(DataRefused, match=r"label 'dog'; expected a class number 0\.\.2"):
        open_dataset(tmp_path, SPEC)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    photo(tmp_path / "b.png")
    photo(tmp_path / "a.png")
    assert listed(open_dataset(tmp_path, SPEC)) == [("a.png", None), ("b.png", None)]


def test_csv_is_relative_to_itself(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png")
    (tmp_path / "list.csv").write_text(
        "\ufefffile,label,author\nphotos/a.png,2,me\nphotos/a.png,bee,me\nphotos/a.png,,me\n"
    )
    data = open_dataset(tmp_path / "list.csv", SPEC)
    assert listed(data) == [("photos/a.png", 2), ("photos/a.png", 1), ("photos/a.png", None)]
    assert next(iter(data.encoded(task_for(SPEC)))).feeds["image"].shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.png\n", r"has columns \['path'\]; expected file"),
        ("file\nnone.png\n", r"names none\.png, which does not exist"),
        ("file,label\na.png,3\n", r"list\.csv line 2: label '3'; expected a class number 0\.\.2"),
        ("file\n", "holds no samples"),
    ],
)
def test_a_wrong_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataRefused, match=message):
        open_dataset(tmp_path / "list.csv", SPEC)


def test_arrays(tmp_path: Path) -> None:
    pictures = np.zeros((4, 9, 9, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=pictures, label=np.array([0, 1, 2, 0]))
    np.save(tmp_path / "a.npy", pictures)
    assert [item.label for item in open_dataset(tmp_path / "a.npz", SPEC)] == [0, 1, 2, 0]
    data = open_dataset(tmp_path / "a.npy", SPEC)
    assert [sample.feeds["image"].shape for sample in data.encoded(task_for(SPEC))] == [(1, 8, 8, 3)] * 4


def test_arrays_named_as_the_inputs_are_taken_and_others_left(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 8, 8, 3), np.uint8), words=np.array(["a", "b", "c"]), y=[1, 0])
    items = list(open_dataset(tmp_path / "a.npz", SPEC))
    assert [(item.value.shape, item.label) for item in items] == [((8, 8, 3), 1), ((8, 8, 3), 0)]


def test_arrays_with_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataRefused, match="expected arrays without pickles"):
        open_dataset(tmp_path / "a.npy", SPEC)


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros((3, 1)), b=np.zeros((4, 1)))
    with pytest.raises(DataRefused, match=r"a \[3, 1\], b \[4, 1\]; expected the same length"):
        open_dataset(tmp_path / "a.npz", SPEC)


def test_text_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "a.tsv").write_text("a\tgood film\t1\n")
    rows = [{"text": "x", "label": "cat"}, {"text": "x", "text_pair": "y"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.value for item in open_dataset(tmp_path / "a.txt", TEXT)] == ["one", "two"]
    assert [(i.value, i.label) for i in open_dataset(tmp_path / "a.tsv", TEXT)] == [("a\tgood film", 1)]
    assert [(i.value, i.label) for i in open_dataset(tmp_path / "a.jsonl", TEXT)] == [("x", 2), (("x", "y"), None)]


def test_a_wrong_json_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"sentence": "y"}\n')
    with pytest.raises(DataRefused, match=r"a\.jsonl line 2"):
        list(open_dataset(tmp_path / "a.jsonl", TEXT))


def test_a_function_by_name_is_called_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef samples():\n    for i in range(3):\n        yield np.full((4, 4, 3), i, np.uint8), i\n"
    )
    data = open_dataset(f"{tmp_path / 'mine.py'}:samples", SPEC)
    assert len(data) == 3
    assert [item.label for item in data] == [item.label for item in data] == [0, 1, 2]


def test_a_one_shot_generator_is_refused() -> None:
    def samples() -> Iterator[Any]:
        yield np.zeros((4, 4, 3), np.uint8)

    with pytest.raises(DataRefused, match="one-shot generator") as caught:
        open_dataset(samples(), SPEC)
    assert "pass the generator function itself" in str(caught.value)
    assert len(open_dataset(samples, SPEC)) == 1


@pytest.mark.parametrize("where", ["nothing_here", "no/such/folder"])
def test_nothing_there_is_refused(where: str) -> None:
    with pytest.raises(DataRefused, match="no such file or folder"):
        open_dataset(where, SPEC)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="holds no samples"):
        open_dataset(tmp_path, SPEC)


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(InputRefused, match="No module named 'no_such_module'"):
        open_dataset("no_such_module:samples", SPEC)


def test_split_keeps_every_sample_once() -> None:
    data = open_dataset([np.full((4, 4, 3), i, np.uint8) for i in range(11)], SPEC)
    kept, aside = data.split(5)
    assert (len(kept), len(aside)) == (8, 3)
    values = sorted(int(item.value[0, 0, 0]) for part in (kept, aside) for item in part)
    assert values == list(range(11))


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not a picture")
    with pytest.raises(DataRefused, match=r"b\.png"):
        list(open_dataset(tmp_path, SPEC).encoded(task_for(SPEC)))


def test_photos_in_json_lines_carry_what_the_task_takes_for_truth(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    lines = [{"file": "a.png", "label": [{"points": [[1, 2]]}]}, {"file": "b.png"}]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    first, second = open_dataset(path, Spec("keypoints"))
    assert (first.name, first.value) == ("a.png", tmp_path / "a.png")
    assert first.label[0].points.tolist() == [[1, 2]]
    assert second.label is None
    for line, message in (
        ('{"label": 1}', "line 1"),
        ("{", "line 1"),
        ('{"file": "c.png"}', "line 1 names c.png, which does not exist"),
        ('{"file": "a.png", "label": [3]}', "line 1, person 1"),
    ):
        path.write_text(line, encoding="utf-8")
        with pytest.raises(DataRefused, match=message):
            open_dataset(path, Spec("keypoints"))
