"""Keras models: ``.keras``, ``.h5`` of every age, and live objects.

The configuration is read before Keras loads anything, so no code out of a file runs (see ``_keras_config``).
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from edgekit.engine import Array, Feeds
from edgekit.errors import ModelRefused, UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.sources._archive import BOMB_FLOOR_BYTES, BOMB_RATIO, check_zip
from edgekit_converters.sources._files import damaged, first_line, size_of
from edgekit_converters.sources._keras_config import Config, refuse_code, repair
from edgekit_converters.sources._keras_graph import as_functional, output_names, stable_name, takes_list
from edgekit_converters.sources._original_size import at_own_size, read_size
from edgekit_converters.sources._quiet import import_keras, import_tensorflow
from edgekit_converters.sources._tensors import image_layout, ordered_feeds, to_answer, unique
from edgekit_converters.sources.base import Source, SourceOptions

KERAS_FILE = "a .keras file as model.save() writes it"
H5_FILE = "an .h5 file as model.save() writes it"
CUSTOM_OBJECT_MARKS = ("Could not locate", "Unknown layer", "Unknown object", "Could not deserialize")


class KerasSource(Source):
    """An open Keras model.

    Attributes:
        model: The model with plain lists of inputs and outputs, in the order of ``inputs`` and ``outputs``; a
            model of another form (subclassed, dictionaries) is wrapped in one that shares its weights.
    """

    framework: ClassVar[str] = "keras"

    def __init__(
        self, model: Any, options: SourceOptions, *, path: Path | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        tensorflow = import_tensorflow()
        self.model = as_functional(model, options.inputs)
        self.path = path
        self.name = path.stem if path else str(model.name)
        self.notes = notes
        input_names = unique(stable_name(tensor) for tensor in self.model.inputs)
        self.inputs = tuple(_spec(name, tensor) for name, tensor in zip(input_names, self.model.inputs, strict=True))
        names = output_names(model, self.model)
        self.outputs = tuple(_spec(name, tensor) for name, tensor in zip(names, self.model.outputs, strict=True))
        self.parameters = int(model.count_params())
        weights = sum(int(weight.numpy().nbytes) for weight in model.weights) if path is None else 0
        self.size_bytes = size_of(path) if path else weights
        as_list = takes_list(self.model)
        self._call = tensorflow.function(
            lambda tensors: self.model(tensors if as_list else tensors[0], training=False), reduce_retracing=True
        )

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does; see :meth:`Source.run`."""
        keras = import_keras()
        arrays = ordered_feeds(self.inputs, feeds)
        answers = keras.tree.flatten(self._call([keras.ops.convert_to_tensor(array) for array in arrays]))
        return {
            tensor.name: to_answer(keras.ops.convert_to_numpy(answer))
            for tensor, answer in zip(self.outputs, answers, strict=True)
        }

    def close(self) -> None:
        """Let go of the model and its traced function."""
        self.model = self._call = None


def _spec(name: str, tensor: Any) -> TensorSpec:
    dtype = str(tensor.dtype)
    if dtype == "string":
        raise ModelRefused(
            f"{name!r} is a string tensor",
            expected="numbers: devices do not split text inside of the model",
            remedy="cut the text layers off and give the model token ids",
        )
    shape = tuple(tensor.shape)
    return TensorSpec(name, shape, dtype, image_layout(shape, dtype, "NHWC"))


def open_keras(path: Path, options: SourceOptions) -> KerasSource:
    """Open a ``.keras`` or ``.h5`` file.

    Raises:
        ModelRefused: It is damaged, carries code (Lambda) or needs custom classes that are not at hand.
    """
    load = _load_archive if path.suffix == ".keras" else _load_h5
    model, notes = load(path)
    size = read_size(path) if path.suffix == ".keras" else None
    if size is not None and model.inputs:
        options = replace(options, inputs=at_own_size(options.inputs, model.inputs[0].shape, size))
    source = KerasSource(model, options, path=path, notes=notes)
    source.original_size = size
    return source


