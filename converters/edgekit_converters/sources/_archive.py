"""Check a zip archive before a framework opens it: paths, links, bombs, damage."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from edgekit.errors import ModelRefused
from edgekit_converters.sources._files import damaged

# Weights hardly compress; a member that grows a hundredfold past this size was made to fill memory or disk.
BOMB_FLOOR_BYTES = 64 << 20
BOMB_RATIO = 100


def check_zip(path: Path, *, expected: str) -> list[str]:
    """Look at the directory of a zip archive; nothing is unpacked.

    Args:
        path: The archive.
        expected: What it should be, for the message.

    Returns:
        The names of its members.

    Raises:
        ModelRefused: It is no complete zip archive; a member's path leaves the archive, is a link, encrypted or
            twice there; or it declares far more bytes than it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise damaged(path, error, expected=expected) from error
    if not members:
        raise damaged(path, "the archive is empty", expected=expected)
    for member in members:
        problem = _problem(member)
        if problem:
            raise ModelRefused(
                f"{path.name}: member {member.filename!r} {problem}",
                expected=expected,
                remedy="do not use this file: no framework writes such an archive",
            )
    names = [member.filename for member in members]
    twice = {name for name in names if names.count(name) > 1}
    stored = sum(member.compress_size for member in members)
    if twice or stored > path.stat().st_size:
        what = f"holds {sorted(twice)} twice" if twice else "has members that overlap"
        raise ModelRefused(f"{path.name} {what}", expected=expected, remedy="do not use this file")
    return names


def _problem(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or (len(name) > 1 and name[1] == ":"):
        return "would be written outside of the archive's folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > BOMB_FLOOR_BYTES and member.file_size > BOMB_RATIO * max(member.compress_size, 1):
        return f"unpacks from {member.compress_size:,} to {member.file_size:,} bytes, a decompression bomb"
    return None
