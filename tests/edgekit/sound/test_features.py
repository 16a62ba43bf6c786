"""Features against the published front ends, and against what other libraries compute."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.errors import SpecRefused
from edgekit.sound.encoding import AST, LIBROSA_MFCC, MLPERF_TINY_KWS, WAV2VEC2, WHISPER, SoundEncoding
from edgekit.sound.features import features, levelled
from edgekit.sound.filters import to_hertz, to_mel, window_table
from edgekit.spec import Spec

INPUT_SCALE, ZERO_POINT = np.float32(0.5847029089927673), 83
"""Of the published int8 model's input."""


@pytest.fixture(scope="module")
def spoken(realpack: Path) -> dict[str, NDArray[np.int64]]:
    with np.load(realpack / "speech_commands" / "sc12.npz") as data:
        return {"audio": data["audio_i16_16k"], "mfcc": data["mfcc_i8_49x10"]}


@pytest.fixture(scope="module")
def sentence(spoken: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = np.concatenate(spoken["audio"][:3]).astype(np.float32) / np.float32(32768)
    return joined


def test_the_mfcc_of_mlperf_tiny_are_those_of_its_data_set(spoken: dict[str, NDArray[np.int64]]) -> None:
    clips = spoken["audio"].astype(np.float32) / np.float32(32768)
    found = np.stack([features(clip, MLPERF_TINY_KWS) for clip in clips])
    assert found.shape == (400, 49, 10)
    # Its script cuts fractions off (astype) and lets what lies beyond int8 wrap around.
    stored = (np.trunc(found / INPUT_SCALE + ZERO_POINT).astype(np.int64) + 128) % 256 - 128
    want = spoken["mfcc"][..., 0].astype(np.int64)
    assert np.abs(stored - want).max() <= 1
    assert (stored == want).mean() > 0.998


def test_tf_signal_gives_the_same_mel_filters_and_mfcc(sentence: NDArray[np.float32]) -> None:
    import tensorflow as tf

    short = dataclasses.replace(MLPERF_TINY_KWS, level="none")
    spectra = tf.abs(tf.signal.stft(sentence[:16_000], 480, 320, window_fn=tf.signal.hann_window))
    filters = tf.signal.linear_to_mel_weight_matrix(40, 257, 16_000, 20.0, 4_000.0)
    want = tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(spectra @ filters + 1e-6))[:, :10].numpy()
    assert np.abs(features(sentence[:16_000], short) - want).max() < 2e-3


def test_whisper(sentence: NDArray[np.float32]) -> None:
    from transformers import WhisperFeatureExtractor

    want = WhisperFeatureExtractor()(sentence, sampling_rate=16_000, return_tensors="np")["input_features"][0]
    assert np.abs(features(sentence, WHISPER) - want).max() < 1e-4


def test_audio_spectrogram_transformer(sentence: NDArray[np.float32]) -> None:
    from transformers import ASTFeatureExtractor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its filters are narrower than a bin
        want = ASTFeatureExtractor()(sentence, sampling_rate=16_000, return_tensors="np")["input_values"][0]
    assert np.abs(features(sentence, AST, 1024) - want).max() < 1e-4


def test_wav2vec2(sentence: NDArray[np.float32]) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    want = Wav2Vec2FeatureExtractor()(sentence, sampling_rate=16_000, return_tensors="np")["input_values"][0]
    found = features(sentence, WAV2VEC2)
    assert np.abs(found[: len(want)] - want).max() < 1e-5
    assert not found[len(want) :].any()


def test_the_preset_of_librosa_is_the_lstm_front_end(spoken: dict[str, NDArray[np.int64]]) -> None:
    from tests.fixtures.keyword_lstm import mfcc

    clips = spoken["audio"][:8].astype(np.int16)
    found = np.stack([features(clip / np.float32(32768), LIBROSA_MFCC) for clip in clips])
    assert np.abs(found - mfcc(clips)).max() < 1e-4


