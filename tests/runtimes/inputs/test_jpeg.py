"""Cutting JPEGs out of a stream of bytes, however it is chopped up."""

from __future__ import annotations

import pytest

from edgekit_runtimes.inputs.jpeg import Splitter, decoded

from .conftest import jpeg, number_in


def part(body: bytes, length: int | None = None) -> bytes:
    head = b"--b\r\nContent-Type: image/jpeg\r\n"
    if length is not None:
        head += f"Content-Length: {length}\r\n".encode()
    return head + b"\r\n" + body + b"\r\n"


def cut(splitter: Splitter, data: bytes, step: int) -> list[int]:
    """The numbers, to the nearest ten, of the pictures found when the data come in pieces."""
    found = []
    for at in range(0, len(data), step):
        for body in splitter.feed(data[at : at + step]):
            picture = decoded(body)
            assert picture is not None
            found.append(round(number_in(picture), -1))
    return found


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("length", [True, False])
def test_parts_are_found_however_the_stream_is_chopped_up(step: int, length: bool) -> None:
    bodies = [jpeg(number) for number in (10, 60, 110)]
    data = b"".join(part(body, len(body) if length else None) for body in bodies) + b"--b--\r\n"
    splitter = Splitter(b"--b")
    assert cut(splitter, data, step) == [10, 60, 110]
    assert splitter.skipped == 0


def test_a_part_with_a_length_is_given_before_the_next_begins() -> None:
    body = jpeg(10)
    assert Splitter(b"--b").feed(part(body, len(body)).rstrip()) == [body]


@pytest.mark.parametrize("step", [13, 1 << 20])
def test_damaged_parts_are_skipped_and_counted(step: int) -> None:
    whole = [jpeg(10), jpeg(60)]
    half = whole[0][: len(whole[0]) // 2]
    data = part(half, len(half)) + part(whole[0], 17) + part(b"no picture") + part(whole[1], 999999) + part(b"")
    splitter = Splitter(b"--b")
    assert cut(splitter, data + b"--b", step) == [10, 60]
    assert splitter.skipped == 2 + 1  # a part without a body is none either


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_jpegs_without_anything_between_them(step: int) -> None:
    splitter = Splitter()
    assert cut(splitter, b"rubbish" + jpeg(10) + b"\r\n" + jpeg(60) + jpeg(110), step) == [10, 60, 110]
    assert splitter.skipped == 0


def test_a_jpeg_that_was_cut_off_is_skipped_and_the_next_found() -> None:
    splitter = Splitter()
    whole = jpeg(10)
    assert cut(splitter, whole[: len(whole) * 3 // 4] + jpeg(60), 100) == [60]
    assert splitter.skipped == 1


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture() -> None:
    thumbnail = jpeg(200, 16, 16)
    body = jpeg(10)
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert Splitter().feed(body[:2] + exif + body[2:]) == [body[:2] + exif + body[2:]]


@pytest.mark.parametrize("boundary", [b"--b", None])
def test_memory_is_bounded_by_the_largest_part_allowed(boundary: bytes | None) -> None:
    splitter = Splitter(boundary, limit=10_000)
    start = part(jpeg(10)[:300])
    for _ in range(100):
        assert splitter.feed(start + b"x" * 1000) == [] or boundary is None
        start = b""
        assert len(splitter._buffer) <= 11_500
    assert splitter.skipped > 0
    assert cut(splitter, b"\r\n" + part(jpeg(60)) + b"--b", 500) == [60]


def test_a_picture_that_is_damaged_inside_does_not_decode() -> None:
    whole = jpeg(10)
    assert decoded(whole[: len(whole) // 2]) is None
    assert decoded(b"\xff\xd8\xff" + b"x" * 50 + b"\xff\xd9") is None
    assert decoded(b"") is None


def test_a_picture_of_absurd_size_is_not_decoded() -> None:
    bomb = bytearray(jpeg(10))
    frame = bomb.index(b"\xff\xc0")
    bomb[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert decoded(bytes(bomb)) is None
