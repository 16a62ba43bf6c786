"""The commands that lead to a bundle again, and those that check it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.bundle import Manifest
from edgekit_converters.request import Request
from edgekit_converters.sources.base import InputHint

_SPEC = (
    "from dataclasses import replace; from pathlib import Path; from edgekit.bundle import Bundle; "
    "from edgekit_converters.spec_file import write_spec; spec = Bundle({folder}).spec; "
    'write_spec(Path("spec.toml"), spec{change})'
)
_OWN_INPUTS = ".replace(inputs=(), outputs=())"
_SIZE_OF_INPUTS = ".replace(inputs=tuple(replace(tensor, layout=None) for tensor in spec.inputs), outputs=())"
"""Without a layout, which would be a wish, an input still says what size of photos the rest is meant for."""


def conversion_words(request: Request) -> list[str]:
    """What to type to repeat a conversion, with the spec in ``spec.toml``.

    Of paths only the last part is kept: a bundle is given away, and folders tell who made it. ``-o`` is left out.

    Args:
        request: The conversion.
    """
    source = request.source
    words = ["edgekit", "convert", _named(request.model) or "MODEL"]
    if source.weights is not None:
        words += ["--weights", source.weights.name]
    words += ["--spec", "spec.toml"]
    if not inputs_said(request):
        words += [word for hint in source.inputs for word in ("--input-shape", _hinted(hint))]
    for target in request.targets:
        words += ["--to", target]
    for recipe in request.resolved_recipes():
        words += ["--recipe", recipe.name]
    if request.tokenizer is not None:
        words += ["--tokenizer", request.tokenizer.name]
    if source.max_length is not None:
        words += ["--max-length", str(source.max_length)]
    for option, data in (("--calibration", request.calibration), ("--eval", request.evaluation)):
        if data is not None:
            words += [option, _named(data) or option[2:].upper()]
    words += ["--effort", request.effort, "--max-drop", f"{request.max_drop:g}"]
    if request.original is not None:
        words += ["--original", _named(request.original) or "ORIGINAL"]
        weights = request.original_source.weights
        words += [] if weights is None else ["--original-weights", weights.name]
    words += ["--io", request.io] if request.io != "float" else []
    words += ["--allow-degraded"] if request.allow_degraded else []
    words += ["--trust-pickle"] if source.trust_pickle else []
    return [*words, *(["--name", request.name] if request.name else [])]


def inputs_said(request: Request) -> bool:
    """Whether the user's spec names inputs: their layouts are wishes then, which the model's own are not."""
    return request.spec is not None and bool(request.spec.inputs)


def _hinted(hint: InputHint) -> str:
    sizes = ",".join("-1" if length is None else str(length) for length in hint.shape)
    return (f"{hint.name}=" if hint.name else "") + sizes + (f":{hint.dtype}" if hint.dtype else "")


def _named(given: Any) -> str | None:
    """The last part of a path or of a reference to a Python object; ``None`` for an object."""
    if not isinstance(given, (str, Path)):
        return None
    text = str(given)
    if text.startswith("hf:") and not Path(text[3:]).exists():
        return text
    return Path(text).name or None


def commands(folder: str, manifest: Manifest, *, data: str | None = None) -> list[tuple[str, str]]:
    """What each command is for, and the command.

    Args:
        folder: Name of the bundle's folder.
        manifest: What the bundle says of itself.
        data: Name of the data that the report was made with.
    """
    words = manifest.source.get("command")
    recorded = isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
    convert = list(words or ()) if recorded else _guessed(manifest)
    own = _SIZE_OF_INPUTS if manifest.source.get("photos_for") else _OWN_INPUTS
    change = "" if manifest.source.get("inputs_said") else own
    spec = _SPEC.format(folder=json.dumps(folder), change=change)
    report = ["edgekit", "report", folder, *(["--data", data] if data else [])]
    about = "convert again" if recorded else "convert again (this bundle does not say how; names in capitals are yours)"
    return [
        ("write the spec that the bundle holds", shlex.join(["python", "-c", spec])),
        (about, shlex.join([*convert, "-o", folder])),
        ("check on any machine that the answers are the original's", shlex.join(["edgekit", "verify", folder])),
        ("measure it on any machine", shlex.join(["edgekit", "bench", folder, "--all", "--operators"])),
        ("make this page", shlex.join(report)),
    ]


def _guessed(manifest: Manifest) -> list[str]:
    words = ["edgekit", "convert", str(manifest.source.get("file") or "MODEL"), "--spec", "spec.toml"]
    words += _repeated("--to", [artifact.format for artifact in manifest.artifacts])
    words += _repeated("--recipe", [artifact.recipe for artifact in manifest.artifacts])
    words += ["--calibration", "CALIBRATION"] if manifest.calibration else []
    return [*words, *(["--eval", "EVAL"] if manifest.evaluation.get("origin") == "evaluation data" else [])]


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in dict.fromkeys(values) for word in (option, value)]
