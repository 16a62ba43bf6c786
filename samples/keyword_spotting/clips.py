"""Spoken words as WAV files, from arrays; and clips joined to one long recording.

python clips.py write ARRAYS FOLDER     ARRAYS is an .npz with audio_i16_16k (clips, 16000), label and word
python clips.py join OUT CLIP...        the clips one after the other, with a second of faint noise around each
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.sound.reading import blocks
from edgekit.sound.wav import write_wav

RATE = 16_000
CALIBRATION_CLIPS = 100
NOISE = 20
"""Standard deviation of the noise, of 32768."""


def write(arrays: Path, folder: Path) -> None:
    """Write each clip into the subfolder of its word: the first hundred into calibration/, the others into test/."""
    with np.load(arrays, allow_pickle=False) as data:
        clips, labels, words = data["audio_i16_16k"], data["label"], data["word"]
    names = dict(zip(labels.tolist(), words.tolist(), strict=True))
    for number, (clip, label) in enumerate(zip(clips, labels.tolist(), strict=True)):
        part = "calibration" if number < CALIBRATION_CLIPS else "test"
        path = folder / part / names[label] / f"{number:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            write_wav(stream, clip, RATE)
    (folder / "labels.txt").write_text("".join(f"{names[n]}\n" for n in sorted(names)), encoding="utf-8")
    print(f"wrote {len(clips)} clips of {len(names)} words to {folder}/calibration and {folder}/test")


def join(out: Path, clips: list[Path]) -> None:
    """Join clips, and say where each begins."""
    random = np.random.default_rng(0)
    parts: list[NDArray[np.int16]] = [_noise(random)]
    for path in clips:
        samples = np.concatenate(list(blocks(path, RATE)))
        print(f"{sum(map(len, parts)) / RATE:6.2f} s  {path}")
        parts += [(samples * 32767).astype(np.int16), _noise(random)]
    with out.open("wb") as stream:
        write_wav(stream, np.concatenate(parts), RATE)


def _noise(random: np.random.Generator) -> NDArray[np.int16]:
    return (NOISE * random.standard_normal(RATE)).astype(np.int16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write clips as WAV files, or join them.")
    commands = parser.add_subparsers(dest="command", required=True)
    writer = commands.add_parser("write")
    writer.add_argument("arrays", type=Path)
    writer.add_argument("folder", type=Path)
    joiner = commands.add_parser("join")
    joiner.add_argument("out", type=Path)
    joiner.add_argument("clips", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "write":
        write(given.arrays, given.folder)
    else:
        join(given.out, given.clips)