@pytest.mark.parametrize("kind", ["hann", "hann-symmetric", "hamming", "hamming-symmetric", "povey", "rectangular"])
def test_windows_are_those_of_scipy(kind: str) -> None:
    from scipy.signal import get_window

    name, symmetric = kind.replace("-symmetric", ""), kind.endswith("symmetric")
    if kind == "povey":
        want = get_window("hann", 400, fftbins=False) ** 0.85
    else:
        want = get_window("boxcar" if name == "rectangular" else name, 400, fftbins=not symmetric)
    assert np.allclose(window_table(kind, 400), want, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", ["htk", "slaney"])
def test_mel_and_hertz_are_inverse_and_known(formula: str) -> None:
    hertz = np.linspace(0, 8_000, 97)
    assert np.allclose(to_hertz(to_mel(hertz, formula), formula), hertz, atol=1e-8)  # type: ignore[arg-type]
    assert to_mel(1000.0, formula) == pytest.approx(999.99 if formula == "htk" else 15.0, abs=0.01)  # type: ignore[arg-type]


def test_the_dct_is_scipys(sentence: NDArray[np.float32]) -> None:
    from scipy.fft import dct

    log_mel = dataclasses.replace(LIBROSA_MFCC, features="log-mel")
    want = dct(features(sentence[:16_000], log_mel), axis=1, norm="ortho")[:, :12]
    assert np.allclose(features(sentence[:16_000], LIBROSA_MFCC), want, atol=1e-3)


def test_silence_stays_finite() -> None:
    for encoding in (MLPERF_TINY_KWS, LIBROSA_MFCC, AST, WAV2VEC2):
        assert np.isfinite(features(np.zeros(16_000, np.float32), encoding)).all()


def test_levels() -> None:
    samples = np.array([0.1, -0.4, 0.2], np.float32)
    assert levelled(samples, "max").tolist() == pytest.approx([0.5, -2.0, 1.0])
    assert levelled(samples, "peak").tolist() == pytest.approx([0.25, -1.0, 0.5])
    assert np.array_equal(levelled(np.zeros(3, np.float32), "peak"), np.zeros(3, np.float32))


def test_per_utterance_and_layout(sentence: NDArray[np.float32]) -> None:
    encoding = SoundEncoding(features="log-mel", per_utterance="mean-std", layout="bins-frames")
    found = features(sentence[:16_000], encoding)
    assert found.shape == (40, encoding.frames(16_000)) == (40, 98)
    assert np.abs(found.mean(axis=1)).max() < 1e-4
    assert np.abs(found.std(axis=1) - 1).max() < 1e-2


@given(
    length=st.integers(1, 512),
    step=st.integers(1, 200),
    padding=st.sampled_from(["none", "zero", "reflect"]),
    samples=st.integers(512, 3_000),
    last=st.booleans(),
)
def test_the_number_of_frames_is_foretold(length: int, step: int, padding: str, samples: int, last: bool) -> None:
    encoding = SoundEncoding(
        window=samples, features="spectrogram", frame_length=length, frame_step=step, frame_padding=padding,  # type: ignore[arg-type]
        drop_last_frame=last,
    )  # fmt: skip
    found = features(np.ones(samples, np.float32), encoding)
    assert found.shape == (encoding.frames(samples), encoding.bins)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "cepstrum"}, "sound.features = 'cepstrum'; expected waveform or"),
        ({"sample_rate": 0}, "sample_rate = 0"),
        ({"hop": 20_000}, "hop = 20000"),
        ({"features": "mfcc", "coefficients": 41}, "coefficients = 41; expected at most 40"),
        ({"features": "mel", "upper_hz": 9_000.0}, "at most 8000"),
        ({"features": "mel", "fft_size": 256}, "at least 400"),
        ({"features": "mel", "frame_length": 20_000, "fft_size": 32_768}, "at most 16000"),
        ({"features": "mel", "mean": (1.0, 2.0)}, "mean has 2 numbers; expected 1 or 40"),
        ({"std": (0.0,)}, "std contains 0"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        SoundEncoding(**changes)  # type: ignore[arg-type]


def test_a_spec_with_sound_goes_through_toml_and_json(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'task = "audio-classification"\n[sound]\nfeatures = "log-mel"\nmean = -4\nstd = [2.0]\n', encoding="utf-8"
    )
    spec = Spec.from_toml(path)
    assert spec.sound == SoundEncoding(features="log-mel", mean=(-4.0,), std=(2.0,))
    assert Spec.from_dict(spec.to_dict()) == spec
