"""The Python interface: `edgekit.convert` and `edgekit.load`.

Both sides are imported when they are called: a board needs no converter, a workstation no camera.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.spec import Spec


def convert(
    model: Any,
    output: str | Path,
    *,
    to: Sequence[str] = ("tflite", "onnx"),
    recipes: Sequence[str] = ("fp32",),
    preset: str | None = None,
    spec: Spec | str | Path | None = None,
    weights: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    tokenizer: str | Path | None = None,
    input_shapes: Sequence[str | Sequence[int]] = (),
    calibration: str | Path | Iterable[Any] | None = None,
    evaluation: str | Path | Iterable[Any] | None = None,
    io: str = "float",
    effort: str = "normal",
    max_drop: float = 1.0,
    allow_degraded: bool = False,
    trust_pickle: bool = False,
    max_length: int | None = None,
    name: str | None = None,
    original: Any = None,
    original_weights: str | Path | None = None,
) -> Bundle:
    """Turn a trained model into a bundle.

    Args:
        model: Path of a ``.keras``, ``.h5``, ``.pt2``, ``.onnx``, ``.tflite`` file or a SavedModel folder,
            ``module:factory``, ``hf:NAME`` or a folder of Hugging Face, or a live ``keras.Model`` or
            ``torch.nn.Module``.
        output: Folder of the bundle; an older bundle there is replaced in one step.
        to: ``tflite`` and ``onnx``, one or both.
        recipes: ``fp32``, ``fp16``, ``dynamic-int8``, ``int8``, ``mixed``, ``int8-int16``.
        preset: Named preprocessing, see :data:`edgekit.presets.PRESETS`.
        spec: A spec or the path of a TOML file, instead of a preset.
        weights: ``.safetensors`` or a state dict for ``module:factory``.
        labels: Class names, or a text file with one a line.
        tokenizer: ``tokenizer.json`` or the folder that holds it, for text tasks.
        input_shapes: One per input, batch first: ``"1,3,224,224"``, ``"input_ids=1,128:int64"`` or a tuple.
        calibration: Data for the recipes that need it: path, ``module:function``, callable or sequence.
        evaluation: Data for parity; without it a part of the calibration data is kept aside.
        io: ``float``, or ``int8`` inputs and outputs for microcontrollers and accelerators.
        effort: ``low`` for a first look within seconds, ``normal`` for the best artifacts.
        max_drop: Points of accuracy that an integer artifact may lose.
        allow_degraded: Publish artifacts that miss their gate, marked so.
        trust_pickle: Let a pickled PyTorch module run its code in a child process.
        max_length: Tokens a text of a Hugging Face model; by default what its folder says, else 128.
        name: Name of the artifacts; by default that of the model file.
        original: The model that ``model`` was made from, e.g. by compression, like ``model``: it judges the artifacts.
        original_weights: Its ``weights``.

    Returns:
        The published bundle.

    Raises:
        EdgeKitError: With the documented exit code; what was at ``output`` is unchanged.
    """
    arguments = dict(locals())
    built: Bundle = import_module("edgekit_converters.api").convert(**arguments)
    return built


def load(
    bundle: str | Path,
    *,
    engine: str | None = None,
    recipe: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Open a bundle for prediction.

    Args:
        bundle: Folder of the bundle.
        engine: ``litert``, ``onnxruntime`` or a third party's; by default what fits best here.
        recipe: Named precision; by default the fastest artifact that passed its gate.
        threads: Threads of the engine.
        options: Options of the task that replace those of the bundle, e.g. ``{"temperature": 0.8}``.

    Returns:
        A predictor: ``predictor.predict(item)`` gives a typed result.

    Raises:
        EdgeKitError: The bundle is damaged, or nothing in it can run here.
    """
    loader = import_module("edgekit_runtimes.predictor").load
    return loader(bundle, engine=engine, recipe=recipe, threads=threads, options=options)
