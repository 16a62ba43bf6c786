"""What a measuring process is asked: JSON goes in, JSON comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """One artifact to measure.

    Attributes:
        path: The ``.tflite`` or ``.onnx`` file.
        bundle: Folder of the bundle that it belongs to; ``None`` for a bare file.
        recipe: Named precision; ``None`` for a bare file.
        engine: Name of the engine; ``None`` takes the format's own.
    """

    path: Path
    bundle: Path | None = None
    recipe: str | None = None
    engine: str | None = None

    @property
    def name(self) -> str:
        """File name of the artifact."""
        return self.path.name

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Target:
        """Read the JSON form."""
        bundle = Path(raw["bundle"]) if raw["bundle"] is not None else None
        return cls(Path(raw["path"]), bundle, raw["recipe"], raw["engine"])


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        runs: Timed runs, at least.
        seconds: Time spent on timed runs, at least.
        warmup: Runs before, at least; they go on until the latency is steady.
    """

    runs: int = 50
    seconds: float = 3.0
    warmup: int = 10
