"""Window functions, mel filter banks and the DCT; made once for each encoding."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import SpecRefused
from edgekit.sound.encoding import MelFormula, SoundEncoding, WindowFunction

Table = NDArray[np.float64]

_LINEAR_HZ, _KNEE_HZ, _KNEE_MEL = 200.0 / 3.0, 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27.0


def window_table(kind: WindowFunction, length: int) -> Table:
    """Return a window function ``(length,)``."""
    symmetric = kind.endswith("symmetric") or kind == "povey"
    turns = 2 * np.pi * np.arange(length) / max(1, length - symmetric)
    if kind == "rectangular":
        return np.ones(length)
    if kind.startswith("hamming"):
        hamming: Table = 0.54 - 0.46 * np.cos(turns)
        return hamming
    hann: Table = 0.5 - 0.5 * np.cos(turns)
    return hann**0.85 if kind == "povey" else hann


def to_mel(hertz: NDArray[np.float64] | float, formula: MelFormula) -> Table:
    """Pitch in mel: HTK's formula, or Slaney's (Auditory Toolbox, 1998)."""
    given = np.asarray(hertz, np.float64)
    if formula == "htk":
        htk: Table = 2595.0 * np.log10(1.0 + given / 700.0)
        return htk
    above = _KNEE_MEL + np.log(np.maximum(given, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    slaney: Table = np.where(given >= _KNEE_HZ, above, given / _LINEAR_HZ)
    return slaney


def to_hertz(mel: NDArray[np.float64], formula: MelFormula) -> Table:
    """The inverse of `to_mel`."""
    if formula == "htk":
        htk: Table = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
        return htk
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    slaney: Table = np.where(mel >= _KNEE_MEL, above, mel * _LINEAR_HZ)
    return slaney


@lru_cache(maxsize=8)
def mel_table(encoding: SoundEncoding) -> Table:
    """Return triangular mel filters ``(FFT bins, mel bins)``.

    Raises:
        SpecRefused: A filter lies between two FFT bins and would always give 0.
    """
    formula = encoding.mel_formula
    bins = np.linspace(0.0, encoding.sample_rate / 2, encoding.points // 2 + 1)
    ends = to_mel(np.array([encoding.lower_hz, encoding.top_hz]), formula)
    pitches = np.linspace(ends[0], ends[1], encoding.mel_bins + 2)
    edges = to_hertz(pitches, formula)
    axis, corners = (to_mel(bins, formula), pitches) if encoding.triangles == "mel" else (bins, edges)
    rising = (axis[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - axis[:, None]) / (corners[2:] - corners[1:-1])
    table: Table = np.maximum(0.0, np.minimum(rising, falling))
    if encoding.mel_norm == "slaney":
        table *= 2.0 / (edges[2:] - edges[:-2])
    if encoding.triangles == "mel":
        table[0] = 0.0  # TensorFlow and Kaldi leave the constant part out
    if not table.any():
        raise SpecRefused("sound: no mel filter holds an FFT bin", expected="a larger fft_size or fewer mel_bins")
    return table


@lru_cache(maxsize=8)
def dct_table(encoding: SoundEncoding) -> Table:
    """Return the DCT-II ``(mel bins, coefficients)``, orthonormal but for coefficient 0."""
    count = encoding.mel_bins
    angles = np.pi / count * (np.arange(count)[:, None] + 0.5) * np.arange(encoding.coefficients)
    table: Table = np.sqrt(2.0 / count) * np.cos(angles)
    table[:, 0] *= encoding.dct_first
    return table
