"""Photos as people have them, compared with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgekit.errors import DataRefused
from edgekit.image_headers import read_header
from edgekit.images import IMAGE_SUFFIXES, Reducer, Reduction, decode_image, read_image

HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
PHOTO = np.stack([COLUMNS * 4, ROWS * 5, (COLUMNS + ROWS) * 2], axis=-1).astype(np.uint8)
ORIENTATION = 0x112


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pillow(data: bytes) -> NDArray[np.uint8]:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGB"))


def read(folder: Path, data: bytes, name: str = "photo") -> NDArray[np.uint8]:
    path = folder / name
    path.write_bytes(data)
    return read_image(path)


def assert_like_pillow(folder: Path, data: bytes, tolerance: int = 0) -> None:
    ours, theirs = read(folder, data), pillow(data)
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape
    assert int(np.abs(ours.astype(int) - theirs).max()) <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_like_pillow(tmp_path, encoded(Image.fromarray(PHOTO), kind, exif=exif, **options))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_png_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PHOTO if mode == "P" else np.dstack([PHOTO, (COLUMNS * 4).astype(np.uint8)]))
    assert_like_pillow(tmp_path, encoded(image.convert(mode), "PNG"))


@pytest.mark.parametrize(("kind", "options"), [("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_alpha_is_dropped_not_blended(tmp_path: Path, kind: str, options: dict[str, bool]) -> None:
    rgba = Image.fromarray(np.dstack([PHOTO, (COLUMNS * 4).astype(np.uint8)]))
    np.testing.assert_array_equal(read(tmp_path, encoded(rgba, kind, **options)), PHOTO)


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"quality": 90}),
        ("RGB", "JPEG", {"quality": 90, "subsampling": 0}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("RGB", "BMP", {}),
        ("P", "BMP", {}),
        ("P", "GIF", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("CMYK", "TIFF", {}),
    ],
)
def test_decodes_what_pillow_decodes(tmp_path: Path, mode: str, kind: str, options: dict[str, Any]) -> None:
    assert_like_pillow(tmp_path, encoded(Image.fromarray(PHOTO).convert(mode), kind, **options))


def test_real_photos_decode_within_one_of_pillow(tmp_path: Path, realpack: Path) -> None:
    for path in sorted((realpack / "imagenet_like" / "eval").glob("*.jpg"))[:20]:
        assert_like_pillow(tmp_path, path.read_bytes(), tolerance=1)


def test_cmyk_jpeg_with_adobe_inversion_is_within_one_of_pillow(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert_like_pillow(tmp_path, data, tolerance=1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_the_high_byte(tmp_path: Path, suffix: str, channels: int) -> None:
    gray = (COLUMNS * 1000 + ROWS * 7).astype(np.uint16)
    image = gray if channels == 1 else np.dstack([gray // (1 + channel) for channel in range(channels)])
    data = cv2.imencode(suffix, image)[1].tobytes()
    high = image.reshape(HEIGHT, WIDTH, channels) >> 8
    expected = np.repeat(high, 3, axis=2) if channels == 1 else high[..., 2::-1]
    np.testing.assert_array_equal(read(tmp_path, data), expected)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first = Image.fromarray(PHOTO).quantize(64)
    data = encoded(first, "GIF", save_all=True, append_images=[first.rotate(180)])
    np.testing.assert_array_equal(read(tmp_path, data), np.asarray(first.convert("RGB")))


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PHOTO), "PNG")
    np.testing.assert_array_equal(read(tmp_path, data, "фото été 写真.jpg"), PHOTO)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.97])
def test_a_truncated_photo_is_refused(
    tmp_path: Path, kind: str, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    image = Image.fromarray(PHOTO).resize((400, 300))
    data = encoded(image, kind)
    cut = data[: int(len(data) * kept)]
    with pytest.raises(DataRefused, match=rf"photo .*truncated.*\({len(cut)} bytes\)"):
        read(tmp_path, cut)
    assert "OpenCV" not in capfd.readouterr().err


def test_a_jpeg_without_its_last_byte_is_refused_whatever_its_thumbnail_holds(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x9286] = b"\xff\xd9"  # an end marker inside the metadata, as an embedded thumbnail has
    data = encoded(Image.fromarray(PHOTO), "JPEG", exif=exif)
    assert data.count(b"\xff\xd9") == 2
    with pytest.raises(DataRefused, match="end-of-image"):
        read(tmp_path, data[:-1])


def test_a_text_file_named_jpg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"notes.jpg is not a picture \(12 bytes\)"):
        read(tmp_path, b"just a text\n", "notes.jpg")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"photo.jpg is empty \(0 bytes\)"):
        read(tmp_path, b"", "photo.jpg")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"none.jpg cannot be read: No such file"):
        read_image(tmp_path / "none.jpg")


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="60000 x 60000 = 3600000000 pixels; expected at most 178956970"):
        read(tmp_path, png_bomb(60000, 60000))


def test_the_limit_on_pixels_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(Image.fromarray(PHOTO), "PNG"))
    assert read_image(path, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataRefused, match="at most 3071 pixels"):
        read_image(path, max_pixels=HEIGHT * WIDTH - 1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_headers_give_the_size(kind: str, options: dict[str, Any]) -> None:
    header = read_header(encoded(Image.fromarray(PHOTO), kind, **options))
    assert (header.kind.upper(), header.width, header.height) == (kind, WIDTH, HEIGHT)


def by(factor: Reduction) -> Reducer:
    return lambda height, width: factor


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"quality": 90}),
        ("RGB", {"quality": 90, "subsampling": 0}),
        ("RGB", {"progressive": True}),
        ("L", {}),
        ("CMYK", {"quality": 95}),
    ],
)
def test_a_reduced_jpeg_is_the_mean_of_its_blocks(factor: Reduction, mode: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    data = encoded(image, "JPEG", **options)
    whole = decode_image(data, "photo").astype(float)
    reduced = decode_image(data, "photo", reducer=by(factor))
    blocks = whole.reshape(HEIGHT // factor, factor, WIDTH // factor, factor, 3).mean(axis=(1, 3))
    assert reduced.shape == blocks.shape
    assert np.abs(reduced - blocks).mean() <= 1.5


@pytest.mark.parametrize(("factor", "size"), [(2, (23, 32)), (4, (12, 16)), (8, (6, 8))])
def test_sizes_that_do_not_divide_are_rounded_up(factor: Reduction, size: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(PHOTO[:45, :63]), "JPEG")
    assert decode_image(data, "photo", reducer=by(factor)).shape[:2] == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(PHOTO)
    asked: list[tuple[int, int]] = []

    def ask(height: int, width: int) -> Reduction:
        asked.append((height, width))
        return 2

    turned = decode_image(encoded(image, "JPEG", exif=exif), "photo", reducer=ask)
    lying = Image.fromarray(decode_image(encoded(image, "JPEG"), "photo", reducer=by(2)))
    lying.getexif()[ORIENTATION] = orientation
    assert asked == [(HEIGHT, WIDTH)]
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(lying)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_only_jpegs_are_reduced(kind: str) -> None:
    def ask(height: int, width: int) -> Reduction:
        raise AssertionError(f"asked about {height} x {width}")

    data = encoded(Image.fromarray(PHOTO), kind)
    np.testing.assert_array_equal(decode_image(data, "photo", reducer=ask), decode_image(data, "photo"))


def test_a_reduction_by_one_is_the_whole_photo(realpack: Path) -> None:
    path = min((realpack / "coco").glob("*.jpg"))
    np.testing.assert_array_equal(read_image(path, reducer=by(1)), read_image(path))


def test_what_is_refused_whole_is_refused_reduced() -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG")
    with pytest.raises(DataRefused, match=r"photo .*truncated"):
        decode_image(data[:-100], "photo", reducer=by(8))
    with pytest.raises(DataRefused, match="64 x 48 = 3072 pixels; expected at most 100"):
        decode_image(data, "photo", max_pixels=100, reducer=by(8))
    codes = data.index(b"\xff\xc4") + 5  # how many Huffman codes there are of each length
    damaged = data[:codes] + b"\xff" * 16 + data[codes + 16 :]
    with pytest.raises(DataRefused, match="cannot be decoded: a damaged"):
        decode_image(damaged, "photo", reducer=by(8))


def test_suffixes_are_lower_case_and_sorted() -> None:
    assert list(IMAGE_SUFFIXES) == sorted(suffix.lower() for suffix in IMAGE_SUFFIXES)


def test_webp_is_refused_where_opencv_would_leave_it_unrotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.webp"
    Image.new("RGB", (8, 4)).save(path)
    assert read_image(path).shape == (4, 8, 3)
    monkeypatch.setattr(cv2, "__version__", "4.11.0")
    with pytest.raises(DataRefused, match=r"photo\.webp is a WebP photo, which OpenCV 4\.11\.0 does not turn upright"):
        read_image(path)
