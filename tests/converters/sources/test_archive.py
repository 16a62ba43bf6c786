from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from edgekit.errors import ModelRefused
from edgekit_converters.sources._archive import check_zip

KIND = "a model archive"


def make(path: Path, *names: str, content: bytes = b"12345678") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_a_plain_archive_passes_and_lists_its_members(tmp_path: Path) -> None:
    assert check_zip(make(tmp_path / "m.keras", "config.json", "a/b.bin"), expected=KIND) == ["config.json", "a/b.bin"]


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:\\out.txt"])
def test_a_member_outside_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelRefused, match="outside") as caught:
        check_zip(make(tmp_path / "m.keras", "config.json", name), expected=KIND)
    assert caught.value.exit_code == 3
    assert sorted(item.name for item in tmp_path.iterdir()) == ["m.keras"]


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelRefused, match=r"'config\.json' is a symbolic link"):
        check_zip(tmp_path / "m.keras", expected=KIND)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("weights", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(1 << 20))
    with pytest.raises(ModelRefused, match=r"68,157,440 bytes, a decompression bomb"):
        check_zip(tmp_path / "m.keras", expected=KIND)


def test_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        make(tmp_path / "m.keras", "config.json", "config.json")
    with pytest.raises(ModelRefused, match=r"'config\.json'.* twice"):
        check_zip(tmp_path / "m.keras", expected=KIND)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "m.keras", "a", "b", content=bytes(1000))
    # The directory entry of the second member, whose name ends the file's directory, claims more than there is.
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 20 : entry + 24] = (1900).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(ModelRefused, match="overlap"):
        check_zip(path, expected=KIND)


@pytest.mark.parametrize("keep", [0, 60, -1])
def test_a_truncated_archive_is_refused_with_its_size(tmp_path: Path, keep: int) -> None:
    path = make(tmp_path / "m.keras", "config.json")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelRefused, match=rf"m\.keras \({path.stat().st_size} bytes\) cannot be read"):
        check_zip(path, expected=KIND)
