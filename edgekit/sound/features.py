"""Features of windows of sound: framing, FFT, mel filters, logarithm, DCT and normalisation, vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.sound.encoding import Level, SoundEncoding
from edgekit.sound.filters import dct_table, mel_table, window_table

Samples = NDArray[np.float32]
_BLOCK_FRAMES = 4096
_VARIANCE_FLOOR = 1e-7


def features(samples: Samples, encoding: SoundEncoding, frames: int | None = None) -> Samples:
    """Return the features of one window.

    Args:
        samples: ``(n,)`` float32, full scale 1, at the encoding's rate; at most ``encoding.window`` of them.
        encoding: What to do.
        frames: Frames of the input tensor, for ``short = "frames"``; ``None`` for as many as a window gives.

    Returns:
        ``(window,)`` for a waveform, ``(frames, bins)`` or ``(bins, frames)`` as the layout says; float32.
    """
    heard = levelled(np.asarray(samples, np.float32), encoding.level)
    if encoding.scale == "int16":
        heard = heard * np.float32(32768)
    if encoding.features == "waveform":
        return _padded(heard, encoding.window)
    if encoding.short == "samples":
        heard = _padded(heard, encoding.window)
    found = _spectral(heard.astype(np.float64), encoding)
    if encoding.short == "frames":
        wanted = frames or encoding.frames(encoding.window)
        found = np.pad(found[:wanted], ((0, max(0, wanted - len(found))), (0, 0)))
    found = _normalised(found, encoding)
    turned = found.T if encoding.layout == "bins-frames" else found
    return np.ascontiguousarray(turned, np.float32)


def levelled(samples: Samples, level: Level) -> Samples:
    """Bring a window to a common loudness; silence stays as it is."""
    if level == "none" or not len(samples):
        return samples
    if level == "standard":
        spread = np.sqrt(samples.var(dtype=np.float64) + _VARIANCE_FLOOR)
        standard: Samples = ((samples - samples.mean(dtype=np.float64)) / spread).astype(np.float32)
        return standard
    loudest = samples.max() if level == "max" else np.abs(samples).max()
    return samples / loudest if loudest > 0 else samples


def _padded(samples: Samples, length: int) -> Samples:
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))


def _spectral(samples: NDArray[np.float64], encoding: SoundEncoding) -> NDArray[np.float64]:
    frames = _framed(samples, encoding)
    if not len(frames):
        return np.zeros((0, encoding.bins))
    # A long window in one piece would need sixteen times its own memory.
    blocks = [_spectrum(frames[at : at + _BLOCK_FRAMES], encoding) for at in range(0, len(frames), _BLOCK_FRAMES)]
    found = np.concatenate(blocks)
    if encoding.features in ("spectrogram", "mel"):
        return found
    found = _logarithm(found, encoding)
    return found @ dct_table(encoding) if encoding.features == "mfcc" else found


def _framed(samples: NDArray[np.float64], encoding: SoundEncoding) -> NDArray[np.float64]:
    """A view ``(frames, frame length)``; centred frames are as long as the FFT."""
    length = encoding.frame_length
    if encoding.frame_padding != "none":
        half = length = encoding.points
        reflect = encoding.frame_padding == "reflect" and len(samples) > half // 2
        samples = np.pad(samples, half // 2, mode="reflect" if reflect else "constant")
    if len(samples) < length:
        return np.zeros((0, length))
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[:: encoding.frame_step]
    return frames[:-1] if encoding.drop_last_frame else frames


def _spectrum(frames: NDArray[np.float64], encoding: SoundEncoding) -> NDArray[np.float64]:
    if encoding.remove_dc:
        frames = frames - frames.mean(axis=1, keepdims=True)
    if encoding.preemphasis:
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames = frames - encoding.preemphasis * before
    table = window_table(encoding.window_function, encoding.frame_length)
    if len(table) < frames.shape[1]:
        left = (frames.shape[1] - len(table)) // 2
        table = np.pad(table, (left, frames.shape[1] - len(table) - left))
    spectrum = np.abs(np.fft.rfft(frames * table, encoding.points, axis=1))
    if encoding.power != 1:
        spectrum = spectrum**encoding.power
    found: NDArray[np.float64] = spectrum if encoding.features == "spectrogram" else spectrum @ mel_table(encoding)
    return found


def _logarithm(values: NDArray[np.float64], encoding: SoundEncoding) -> NDArray[np.float64]:
    raised = np.maximum(values + encoding.log_offset, max(encoding.log_floor, np.finfo(np.float64).tiny))
    found: NDArray[np.float64] = np.log(raised) if encoding.log == "natural" else np.log10(raised)
    if encoding.log == "decibel":
        found *= 10.0
    if encoding.dynamic_range:
        found = np.maximum(found, found.max() - encoding.dynamic_range)
    return found


def _normalised(values: NDArray[np.float64], encoding: SoundEncoding) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (values - np.array(encoding.mean)) / np.array(encoding.std)
    if encoding.per_utterance != "none":
        found = found - found.mean(axis=0)
    if encoding.per_utterance == "mean-std":
        found = found / np.sqrt(found.var(axis=0) + _VARIANCE_FLOOR)
    return found
