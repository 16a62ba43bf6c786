"""Cutting inputs into chunks."""

from __future__ import annotations

import os

from edgekit_runtimes.bulk.chunk import Chunk, Entry, chunks


def entries(count: int) -> list[Entry]:
    return [Entry("file", f"photos/{number:05}.jpg", f"photos/{number:05}.jpg", "1:2") for number in range(count)]


def test_chunks_hold_all_inputs_in_order_and_none_is_large() -> None:
    found = list(chunks(iter(entries(5000)), 64))
    assert [entry for chunk in found for entry in chunk.entries] == entries(5000)
    assert all(32 <= chunk.weight <= 128 for chunk in found[:-1])
    assert 5000 / len(found) < 100


def test_a_new_input_changes_the_chunks_around_it_alone() -> None:
    before = {chunk.digest for chunk in chunks(iter(entries(5000)), 64)}
    more = sorted([*entries(5000), Entry("file", "photos/00100a.jpg")], key=lambda entry: entry.name)
    after = {chunk.digest for chunk in chunks(iter(more), 64)}
    assert 1 <= len(after - before) <= 4


def test_a_changed_file_changes_its_chunk() -> None:
    one, other = Entry("file", "a", "a", "1:2"), Entry("file", "a", "a", "1:3")
    assert Chunk((one,)).digest != Chunk((other,)).digest


def test_names_that_are_no_unicode_survive_the_way() -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    chunk = Chunk(
        (Entry("file", name, name), Entry("value", "text", "été"), Entry("rows", "t", ["t", 0, 0, 5, 9, ["c"]]))
    )
    assert Chunk.from_bytes(chunk.to_bytes()).entries == chunk.entries


def test_rows_and_samples_are_told_apart() -> None:
    rows = Entry("rows", "t.parquet", ["t.parquet", 1, 3, 5, 100, ["c"]], "s", 2)
    samples = Entry("arrays", "a.npy", ["a.npy", 4, 6], "s", 2)
    names = [entry.name for entry in Chunk((rows, samples, Entry("file", "b"))).singles()]
    assert names == ["t.parquet row 103", "t.parquet row 104", "a.npy sample 4", "a.npy sample 5", "b"]
