"""What a compressed model says of the photos that its original took."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgekit_converters.sources import InputHint
from edgekit_converters.sources._original_size import MEMBER, append_size, at_own_size, read_size


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", "{}")
    return path


def test_what_was_written_is_read(archive: Path) -> None:
    assert read_size(archive) is None
    append_size(archive, (224, 192))
    assert read_size(archive) == (224, 192)


@pytest.mark.parametrize("text", ["", "224", "0x5", "-1x5", "axb", "1" * 30 + "x1", "5x5x5"])
def test_what_is_no_size_says_nothing(text: str, archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as made:
        made.writestr(MEMBER, text)
    assert read_size(archive) is None


def test_a_damaged_size_says_nothing(archive: Path) -> None:
    append_size(archive, (224, 192))
    archive.write_bytes(archive.read_bytes().replace(b"224x192", b"225x192"))
    assert read_size(archive) is None


@pytest.mark.parametrize(
    ("hint", "shape", "found"),
    [
        ((1, 3, 32, 32), (None, 3, 16, 16), (1, 3, 16, 16)),
        ((1, 32, 32, 3), (None, 16, 16, 3), (1, 16, 16, 3)),
        ((1, 3, 24, 24), (None, 3, 16, 16), (1, 3, 24, 24)),
        ((32, 32), (None, 3, 16, 16), (32, 32)),
    ],
)
def test_a_hint_for_the_original_becomes_one_for_the_file(
    hint: tuple[int, ...], shape: tuple[int | None, ...], found: tuple[int, ...]
) -> None:
    assert [one.shape for one in at_own_size([InputHint(hint)], shape, (32, 32))] == [found]
    assert at_own_size([InputHint(hint)], shape, None) == (InputHint(hint),)
