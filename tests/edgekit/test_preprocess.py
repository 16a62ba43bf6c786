from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import SpecRefused
from edgekit.images import read_image
from edgekit.preprocess import encode_image, normalise, place, reduction
from edgekit.presets import PRESETS, preset
from edgekit.spec import Interpolation, Preprocess, TensorSpec

NHWC = TensorSpec("x", (None, 224, 224, 3), layout="NHWC")
NCHW = TensorSpec("x", (None, 3, 224, 224), layout="NCHW")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def photo(height: int = 300, width: int = 400) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def torchvision_eval(picture: Image.Image, crop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Resize(256) and CenterCrop as torchvision documents them: truncated long side, rounded offset."""
    width, height = picture.size
    short = 256
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    return np.asarray(resized.crop((left, top, left + crop, top + crop))) / 255.0


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (299, 299), (231, 517)])
def test_imagenet_preset_equals_torchvision(size: tuple[int, int]) -> None:
    how = preset("imagenet").preprocess
    assert how is not None
    picture = photo(*size)
    expected = (torchvision_eval(Image.fromarray(picture), 224) - MEAN) / STD
    got = encode_image(picture, NCHW, how)
    assert got.shape == (1, 3, 224, 224)
    assert got.dtype.name == "float32"
    # One level of 255 on a rounding tie, in units of the smallest standard deviation.
    assert np.abs(got[0].transpose(1, 2, 0) - expected).max() <= 1.01 / 255 / 0.224
    assert (np.abs(got[0].transpose(1, 2, 0) - expected) > 1e-5).mean() < 0.02


def test_layouts_hold_the_same_values() -> None:
    how = Preprocess(scale=1 / 255)
    nhwc, nchw = encode_image(photo(), NHWC, how), encode_image(photo(), NCHW, how)
    assert np.array_equal(nhwc.transpose(0, 3, 1, 2), nchw)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("unit", 0.0, 1.0), ("minus-one-one", -1.0, 1.0), ("raw", 0.0, 255.0)]
)
def test_presets_give_their_range(name: str, low: float, high: float) -> None:
    how = preset(name).preprocess
    assert how is not None
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[:112] = 255
    values = encode_image(picture, NHWC, how)
    assert values.min() == pytest.approx(low, abs=1e-6)
    assert values.max() == pytest.approx(high, abs=1e-6)


def test_every_preset_says_what_it_is() -> None:
    assert all(text for text, _ in PRESETS.values())


def test_bgr_reverses_channels() -> None:
    plain, bgr = (encode_image(photo(), NHWC, Preprocess(color=color)) for color in ("rgb", "bgr"))
    assert np.array_equal(plain[..., ::-1], bgr)


def test_gray_equals_pillow() -> None:
    tensor = TensorSpec("x", (None, 300, 400, 1), layout="NHWC")
    got = encode_image(photo(), tensor, Preprocess(color="gray"))
    assert np.array_equal(got[0, ..., 0], np.asarray(Image.fromarray(photo()).convert("L"), np.float32))


def test_letterbox_keeps_the_aspect_ratio_and_says_where_the_photo_is() -> None:
    pixels, placement = place(np.full((100, 200, 3), 255, np.uint8), NHWC, Preprocess("letterbox"))
    assert placement.scale == (1.12, 1.12)
    assert placement.offset == (56, 0)
    assert (pixels[:56] == 114).all()
    assert (pixels[56:168] == 255).all()
    assert (pixels[168:] == 114).all()


def test_a_photo_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecRefused, match="crop = true"):
        encode_image(photo(), NHWC, Preprocess("short-side", (256, 256)))


def test_integer_input_keeps_pixels() -> None:
    tensor = TensorSpec("x", (1, 300, 400, 3), "uint8", "NHWC")
    assert np.array_equal(encode_image(photo(), tensor, Preprocess())[0], photo())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,), (0.2, 0.3, 0.4)), ((0.1,), (0.7,)), ((127.0,), (128.0,))],
)
def test_scaled_pixels_are_the_formulas_to_the_bit(
    channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    mean, std = mean[:channels], std[:channels]
    how = Preprocess(scale=1 / 255, mean=mean, std=std)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, channels), np.uint8)
    got = normalise(pixels[::-1], TensorSpec("image", (1, 40, 30, channels), layout="NHWC"), how)
    want = (pixels[::-1] * np.float32(1 / 255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("size", "by"),
    [
        ((3000, 4000), 4),
        ((3584, 3584), 8),
        ((3576, 3576), 4),
        ((896, 896), 2),
        ((894, 896), 1),
        ((224, 224), 1),
        ((100, 4000), 1),
    ],
)
def test_a_reduced_jpeg_stays_twice_as_large_as_the_input(size: tuple[int, int], by: int) -> None:
    assert reduction(size, NHWC, Preprocess()) == by
    assert reduction(size[::-1], NHWC, Preprocess()) == by
    assert reduction(size, NCHW, Preprocess(interpolation="lanczos")) == by


@pytest.mark.parametrize(
    "how",
    [
        Preprocess("none"),
        Preprocess("none", crop=True),
        Preprocess(antialias=False),
        Preprocess(interpolation="nearest"),
        Preprocess(interpolation="area"),
        Preprocess(size=(2000, 2000), crop=True),
    ],
)
def test_what_a_reduction_would_change_is_never_reduced(how: Preprocess) -> None:
    assert reduction((4000, 4000), NHWC, how) == 1


def test_a_photo_that_exif_may_turn_is_reduced_as_both_ways_allow() -> None:
    tall = TensorSpec("x", (1, 448, 100, 3), layout="NHWC")
    assert reduction((3584, 800), tall, Preprocess()) == reduction((800, 3584), tall, Preprocess()) == 1
    assert reduction((3584, 3584), tall, Preprocess()) == 4


def test_a_reduction_never_changes_the_size_that_is_resized_to() -> None:
    how, tensor = Preprocess("short-side", crop=True), TensorSpec("x", (1, 16, 16, 3), layout="NHWC")
    # 16 * 477 / 320 = 23.85 and 16 * 239 / 160 = 23.9, but 16 * 479 / 320 = 23.95 and 16 * 240 / 160 = 24.
    assert reduction((320, 477), tensor, how) == 2
    assert reduction((320, 479), tensor, how) == 1


def test_sides_that_a_reduction_rounds_up_too_much_are_not_reduced() -> None:
    assert reduction((900, 900), NHWC, Preprocess()) == 2
    assert reduction((900, 899), NHWC, Preprocess()) == 1
    assert reduction((3600, 3595), NHWC, Preprocess()) == 4


@pytest.mark.parametrize(("side", "by"), [(96, 2), (48, 4), (24, 8)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_reduced_real_photos_give_nearly_the_same_pixels(
    realpack: Path, side: int, by: int, interpolation: Interpolation
) -> None:
    tensor, how = TensorSpec("x", (1, side, side, 3), layout="NHWC"), Preprocess(interpolation=interpolation)
    means, most = [], 0
    for path in sorted((realpack / "coco").glob("*.jpg")):
        whole = read_image(path)
        if reduction((whole.shape[0], whole.shape[1]), tensor, how) != by:
            continue
        reduced = read_image(path, reducer=lambda height, width: reduction((height, width), tensor, how))
        apart = np.abs(place(whole, tensor, how)[0].astype(int) - place(reduced, tensor, how)[0])
        means.append(float(apart.mean()))
        most = max(most, int(apart.max()))
        if len(means) == 8:
            break
    assert len(means) >= 5
    assert 0 < np.mean(means) <= 0.8
    assert max(means) <= 1.3
    assert most <= 23
