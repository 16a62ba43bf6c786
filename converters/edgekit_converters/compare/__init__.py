"""`edgekit compare`: where the answers of an artifact leave those of the original, and which layers carry the error."""

from edgekit_converters.compare.comparison import Comparison, compare
from edgekit_converters.compare.subject import CompareRequest

__all__ = ["CompareRequest", "Comparison", "compare"]
