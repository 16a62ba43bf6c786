"""What SOURCE stands for, and what its entries are read as."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import DataRefused, UsageError
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks.picture import PictureFile
from edgekit_runtimes.bulk import files
from edgekit_runtimes.bulk.chunk import Chunk, Entry
from edgekit_runtimes.bulk.inputs import read
from edgekit_runtimes.bulk.source import Source
from tests.runtimes.bulk.conftest import KEYWORDS
from tests.runtimes.conftest import PERSON

TEXT = Spec(
    task="text-classification",
    inputs=(TensorSpec("input_ids", (1, 8), "int64"),),
    outputs=(TensorSpec("logits", (1, 2)),),
    text=TextEncoding(tokenizer="tokenizer.json"),
)


def loaded(spec: Spec, *words: str | Path, column: str | None = None, size: int = 512) -> list[tuple[str, Any, Any]]:
    """Name, value and hash of each input; errors as values. Entries go the way they go to another process."""
    found: list[tuple[str, Any, Any]] = []
    entries = tuple(Source(spec, tuple(map(str, words)), column, size).entries())
    for entry in Chunk.from_bytes(Chunk(entries).to_bytes()).entries:
        for one in read(entry, spec):
            try:
                value = one.item.load()
            except DataRefused as error:
                value = error.received
            found.append((one.item.name, value, one.sha256))
    return found


def write_table(target: Path, *, rows: int = 4, page: int = 1024, **columns: Sequence[Any]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), target, row_group_size=rows, write_batch_size=page)
    return target


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.jpg", "b/1.JPG", "a.jpg", "b.jpg", "b-c/3.png", "c/deep/4.jpg", "notes.txt", "b/mask.npy"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


def test_a_folder_is_walked_in_the_order_of_paths(tree: Path) -> None:
    expected = sorted(path for path in tree.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    assert [name for name, _, _ in loaded(PERSON, tree)] == [str(path) for path in expected]


def test_a_folder_is_listed_no_further_than_asked(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir

    def noting(path: str) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    first = next(files.walk(str(tree), (".jpg",)))
    assert isinstance(first, files.Found)
    assert first.path == str(tree / "a.jpg")
    assert listed == [str(tree)]


def test_a_uri_gives_the_same_files(tree: Path) -> None:
    by_uri = loaded(PERSON, f"file://{tree}")
    assert [(f"file://{name}", digest) for name, _, digest in loaded(PERSON, tree)] == [
        (name, digest) for name, _, digest in by_uri
    ]


def test_an_object_store_of_fsspec(tree: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(tree), "/bucket", recursive=True)
    try:
        found = loaded(PERSON, "memory://bucket/b")
        assert [name for name, _, _ in found] == ["memory://bucket/b/1.JPG", "memory://bucket/b/2.jpg"]
        assert found[1][1] == PictureFile(b"b/2.jpg", "memory://bucket/b/2.jpg")
        assert found[1][2] == sha256(b"b/2.jpg")
    finally:
        store.rm("/bucket", recursive=True)


def test_what_a_client_says_of_a_uri_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://user:secret@host/a.jpg?token=secret"
    listing = tmp_path / "list.txt"
    listing.write_text(uri)

    def failing(path: str) -> Any:
        if path != uri:
            return open(path, "rb")
        raise FileNotFoundError(uri)  # as fsspec has it

    monkeypatch.setattr(files, "open_binary", failing)
    monkeypatch.setattr(files, "stamp", lambda path: "")
    ((name, error, _),) = loaded(PERSON, listing)
    assert name == "http://user:***@host/a.jpg?token=***"
    assert error == f"{name} cannot be read: {name}"


def test_what_follows_a_question_mark_is_the_clients_or_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_by_fsspec", lambda root: (None, root))
    assert files.located("https://host/a.jpg?v=1") == (None, "https://host/a.jpg?v=1")
    filesystem, path = files.located("s3://bucket/a.jpg?region=eu-west-3")
    assert (filesystem.region, path) == ("eu-west-3", "bucket/a.jpg")


def test_a_list_of_paths(tree: Path) -> None:
    listing = tree / "list.txt"
    listing.write_text(f"{tree}/b/2.jpg\n\n{tree}/gone.jpg\n")
    (_, one, digest), (name, error, none) = loaded(PERSON, listing)
    assert (one.data, digest) == (b"b/2.jpg", sha256(b"b/2.jpg"))
    assert name == f"{tree}/gone.jpg"
    assert error.startswith(f"{tree}/gone.jpg cannot be read: No such file")
    assert none is None


def test_a_file_that_cannot_be_opened_is_an_input_that_failed(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table PAR1")
    (tmp_path / "b.jpg").write_bytes(b"photo")
    (name, error, none), (_, photo, _) = loaded(PERSON, tmp_path)
    assert name == str(tmp_path / "a.parquet")
    assert "a.parquet cannot be read: " in error
    assert none is None
    assert photo.data == b"photo"


def test_columns_of_paths_bytes_and_both(tree: Path) -> None:
    path, data = str(tree / "a.jpg"), b"encoded"
    table = write_table(tree / "t.parquet", path=[path, None], data=[data, data], number=[1, 2])
    (name, value, _), (missing, error, _) = loaded(PERSON, table, column="path")
    assert (name, value.data) == (path, b"a.jpg")
    assert (missing, error) == (f"{table} row 1", f"{table} row 1 is null")
    assert loaded(PERSON, table, column="data")[1] == (
        f"{table} row 1", PictureFile(data, f"{table} row 1"), sha256(data)
    )  # fmt: skip
    both = write_table(tree / "hf.parquet", image=[{"bytes": data, "path": None}, {"bytes": None, "path": path}])
    assert [value.data for _, value, _ in loaded(PERSON, both)] == [data, b"a.jpg"]


def test_rows_of_many_row_groups_keep_their_numbers(tmp_path: Path) -> None:
    texts = [f"sentence {number}" for number in range(11)]
    table = write_table(tmp_path / "t.parquet", text=texts, other=texts)
    found = loaded(TEXT, table, column="text", size=3)
    assert [value for _, value, _ in found] == texts
    assert [name for name, _, _ in found] == [f"{table} row {number}" for number in range(11)]
    assert found[10][2] == sha256(b"sentence 10")


def test_a_table_without_the_column_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", text=["a"], other=["b"])
    with pytest.raises(UsageError, match=r"columns text, other; .*\n  remedy: --column text"):
        loaded(TEXT, table)
    with pytest.raises(UsageError, match="no column 'x'"):
        loaded(TEXT, table, column="x")


def test_a_column_for_a_bundle_that_names_its_own_is_refused(tmp_path: Path) -> None:
    two = Spec("tensors", (TensorSpec("a", (1, 1)), TensorSpec("b", (1, 1))), (TensorSpec("y", (1, 1)),))
    table = write_table(tmp_path / "t.parquet", a=[[0.0]], b=[[0.0]], x=[[0.0]])
    assert len(loaded(two, table)) == 1
    with pytest.raises(UsageError, match=r"--column x for .*t\.parquet; expected none: the bundle names a, b"):
        loaded(two, table, column="x")


def test_texts_of_files_and_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"text": "x", "text_pair": "y"}\n{"no": 1}\n')
    found = loaded(TEXT, tmp_path, "a sentence")
    assert [value for _, value, _ in found[:3]] == ["one", "two", ("x", "y")]
    assert "b.jsonl line 2" in found[3][1]
    assert found[4] == ("a sentence", "a sentence", sha256(b"a sentence"))
    (first, *_) = loaded(TEXT, f"file://{tmp_path}/a.txt")
    assert first == (f"file://{tmp_path}/a.txt line 1", "one", sha256(b"one"))


def test_arrays_of_files_and_tables(tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).random((7, 49, 10, 1), np.float32)
    np.save(tmp_path / "a.npy", arrays)
    np.savez(tmp_path / "b.npz", whatever=arrays[:2])
    table = write_table(tmp_path / "c.parquet", spectrogram=[arrays[0].tolist()])
    found = loaded(KEYWORDS, tmp_path, size=3)
    assert [name.rpartition("/")[2] for name, _, _ in found] == [
        *(f"a.npy sample {number}" for number in range(7)), "b.npz sample 0", "b.npz sample 1", "c.parquet row 0"
    ]  # fmt: skip
    for (_, value, _), expected in zip(found, [*arrays, *arrays[:2]], strict=False):
        np.testing.assert_array_equal(value["spectrogram"], expected)
    np.testing.assert_array_equal(np.float32(found[-1][1]), arrays[0])
    assert found[0][2] == found[7][2] != found[1][2]
    assert table.exists()


def test_a_large_file_of_arrays_is_taken_apart(tmp_path: Path) -> None:
    arrays = np.arange(700 * 490, dtype=np.float32).reshape(700, 49, 10, 1)
    np.save(tmp_path / "a.npy", arrays)
    path = str(tmp_path / "a.npy")
    assert [entry.weight for entry in Source(KEYWORDS, (path,), size=300).entries()] == [300, 300, 100]
    found = loaded(KEYWORDS, path, size=300)
    assert [name for name, _, _ in found] == [f"{path} sample {number}" for number in range(700)]
    np.testing.assert_array_equal(found[650][1]["spectrogram"], arrays[650])


def test_a_table_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", text=["a"])
    (entry,) = Source(TEXT, (str(table),)).entries()
    stale = Entry(entry.kind, entry.name, entry.value, "0:0", entry.weight)
    (one,) = read(stale, TEXT)
    with pytest.raises(DataRefused, match="has changed since it was listed"):
        one.item.load()


def test_a_row_group_is_held_a_few_pages_at_a_time(tmp_path: Path) -> None:
    import pyarrow as pa

    draw = np.random.default_rng(0)
    photos = [draw.bytes(100_000) for _ in range(320)]
    table = write_table(tmp_path / "t.parquet", image=photos, rows=320, page=8)
    (entry, *others) = Source(PERSON, (str(table),), size=16).entries()
    before = pa.total_allocated_bytes()
    assert [one.item.load().data for one in read(entry, PERSON)] == photos[:16]
    assert pa.total_allocated_bytes() - before < sum(map(len, photos)) / 3
    for number in (18, 3, 4):  # forwards, back, on
        assert [one.item.load().data for one in read(others[number - 1], PERSON)] == photos[16 * number :][:16]


def test_a_row_group_that_is_damaged_fails_in_each_of_its_rows(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", text=[f"sentence {number}" * 50 for number in range(64)], rows=64)
    data = bytearray(table.read_bytes())
    data[8:200] = bytes(192)
    table.write_bytes(data)
    rows = [one for entry in Source(TEXT, (str(table),), size=8).entries() for one in read(entry, TEXT)]
    assert len(rows) == 64
    for one in rows:
        with pytest.raises(DataRefused, match=r"t\.parquet cannot be read: "):
            one.item.load()


def test_a_column_where_nothing_has_columns_is_refused(tree: Path) -> None:
    for word in (str(tree), str(tree / "a.jpg"), f"{tree}/*.jpg", f"file://{tree}/a.jpg"):
        with pytest.raises(UsageError, match=r"--column image for .*; expected an INPUT that ends in \.parquet"):
            Source(PERSON, (word,), "image").check_column()
    table = write_table(tree / "deep.parquet", image=[b"x"])
    for word in (str(tree), str(table), f"{tree}/*.parquet", f"file://{tree}"):
        Source(PERSON, (str(tree / "a.jpg"), word), "image").check_column()


@pytest.mark.parametrize(
    ("word", "error", "text"),
    [
        ("camera:0", UsageError, "camera:0 into a Parquet file"),
        ("rtsp://user:secret@127.0.0.1/x", UsageError, r"rtsp://user:\*\*\*@127.0.0.1/x into a Parquet file"),
        ("clip.mp4", UsageError, "the video clip.mp4"),
        ("gone.jpg", DataRefused, "gone.jpg does not exist"),
        ("gone/*.jpg", DataRefused, "no file matches"),
    ],
)
def test_what_has_no_end_or_is_not_there(word: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        list(Source(PERSON, (word,)).entries())


def test_the_number_of_photos_is_counted_without_opening_them(tree: Path) -> None:
    assert Source(PERSON, (str(tree),)).count() == 6
    write_table(tree / "t.parquet", path=["x"])
    assert Source(PERSON, (str(tree),)).count() is None
    assert Source(TEXT, (str(tree),)).count() is None


def test_values_are_hashed_by_content_not_by_order_of_names(tmp_path: Path) -> None:
    from edgekit_runtimes.bulk.inputs import _value_bytes

    assert _value_bytes({"b": 1, "a": "é"}) == json.dumps({"a": "é", "b": 1}, ensure_ascii=False).encode()
