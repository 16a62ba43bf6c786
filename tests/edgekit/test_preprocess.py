import numpy as np
import pytest
from PIL import Image

from edgekit.errors import SpecRefused
from edgekit.preprocess import encode_image, normalise, place
from edgekit.presets import PRESETS, preset
from edgekit.spec import Preprocess, TensorSpec

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
