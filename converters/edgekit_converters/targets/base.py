"""What every target is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekit.spec import Layout


@dataclass(frozen=True)
class ExportOptions:
    """How to write a float artifact.

    Attributes:
        layouts: Source input name -> layout wanted in the artifact; inputs not named keep the source's.
        dynamic_batch: Leave the batch dimension open where the format and the model allow it.
    """

    layouts: Mapping[str, Layout] = field(default_factory=dict)
    dynamic_batch: bool = True


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        inputs: Artifact tensor name of each source input, in the source's order.
        outputs: Artifact tensor name of each source output, in the source's order.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
