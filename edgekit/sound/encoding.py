"""How sound becomes an input tensor: the ``[sound]`` table of a spec, and the front ends that published models have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgekit.errors import SpecRefused

Features = Literal["waveform", "spectrogram", "mel", "log-mel", "mfcc"]
Scale = Literal["unit", "int16"]
Level = Literal["none", "max", "peak", "standard"]
FramePadding = Literal["none", "zero", "reflect"]
WindowFunction = Literal["hann", "hann-symmetric", "hamming", "hamming-symmetric", "povey", "rectangular"]
MelFormula = Literal["htk", "slaney"]
Triangles = Literal["hertz", "mel"]
MelNorm = Literal["none", "slaney"]
Log = Literal["natural", "log10", "decibel"]
PerUtterance = Literal["none", "mean", "mean-std"]
FeatureLayout = Literal["frames-bins", "bins-frames"]
Short = Literal["samples", "frames"]

MIN_RATE, MAX_RATE = 1_000, 384_000
_CHOICES = {
    "features": Features,
    "scale": Scale,
    "level": Level,
    "frame_padding": FramePadding,
    "window_function": WindowFunction,
    "mel_formula": MelFormula,
    "triangles": Triangles,
    "mel_norm": MelNorm,
    "log": Log,
    "per_utterance": PerUtterance,
    "layout": FeatureLayout,
    "short": Short,
}


@dataclass(frozen=True)
class SoundEncoding:
    """How a recording becomes windows of samples, and each window an input tensor.

    A recording is mixed down to one channel, resampled, cut into windows, levelled, and turned into features:
    frames, window function, FFT, mel filters, logarithm, DCT, then ``(x - mean) / std``. What a feature does not
    need is ignored.

    Attributes:
        sample_rate: Samples a second.
        window: Samples that the model hears at once; a shorter recording is padded, a longer one gives several windows.
        hop: Samples between the starts of two windows; 0 means half a window.
        features: ``waveform``, ``spectrogram``, ``mel``, ``log-mel`` or ``mfcc``.
        scale: ``unit``: full scale is 1; ``int16``: full scale is 32768, as Kaldi has it.
        level: Of each window, before padding: ``none``; ``max`` divides by the largest sample; ``peak`` by the largest
            magnitude; ``standard`` subtracts the mean and divides by ``sqrt(variance + 1e-7)``. Silence stays as it is.
        short: What a short recording is padded with: ``samples`` of zero, or ``frames`` of zero after the logarithm,
            up to the input tensor's number.
        frame_length: Samples of a frame.
        frame_step: Samples between the starts of two frames.
        frame_padding: ``none``: only whole frames; ``zero`` or ``reflect``: half an FFT on either side, so that frames
            are centred (librosa, torchaudio, Whisper).
        drop_last_frame: Leave the last frame out, as Whisper does.
        remove_dc: Subtract each frame's mean (Kaldi).
        preemphasis: Of each frame, 0.97 in Kaldi; 0 for none.
        window_function: Of a frame; periodic unless named symmetric. ``povey`` is Kaldi's, a Hann window to the 0.85.
        fft_size: Points of the FFT; 0 means the next power of two from ``frame_length``.
        power: 1 for magnitudes, 2 for power.
        mel_bins: Mel filters.
        lower_hz: Lower edge of the first filter.
        upper_hz: Upper edge of the last one; 0 means half the sample rate.
        mel_formula: ``htk``: ``2595 log10(1 + f / 700)``; ``slaney``: linear to 1 kHz, logarithmic above.
        triangles: Axis on which the filters are straight: ``hertz`` (librosa, Whisper) or ``mel`` (TensorFlow, Kaldi).
        mel_norm: ``slaney`` divides each filter by its width.
        log: ``natural``, ``log10`` or ``decibel`` (``10 log10``).
        log_offset: Added before the logarithm.
        log_floor: Smallest value that the logarithm is taken of.
        dynamic_range: After the logarithm, values are raised to the window's largest less this; 0 for no limit.
        coefficients: Of the orthonormal DCT-II, from the 0th.
        dct_first: Factor of coefficient 0: ``sqrt(1/2)`` is orthonormal (librosa), 1 is TensorFlow's.
        mean: Subtracted; one number or one a bin.
        std: Divides; one number or one a bin.
        per_utterance: After that, subtract each bin's mean over the window's frames, and divide by its deviation.
        layout: ``frames-bins`` or ``bins-frames``; axes of size 1 are put where the input tensor has them.
    """

    sample_rate: int = 16_000
    window: int = 16_000
    hop: int = 0
    features: Features = "waveform"
    scale: Scale = "unit"
    level: Level = "none"
    short: Short = "samples"
    frame_length: int = 400
    frame_step: int = 160
    frame_padding: FramePadding = "none"
    drop_last_frame: bool = False
    remove_dc: bool = False
    preemphasis: float = 0.0
    window_function: WindowFunction = "hann"
    fft_size: int = 0
    power: float = 2.0
    mel_bins: int = 40
    lower_hz: float = 0.0
    upper_hz: float = 0.0
    mel_formula: MelFormula = "htk"
    triangles: Triangles = "hertz"
    mel_norm: MelNorm = "none"
    log: Log = "natural"
    log_offset: float = 0.0
    log_floor: float = 1e-10
    dynamic_range: float = 0.0
    coefficients: int = 13
    dct_first: float = 0.5**0.5
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    per_utterance: PerUtterance = "none"
    layout: FeatureLayout = "frames-bins"

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise SpecRefused(f"sound.{name} = {getattr(self, name)!r}", expected=" or ".join(get_args(kind)))
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise SpecRefused(f"sound.sample_rate = {self.sample_rate}", expected=f"{MIN_RATE} to {MAX_RATE} Hz")
        for name in ("window", "frame_length", "frame_step", "mel_bins", "coefficients"):
            if getattr(self, name) < 1:
                raise SpecRefused(f"sound.{name} = {getattr(self, name)}", expected="1 or more")
        if self.hop < 0 or self.hop > self.window:
            raise SpecRefused(f"sound.hop = {self.hop}", expected=f"0 (half a window) to the window's {self.window}")
        if any(value == 0 for value in self.std):
            raise SpecRefused("sound.std contains 0", expected="positive numbers")
        if self.features != "waveform":
            self._check_frames()

    def _check_frames(self) -> None:
        if self.fft_size and self.fft_size < self.frame_length:
            raise SpecRefused(f"sound.fft_size = {self.fft_size}", expected=f"at least {self.frame_length}, the frame")
        if self.frame_padding == "none" and self.frame_length > self.window:
            raise SpecRefused(
                f"sound.frame_length = {self.frame_length}", expected=f"at most {self.window}, the window"
            )
        if not 0 <= self.lower_hz < self.top_hz <= self.sample_rate / 2:
            raise SpecRefused(
                f"sound.lower_hz = {self.lower_hz:g}, upper_hz = {self.top_hz:g}",
                expected=f"lower below upper, and upper at most {self.sample_rate / 2:g}",
            )
        if self.features == "mfcc" and self.coefficients > self.mel_bins:
            raise SpecRefused(
                f"sound.coefficients = {self.coefficients}", expected=f"at most {self.mel_bins}, the filters"
            )
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count not in (1, self.bins):
                raise SpecRefused(f"sound.{name} has {count} numbers", expected=f"1 or {self.bins}")

    @property
    def step(self) -> int:
        """Samples between the starts of two windows."""
        return self.hop or max(1, self.window // 2)

    @property
    def points(self) -> int:
        """Points of the FFT."""
        return self.fft_size or 1 << (self.frame_length - 1).bit_length()

    @property
    def top_hz(self) -> float:
        """Upper edge of the last mel filter."""
        return self.upper_hz or self.sample_rate / 2

    @property
    def bins(self) -> int:
        """Values of a frame; 1 for a waveform."""
        sizes = {"waveform": 1, "spectrogram": self.points // 2 + 1, "mfcc": self.coefficients}
        return sizes.get(self.features, self.mel_bins)

    def frames(self, samples: int) -> int:
        """Frames that so many samples give."""
        if self.frame_padding == "none":
            count = 1 + (samples - self.frame_length) // self.frame_step
        else:
            count = 1 + (samples + self.points // 2 * 2 - self.points) // self.frame_step
        return max(0, count - self.drop_last_frame)


_MEL_SPEECH = {"mel_formula": "htk", "triangles": "mel"}

MLPERF_TINY_KWS = SoundEncoding(
    hop=4_000, features="mfcc", level="max", frame_length=480, frame_step=320, power=1.0, mel_bins=40, lower_hz=20.0,
    upper_hz=4_000.0, triangles="mel", log_offset=1e-6, log_floor=0.0, coefficients=10, dct_first=1.0,
)  # fmt: skip
"""MLPerf Tiny's keyword spotter and TensorFlow's ``tf.signal`` recipe: MFCC ``[49, 10]`` of a second at 16 kHz."""
LIBROSA_MFCC = SoundEncoding(
    hop=4_000, features="mfcc", frame_length=2_048, frame_step=512, frame_padding="zero", mel_bins=128,
    mel_formula="slaney", mel_norm="slaney", log="decibel", dynamic_range=80.0, coefficients=12,
)  # fmt: skip
"""What ``librosa.feature.mfcc(sr=16000, n_mfcc=12)`` gives, frames first."""
WHISPER = SoundEncoding(
    window=480_000, features="log-mel", frame_length=400, frame_step=160, fft_size=400, frame_padding="reflect",
    drop_last_frame=True, mel_bins=80, mel_formula="slaney", mel_norm="slaney", log="log10", dynamic_range=8.0,
    mean=(-4.0,), std=(4.0,), layout="bins-frames",
)  # fmt: skip
"""Whisper's 80 log-mel bands ``[80, 3000]`` of half a minute."""
AST = SoundEncoding(
    window=163_840, features="log-mel", short="frames", frame_length=400, frame_step=160, remove_dc=True,
    preemphasis=0.97, window_function="hann-symmetric", mel_bins=128, lower_hz=20.0, triangles="mel",
    log_floor=1.192092955078125e-07, mean=(-4.2677393,), std=(9.1379948,),
)  # fmt: skip
"""Audio Spectrogram Transformer (AudioSet): Kaldi's filter banks ``[1024, 128]``, normalised by twice the deviation."""
WAV2VEC2 = SoundEncoding(window=160_000, hop=120_000, features="waveform", level="standard")
"""Wav2Vec2, HuBERT: samples of zero mean and unit variance, ten seconds at a time."""
