"""Put pictures side by side in rows, each scaled to the same height: one picture to look at.

python samples/demo/sheet.py OUTPUT.jpg PICTURE…
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.images import read_image

Picture = NDArray[np.uint8]

GAP = 6
_JPEG_QUALITY = 88


def sheet(pictures: Sequence[Picture], *, columns: int, height: int) -> Picture:
    """Arrange pictures in rows on white.

    Args:
        pictures: ``(height, width, 3)`` uint8 RGB, any sizes.
        columns: Pictures a row.
        height: Of every picture, in pixels; rows are stretched to the same width, which changes it a little.

    Returns:
        ``(height, width, 3)`` uint8 RGB.
    """
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    width = max(_row_width(row, height) for row in rows)
    lines = []
    for row in rows:
        gaps = GAP * (len(row) - 1)
        # A row that is narrower than the widest gets taller pictures; a short last row is left as it is.
        taller = height * (width - gaps) / (_row_width(row, height) - gaps) if len(row) == columns else height
        lines.append(_row([_scaled(picture, round(taller)) for picture in row], width))
        lines.append(_white(GAP, width))
    return np.concatenate(lines[:-1], axis=0)


def _row_width(row: Sequence[Picture], height: int) -> int:
    widths: list[int] = [round(height * picture.shape[1] / picture.shape[0]) for picture in row]
    return sum(widths) + GAP * (len(row) - 1)


def _scaled(picture: Picture, height: int) -> Picture:
    import cv2

    size = (round(height * picture.shape[1] / picture.shape[0]), height)
    scaled: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return scaled


def _row(pictures: Sequence[Picture], width: int) -> Picture:
    """Pictures of one height with gaps, filled up or cut (by rounding, a pixel or two) to the width."""
    height = pictures[0].shape[0]
    parts = [part for picture in pictures for part in (picture, _white(height, GAP))][:-1]
    line = np.concatenate([*parts, _white(height, width)], axis=1)
    return line[:, :width]


def _white(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 255, np.uint8)


def main(output: Path, files: Sequence[Path], *, columns: int, height: int) -> None:
    """Write the sheet as a JPEG."""
    import cv2

    made = sheet([read_image(file) for file in files], columns=columns, height=height)
    output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(output), cv2.cvtColor(made, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    print(f"wrote {output}, {made.shape[1]} x {made.shape[0]} pixels, {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put pictures side by side in rows.")
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--height", type=int, default=260, help="of each picture, in pixels")
    given = parser.parse_args()
    main(given.output, given.files, columns=given.columns, height=given.height)
