"""Sound: reading, resampling and the features that models hear, in numpy and outside the graph."""

from edgekit.sound.encoding import SoundEncoding

__all__ = ["SoundEncoding"]
