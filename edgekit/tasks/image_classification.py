"""Image classification: a photo in, the most probable classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from edgekit.engine import Array
from edgekit.spec import Spec
from edgekit.tasks.classification import Classification, classify, scores_output
from edgekit.tasks.picture import PictureTask


class ImageClassification(PictureTask):
    """Takes a photo; gives a `Classification`.

    Attributes:
        top_k: Classes in a result.
    """

    name: ClassVar[str] = "image-classification"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.decides = scores_output(spec)
        self.top_k = 5

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Classification]:
        """Return a `Classification` for each photo."""
        assert self.decides is not None  # noqa: S101  set in __init__
        return classify(outputs, self.spec, self.decides, self.top_k)
