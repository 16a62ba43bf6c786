"""Trained models, opened safely and ready to answer as the reference.

One module a kind; :func:`open_source` finds the right one and imports its framework only then.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgekit.errors import UsageError
from edgekit_converters.sources._files import existing
from edgekit_converters.sources.base import InputHint, Source, SourceOptions

__all__ = ["InputHint", "Source", "SourceOptions", "is_hub_model", "open_source"]

_PLAIN = SourceOptions()
KINDS = (
    ".keras, .h5, a SavedModel folder, .pt2, package.module:factory, path/file.py:factory, hf:NAME or a folder of "
    "Hugging Face, .onnx or .tflite"
)
HUB = "hf:"
_HUB_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "modules.json")
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
TORCH_SUFFIXES = (".pt2", ".pt", ".pth", ".ckpt", ".bin")


def open_source(source: str | Path | object, options: SourceOptions = _PLAIN) -> Source:
    """Open a trained model.

    Args:
        source: A path, ``package.module:factory``, ``path/file.py:factory``, ``hf:NAME``, or a live ``keras.Model``
            or ``torch.nn.Module``.
        options: Weights, input shapes, trust, signature and text length.

    Returns:
        The open model; close it, or use it as a context manager.

    Raises:
        UsageError: The path does not exist, or it is no kind of model; input shapes are missing or wrong.
        ModelRefused: The model is damaged, unsafe, or not one that can be converted.
        MissingExtra: The framework is not installed.
    """
    if isinstance(source, str) and source.startswith(HUB):
        from edgekit_converters.sources.huggingface import open_hub

        _refuse_weights(options, source)
        return open_hub(source.removeprefix(HUB), options)
    if isinstance(source, Path) or (isinstance(source, str) and not _names_factory(source)):
        return _open_path(existing(Path(source)), options)
    if options.max_length is not None:
        raise _no_length(options, str(source))
    if not isinstance(source, str):
        return _open_live(source, options)
    from edgekit_converters.sources.pytorch import open_factory

    return open_factory(source, options)


def _names_factory(source: str) -> bool:
    """``left:right`` where right is a dotted Python name and left is no folder or file with a colon in its name."""
    left, colon, right = source.rpartition(":")
    names = right.split(".")
    return bool(colon and left) and all(name.isidentifier() for name in names) and not Path(source).exists()


def _open_live(source: object, options: SourceOptions) -> Source:
    """A live object can only be of a framework that is imported already; no other is imported to find out."""
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if torch is not None and isinstance(source, torch.nn.Module):
        from edgekit_converters.sources.pytorch import open_torch_module

        return open_torch_module(source, options)
    kinds = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    if (keras is not None and isinstance(source, keras.Model)) or "tf_keras" in kinds:
        _refuse_weights(options, "a live Keras model")
        from edgekit_converters.sources.keras import open_keras_model

        return open_keras_model(source, options)
    raise UsageError(
        f"a {type(source).__module__}.{type(source).__qualname__}",
        expected=f"a keras.Model, a torch.nn.Module, or a path: {KINDS}",
    )


def _open_path(path: Path, options: SourceOptions) -> Source:
    suffix = path.suffix.lower()
    if options.weights is not None:
        _refuse_weights(options, path.name)
    if is_hub_model(path):
        return _open_hub_folder(path, options)
    if options.max_length is not None:
        raise _no_length(options, path.name)
    if path.is_dir():
        from edgekit_converters.sources.savedmodel import open_saved_model

        return open_saved_model(path, options)
    if suffix in KERAS_SUFFIXES:
        from edgekit_converters.sources.keras import open_keras

        return open_keras(path, options)
    if suffix in TORCH_SUFFIXES:
        from edgekit_converters.sources.pytorch import open_torch_file

        return open_torch_file(path, options)
    if suffix == ".onnx":
        from edgekit_converters.sources.onnx import open_onnx

        return open_onnx(path, options)
    if suffix == ".tflite":
        from edgekit_converters.sources.tflite import open_tflite

        return open_tflite(path, options)
    raise _unknown(path)


def _open_hub_folder(path: Path, options: SourceOptions) -> Source:
    from edgekit_converters.sources.causal_lm import is_causal_lm, open_causal_lm
    from edgekit_converters.sources.huggingface import open_folder

    return open_causal_lm(path, options) if is_causal_lm(path) else open_folder(path, options)


def is_hub_model(source: object) -> bool:
    """Whether a source is ``hf:NAME`` or a folder laid out as on the Hugging Face hub, complete or not."""
    if not isinstance(source, (str, Path)):
        return False
    if isinstance(source, str) and source.startswith(HUB):
        return True
    path = Path(source)
    held = any((path / name).is_file() for name in _HUB_FILES)
    return held and not (path / "saved_model.pb").is_file()


def _no_length(options: SourceOptions, what: str) -> UsageError:
    return UsageError(
        f"--max-length {options.max_length} for {what}",
        expected="--max-length only with hf:NAME or a folder of Hugging Face",
        remedy="say the length with the shapes, e.g. --input-shape input_ids=1,128:int64",
    )


def _refuse_weights(options: SourceOptions, what: str) -> None:
    if options.weights is not None:
        raise UsageError(
            f"--weights {options.weights.name} for {what}",
            expected="--weights only with package.module:factory or path/file.py:factory",
            remedy="leave it out: this source has its own weights",
        )


def _unknown(path: Path) -> UsageError:
    weights = path.suffix.lower() == ".safetensors"
    remedy = f"weights need the model they belong to: --weights {path.name} beside package.module:factory"
    return UsageError(f"{path.name}: unknown kind of model", expected=KINDS, remedy=remedy if weights else None)
