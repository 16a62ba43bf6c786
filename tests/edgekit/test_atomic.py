import errno
import os
from pathlib import Path

import pytest

from edgekit import atomic
from edgekit.atomic import atomic_file, atomic_folder, remove_leftovers
from edgekit.errors import EnvironmentFault


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_of_one_file_is_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "a[1].txt", tmp_path / "a[1].b.txt"
    with atomic_file(path) as temporary, atomic_file(other) as others:
        remove_leftovers(path)
        assert not temporary.exists()
        assert others.exists()
        temporary.touch()


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
        assert os.listdir(path) == ["old.txt"]
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(path) as temporary:
        (temporary / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_failed_second_rename_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if Path(target) == path and Path(source).suffix == ".tmp":
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(EnvironmentFault), atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_full_disk_is_an_environment_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(EnvironmentFault, match="No space left on device") as caught, atomic_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.exit_code == 5
    assert path.read_text() == "old"


@pytest.mark.parametrize("inside", ["file/out.json", "file/deeper/out.json", "/proc/nowhere/out.json"])
def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("here already", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="cannot write"), atomic_file(tmp_path / inside):
        pass
    assert (tmp_path / "file").read_text(encoding="utf-8") == "here already"
