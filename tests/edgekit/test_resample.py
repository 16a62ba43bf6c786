import numpy as np
import pytest
from PIL import Image

from edgekit.resample import resize
from edgekit.spec import Interpolation

FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
SIZES = [((299, 299), (256, 256)), ((480, 640), (256, 341)), ((33, 50), (224, 224)), ((1080, 1920), (224, 398))]


def noise(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("have", "want"), SIZES)
@pytest.mark.parametrize("name", FILTERS)
def test_antialiased_equals_pillow(name: Interpolation, have: tuple[int, int], want: tuple[int, int]) -> None:
    picture = noise(*have)
    ours = resize(picture, want, name, antialias=True)
    pillow = np.asarray(Image.fromarray(picture).resize(want[::-1], FILTERS[name]))
    difference = np.abs(ours.astype(int) - pillow)
    # Exact ties round by the last bit of the sum: one level on at most one value in a hundred.
    assert difference.max() <= 1
    assert (difference > 0).mean() < (0.02 if name == "bilinear" else 1e-4)


def test_not_antialiased_samples_points() -> None:
    """Shrinking a checkerboard by two: a filter gives grey, half-pixel point sampling a plain average of 2 x 2."""
    board = np.indices((64, 64)).sum(axis=0)[..., None] % 2 * np.full(3, 255, np.uint8)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::4] = 255
    sampled = resize(stripes, (16, 16), "bilinear", antialias=False)
    smoothed = resize(stripes, (16, 16), "bilinear", antialias=True)
    assert set(np.unique(sampled)) == {0}
    assert smoothed[2:-2].min() > 50
    assert resize(board.astype(np.uint8), (64, 64), "area", antialias=True).tolist() == board.tolist()


def test_gray_keeps_its_axis() -> None:
    for antialias in (True, False):
        assert resize(noise(20, 30)[..., :1], (8, 9), "bilinear", antialias=antialias).shape == (8, 9, 1)
