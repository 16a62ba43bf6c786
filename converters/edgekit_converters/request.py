"""What a conversion is asked for: one frozen value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit.spec import Spec
from edgekit_converters.quantize.effort import Effort, parts_of
from edgekit_converters.quantize.recipes import IoType, Recipe, recipe_named
from edgekit_converters.sources.base import SourceOptions

TARGETS = ("tflite", "onnx")


@dataclass(frozen=True)
class Request:
    """A conversion.

    Attributes:
        model: Path, ``module:factory`` or a live model.
        output: Folder of the bundle.
        spec: What the user said about inputs, preprocessing, task and labels; inputs may be missing; ``None`` leaves it
            to the model's files.
        targets: ``tflite``, ``onnx``.
        recipes: Named precisions.
        source: How to open the model.
        labels: Class names.
        tokenizer: ``tokenizer.json`` or its folder.
        folder: Where the files lie that the spec names: that of the TOML file.
        calibration: Calibration data.
        evaluation: Data for parity.
        io: Type of an integer artifact's inputs and outputs.
        effort: How much is done to make integer artifacts better.
        max_drop: Points of accuracy that an integer artifact may lose.
        allow_degraded: Publish artifacts that miss their gate.
        name: Name of the artifacts; ``None`` takes the model's.
        original: The model that ``model`` was made from, e.g. by compression; it judges the artifacts. ``None``: the
            model itself does.
        original_source: How to open it; input shapes that are missing are the model's.
    """

    model: Any
    output: Path
    spec: Spec | None = None
    targets: tuple[str, ...] = TARGETS
    recipes: tuple[str, ...] = ("fp32",)
    source: SourceOptions = field(default_factory=SourceOptions)
    labels: tuple[str, ...] | None = None
    tokenizer: Path | None = None
    folder: Path = Path()
    calibration: str | Path | Iterable[Any] | None = None
    evaluation: str | Path | Iterable[Any] | None = None
    io: IoType = "float"
    effort: Effort = "normal"
    max_drop: float = 1.0
    allow_degraded: bool = False
    name: str | None = None
    original: Any = None
    original_source: SourceOptions = field(default_factory=SourceOptions)

    def __post_init__(self) -> None:
        for target in self.targets:
            if target not in TARGETS:
                raise UsageError(f"target {target!r}", expected=", ".join(TARGETS))
        if not self.targets or not self.recipes:
            raise UsageError("no target or no recipe", expected="at least one of each")
        if self.max_drop < 0:
            raise UsageError(f"--max-drop {self.max_drop}", expected="0 or more points")
        if self.original is None and self.original_source.weights is not None:
            raise UsageError("--original-weights without --original", expected="--original module:factory beside it")
        self.resolved_recipes()
        parts_of(self.effort)
        if self.io not in ("float", "int8"):
            raise UsageError(f"--io {self.io}", expected="float or int8")
        if self.io == "int8" and "int8" not in self.recipes:
            raise UsageError("--io int8 without --recipe int8", expected="--recipe int8")

    def resolved_recipes(self) -> tuple[Recipe, ...]:
        """The recipes in order, each once."""
        return tuple(recipe_named(name) for name in dict.fromkeys(self.recipes))
