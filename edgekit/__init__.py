"""edgekit: trained models on small machines, with proof that the answers are the original's."""

from edgekit.api import convert, load

__all__ = ["convert", "load"]