def _load_archive(path: Path) -> tuple[Any, tuple[str, ...]]:
    names = check_zip(path, expected=KERAS_FILE)
    if "config.json" not in names:
        raise damaged(path, "it has no config.json", expected=KERAS_FILE)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise damaged(path, error, expected=KERAS_FILE) from error
    refuse_code(config, path.name)
    notes = _repair(config)
    if not notes:
        return _load(path, path), notes
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "repaired.keras")
        _copy_archive(path, copy, config)
        return _load(copy, path), notes


def _copy_archive(path: Path, copy: Path, config: Config) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for member in source.infolist():
            content = json.dumps(config) if member.filename == "config.json" else source.read(member)
            target.writestr(member.filename, content)


def _load_h5(path: Path) -> tuple[Any, tuple[str, ...]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_h5(file, path)
            raw = file.attrs.get("model_config")
            config = None if raw is None else json.loads(raw)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise damaged(path, error, expected=H5_FILE) from error
    if not isinstance(config, dict):
        raise ModelRefused(
            f"{path.name} holds weights but no model",
            expected=H5_FILE,
            remedy="build the model, load_weights() this file into it and save it whole: model.save('model.keras')",
        )
    refuse_code(config, path.name)
    notes = _repair(config)
    if not notes:
        return _load(path, path), notes
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "repaired.h5")
        with h5py.File(path, "r") as source, h5py.File(copy, "w") as target:
            source.copy("model_weights", target)
            target.attrs["model_config"] = json.dumps(config)
        return _load(copy, path), notes


def _check_h5(group: Any, path: Path) -> None:
    """Refuse links to other files and data sets that unpack to far more than they store."""
    import h5py

    for name in group:
        item = None if _is_link(group, name) else group[name]
        problem = "is a link" if item is None else None
        if isinstance(item, h5py.Dataset):
            stored = item.id.get_storage_size()
            if item.external or item.is_virtual:
                problem = "lies in another file"
            elif item.nbytes > BOMB_FLOOR_BYTES and item.nbytes > BOMB_RATIO * max(stored, 1):
                problem = f"unpacks from {stored:,} to {item.nbytes:,} bytes, a decompression bomb"
        if problem:
            raise ModelRefused(f"{path.name}: {group.name}/{name} {problem}", expected=H5_FILE)
        if isinstance(item, h5py.Group):
            _check_h5(item, path)


def _is_link(group: Any, name: str) -> bool:
    import h5py

    return isinstance(group.get(name, getlink=True), (h5py.SoftLink, h5py.ExternalLink))


def _repair(config: Config) -> tuple[str, ...]:
    keras = import_keras()

    def layer_class(name: str) -> type | None:
        found = getattr(keras.layers, name, None)
        return found if isinstance(found, type) else None

    return repair(config, layer_class)


def _load(file: Path, shown: Path) -> Any:
    """Load with Keras; its many exceptions become one refusal."""
    keras = import_keras()
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        # Keras quotes the whole configuration around what went wrong in a layer.
        _, in_layer, text = str(error).rpartition("Exception encountered:")
        if any(mark in text for mark in CUSTOM_OBJECT_MARKS):
            raise ModelRefused(
                f"{shown.name} needs a custom object: {first_line(text.partition(' Make sure ')[0])}",
                expected="layers of Keras itself",
                remedy="import the code that registers it and use edgekit.convert(model, …) from Python, "
                "or export the model with model.export(folder) and convert that folder",
            ) from error
        if in_layer:
            raise ModelRefused(
                f"{shown.name}: {first_line(text)}",
                expected=f"layers as Keras {keras.__version__} has them",
                remedy="load it in the Keras that wrote it and export it there: model.export(folder), or "
                "tf.saved_model.save(model, folder)",
            ) from error
        expected = KERAS_FILE if shown.suffix == ".keras" else H5_FILE
        raise damaged(shown, error, expected=f"{expected}, readable by Keras {keras.__version__}") from error


def open_keras_model(model: Any, options: SourceOptions) -> KerasSource:
    """Take a live ``keras.Model``. Raises UsageError for one of ``tf_keras``, which is another library."""
    if not isinstance(model, import_keras().Model):
        raise UsageError(
            f"a {type(model).__module__}.{type(model).__qualname__}",
            expected="a keras.Model of Keras 3",
            remedy="save it as .h5 or export a SavedModel, and convert that",
        )
    return KerasSource(model, options)
