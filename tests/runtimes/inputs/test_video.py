"""Video files: every frame in order, and where a damaged one ends."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit_runtimes.inputs.video import VideoFile

FRAMES = 60
SIZE = (160, 120)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An AVI and an MP4 whose frames grow brighter in red."""
    folder = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(0).integers(0, 60, (SIZE[1], SIZE[0], 3), np.uint8)
    found = {}
    for suffix, codec in ((".avi", "MJPG"), (".mp4", "mp4v")):
        path = folder / f"clip{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, SIZE)
        for number in range(FRAMES):
            frame = np.roll(noise, number, 1)
            frame[..., 2] = 4 * number
            writer.write(frame)
        writer.release()
        found[suffix] = path.read_bytes()
    return found


def write(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"clip{suffix}"
    path.write_bytes(data)
    return path


def read(path: Path) -> tuple[list[int], DataRefused | None]:
    """Brightness of red of each frame, and what ended the video early."""
    reds: list[int] = []
    with VideoFile(path) as video:
        try:
            for frame in video:
                assert frame.number == len(reds)
                reds.append(round(float(frame.picture[..., 0].mean())))
        except DataRefused as error:
            assert video.status.problem
            return reds, error
        assert video.status.frames == len(reds)
        assert video.status.state == "ended"
    return reds, None


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_every_frame_comes_in_order_and_as_rgb(clips: dict[str, bytes], tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, clips[suffix])
    with VideoFile(path) as video:
        assert (video.live, video.rate, video.name) == (False, 25.0, str(path))
    reds, error = read(path)
    assert error is None
    np.testing.assert_allclose(reds, [4 * number for number in range(FRAMES)], atol=4)


def test_a_video_damaged_half_way_gives_the_frames_before_and_names_the_frame(
    clips: dict[str, bytes], tmp_path: Path
) -> None:
    data = bytearray(clips[".avi"])
    for at in range(len(data) // 2 - 2000, len(data) // 2 + 2000):
        data[at] ^= 0x5A
    reds, error = read(write(tmp_path, ".avi", bytes(data)))
    assert 20 < len(reds) < 40
    np.testing.assert_allclose(reds, [4 * number for number in range(len(reds))], atol=4)
    assert f"is damaged at frame {len(reds)}" in str(error)


def test_a_video_that_was_cut_short_says_so(clips: dict[str, bytes], tmp_path: Path) -> None:
    data = clips[".avi"]
    reds, error = read(write(tmp_path, ".avi", data[: len(data) // 2]))
    assert 20 < len(reds) < 40
    assert f"was cut short at frame {len(reds)}" in str(error)
    assert "expected 60 frames" in str(error)


def test_an_mp4_with_its_index_in_front_that_was_cut_short_says_so(clips: dict[str, bytes], tmp_path: Path) -> None:
    data = with_index_in_front(clips[".mp4"])
    assert read(write(tmp_path, ".mp4", data))[1] is None
    reds, error = read(write(tmp_path, ".mp4", data[: len(data) * 2 // 3]))
    assert 10 < len(reds) < 55
    assert f"at frame {len(reds)}" in str(error)


def test_an_mp4_whose_last_frames_are_damaged_says_so(clips: dict[str, bytes], tmp_path: Path) -> None:
    """No later frame shows where the damage is: only the number of frames in the index does."""
    data = bytearray(clips[".mp4"])
    end = data.index(b"moov") - 4
    data[end * 3 // 4 : end] = bytes(end - end * 3 // 4)
    reds, error = read(write(tmp_path, ".mp4", bytes(data)))
    assert 20 < len(reds) < 57
    assert f"is damaged at frame {len(reds)}" in str(error)


def test_an_mp4_that_was_trimmed_without_encoding_it_anew_is_whole(clips: dict[str, bytes], tmp_path: Path) -> None:
    """As phones do: the index counts all frames, and an edit list shows the last two fifths of them."""
    reds, error = read(write(tmp_path, ".mp4", trimmed(clips[".mp4"], 36, FRAMES)))
    assert error is None
    assert len(reds) == FRAMES - 36


def test_an_mp4_that_lost_its_end_is_refused(clips: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="cannot be opened as a video"):
        VideoFile(write(tmp_path, ".mp4", clips[".mp4"][: len(clips[".mp4"]) // 2]))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"cannot be opened as a video \(12 bytes\)"):
        VideoFile(write(tmp_path, ".mp4", b"not a video\n"))
    with pytest.raises(DataRefused, match="is missing"):
        VideoFile(tmp_path / "none.mp4")


def test_rotation_noted_by_a_phone_is_applied(clips: dict[str, bytes], tmp_path: Path) -> None:
    data = bytearray(clips[".mp4"])
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: the matrix starts 40 bytes into the box's content
    assert struct.unpack_from(">i", data, matrix)[0] == 1 << 16
    struct.pack_into(">9i", data, matrix, 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    with VideoFile(write(tmp_path, ".mp4", bytes(data))) as video:
        assert next(iter(video)).picture.shape == (SIZE[0], SIZE[1], 3)


def test_nothing_is_printed_about_a_damaged_video(clips: dict[str, bytes], tmp_path: Path) -> None:
    data = bytearray(clips[".mp4"])
    for at in range(len(data) // 4, len(data) // 4 * 3, 701):
        data[at] ^= 0xFF
    damaged = write(tmp_path, ".mp4", bytes(data))
    code = (
        "import sys; from edgekit_runtimes.inputs.video import VideoFile\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        print(sum(1 for _ in VideoFile(path)))\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__)\n"
    )
    text = write(tmp_path, ".mkv", b"no video")
    done = subprocess.run([sys.executable, "-c", code, damaged, text], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "DataRefused"
    assert done.stderr == ""


def test_closing_ends_the_iteration(clips: dict[str, bytes], tmp_path: Path) -> None:
    video = VideoFile(write(tmp_path, ".avi", clips[".avi"]))
    frames = iter(video)
    next(frames)
    video.close()
    assert list(frames) == []


def with_index_in_front(data: bytes) -> bytes:
    """Move an MP4's ``moov`` before its ``mdat``, as for streaming, and shift the chunk offsets by its length."""
    boxes = {}
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        boxes[kind] = data[at : at + length]
        at += length
    moov = bytearray(boxes[b"moov"])
    table = moov.index(b"stco")
    (count,) = struct.unpack_from(">I", moov, table + 8)
    for entry in range(table + 12, table + 12 + 4 * count, 4):
        struct.pack_into(">I", moov, entry, struct.unpack_from(">I", moov, entry)[0] + len(moov))
    rest = b"".join(box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov"))
    return boxes[b"ftyp"] + bytes(moov) + rest


def trimmed(data: bytes, start: int, frames: int) -> bytes:
    """Give an MP4's only track an edit list that shows it from a frame on."""
    index = data.index(b"moov") - 4
    moov = bytearray(data[index:])
    scale = struct.unpack_from(">I", moov, moov.index(b"mvhd") + 4 + 12)[0]
    media = struct.unpack_from(">I", moov, moov.index(b"mdhd") + 4 + 12)[0]
    edits = struct.pack(">IIIiI", 0, 1, (frames - start) * scale // 25, start * media // 25, 1 << 16)
    box = struct.pack(">I4sI4s", 16 + len(edits), b"edts", 8 + len(edits), b"elst") + edits
    track = moov.index(b"trak") - 4
    if b"edts" in moov:
        old = moov.index(b"edts") - 4
        length = struct.unpack_from(">I", moov, old)[0]
        del moov[old : old + length]
        grown = len(box) - length
    else:
        grown = len(box)
    header = track + 8 + struct.unpack_from(">I", moov, track + 8)[0]
    moov[header:header] = box
    for at in (0, track):
        struct.pack_into(">I", moov, at, struct.unpack_from(">I", moov, at)[0] + grown)
    return data[:index] + bytes(moov)
