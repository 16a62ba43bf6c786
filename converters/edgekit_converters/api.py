"""What `edgekit.convert` calls: Python arguments to a request. The docstring is at `edgekit.api.convert`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle
from edgekit.spec import Spec
from edgekit_converters.convert import convert as run_conversion
from edgekit_converters.quantize.effort import Effort
from edgekit_converters.quantize.recipes import IoType
from edgekit_converters.request import Request
from edgekit_converters.sources import SourceOptions, is_hub_model
from edgekit_converters.specs import hints_of, parse_hint, partial_spec, read_labels


def build_request(
    model: Any,
    output: str | Path,
    *,
    to: Sequence[str],
    recipes: Sequence[str],
    preset: str | None = None,
    spec: Spec | str | Path | None = None,
    weights: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    tokenizer: str | Path | None = None,
    input_shapes: Sequence[str | Sequence[int]] = (),
    calibration: str | Path | Iterable[Any] | None = None,
    evaluation: str | Path | Iterable[Any] | None = None,
    io: IoType = "float",
    effort: Effort = "normal",
    max_drop: float = 1.0,
    allow_degraded: bool = False,
    trust_pickle: bool = False,
    max_length: int | None = None,
    name: str | None = None,
    original: Any = None,
    original_weights: str | Path | None = None,
) -> Request:
    """Build the request of a conversion from what a person typed; arguments as `edgekit.convert`'s."""
    said = partial_spec(preset, spec)
    hints = tuple(parse_hint(shape) for shape in input_shapes) or hints_of(said)
    length = max_length or (said.text.max_length if said and said.text and is_hub_model(model) else None)
    return Request(
        model=model,
        output=Path(output),
        spec=said,
        targets=tuple(dict.fromkeys(to)),
        recipes=tuple(dict.fromkeys(recipes)),
        source=SourceOptions(
            weights=Path(weights) if weights else None, inputs=hints, trust_pickle=trust_pickle, max_length=length
        ),
        labels=read_labels(labels),
        tokenizer=Path(tokenizer) if tokenizer else None,
        folder=Path(spec).parent if isinstance(spec, (str, Path)) else Path(),
        calibration=calibration,
        evaluation=evaluation,
        io=io,
        effort=effort,
        max_drop=max_drop,
        allow_degraded=allow_degraded,
        name=name,
        original=original,
        original_source=SourceOptions(
            weights=Path(original_weights) if original_weights else None, inputs=hints, trust_pickle=trust_pickle
        ),
    )


def convert(model: Any, output: str | Path, **arguments: Any) -> Bundle:
    """Convert a model; see `edgekit.api.convert`."""
    bundle, _ = run_conversion(build_request(model, output, **arguments))
    return bundle
