"""TensorFlow SavedModel folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.errors import ModelRefused, UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.sources._files import damaged, first_line, size_of
from edgekit_converters.sources._quiet import import_tensorflow
from edgekit_converters.sources._tensors import (
    image_layout,
    match_hints,
    ordered_feeds,
    refine_shape,
    to_answer,
)
from edgekit_converters.sources.base import Source, SourceOptions

SAVED_MODEL = "a TensorFlow 2 SavedModel folder with a serving signature"
DEFAULT_SIGNATURE = "serving_default"
# Operators that run Python or touch files of this machine when the graph runs.
UNSAFE_OPERATORS = frozenset(
    (
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "ImmutableConst"),
        *("DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "PrintV2", "SaveDataset", "SaveDatasetV2"),
    )
)


class SavedModelSource(Source):
    """An open SavedModel signature.

    Attributes:
        signature: Name of the signature.
        function: The signature's ``ConcreteFunction``: keyword tensors in, dictionary out.
        folder: Folder that today's TensorFlow loads: ``path``, or a copy without an old optimizer's state.
    """

    framework: ClassVar[str] = "savedmodel"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        tensorflow = import_tensorflow()
        _check_links(path)
        saved = _read(path)
        _check_graph(saved, path)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.path, self.name = path, path.name
        self.folder, self.notes = self._loadable(saved, path)
        try:
            self._loaded = tensorflow.saved_model.load(str(self.folder))
        except Exception as error:
            self.close()
            raise damaged(path, error, expected=SAVED_MODEL) from error
        self.signature, self.function = _choose(self._loaded, path, options.signature)
        self._describe(options)
        self.parameters = sum(int(np.prod(variable.shape)) for variable in _variables(self._loaded, self.function))
        self.size_bytes = size_of(path)

    def _loadable(self, saved: Any, path: Path) -> tuple[Path, tuple[str, ...]]:
        """Leave the optimizer's state out: Keras 3 no longer has the classes that held it."""
        nodes = saved.meta_graphs[0].object_graph_def.nodes
        slots = sum(len(node.slot_variables) for node in nodes)
        if not slots:
            return path, ()
        for node in nodes:
            del node.slot_variables[:]
        self._temporary = tempfile.TemporaryDirectory(prefix="edgekit-savedmodel-")
        folder = Path(self._temporary.name, path.name)
        folder.mkdir()
        for item in path.iterdir():
            if item.name not in ("saved_model.pb", "fingerprint.pb"):
                Path(folder, item.name).symlink_to(item.resolve())
        Path(folder, "saved_model.pb").write_bytes(saved.SerializeToString())
        return folder, (f"{slots} tensors of the optimizer's state left out, of no use after training",)

    def _describe(self, options: SourceOptions) -> None:
        arguments = dict(self.function.structured_input_signature[1])
        given = match_hints(list(arguments), options.inputs)
        for name, tensor in arguments.items():
            if given.get(name) and given[name].dtype not in (None, tensor.dtype.name):
                raise UsageError(f"dtype {given[name].dtype} for {name!r}", expected=tensor.dtype.name)
        self.inputs = tuple(
            _spec(name, refine_shape(name, _shape(tensor, name), given.get(name)), tensor)
            for name, tensor in arguments.items()
        )
        outputs = self.function.structured_outputs
        self.outputs = tuple(_spec(name, _shape(tensor, name), tensor) for name, tensor in outputs.items())

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does; see :meth:`Source.run`."""
        tensorflow = import_tensorflow()
        arrays = ordered_feeds(self.inputs, feeds)
        tensors = {spec.name: tensorflow.constant(array) for spec, array in zip(self.inputs, arrays, strict=True)}
        answers = self.function(**tensors)
        return {spec.name: to_answer(answers[spec.name].numpy()) for spec in self.outputs}

    def close(self) -> None:
        """Remove the temporary copy, if there is one."""
        if self._temporary is not None:
            self._temporary.cleanup()


def _check_links(path: Path) -> None:
    """Refuse links out of the folder: what is converted must be what was handed over."""
    root = path.resolve()
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            item = Path(folder, name)
            if item.is_symlink() and root not in item.resolve().parents:
                raise ModelRefused(
                    f"{path.name}: {item.relative_to(path)} is a link out of the folder",
                    expected=SAVED_MODEL,
                    remedy="copy the file itself into the folder",
                )


def _read(path: Path) -> Any:
    import_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except Exception as error:
        raise damaged(file, error, expected=SAVED_MODEL) from error
    if not saved.meta_graphs:
        raise damaged(file, "it holds no graph", expected=SAVED_MODEL)
    return saved


def _check_graph(saved: Any, path: Path) -> None:
    graph = saved.meta_graphs[0]
    if not graph.HasField("object_graph_def"):
        version = graph.meta_info_def.tensorflow_version or "1"
        raise ModelRefused(
            f"{path.name} was written by TensorFlow {version} without objects (a TF1 SavedModel)",
            expected=SAVED_MODEL,
            remedy="load it with tf.compat.v2.saved_model.load and write it again with tf.saved_model.save",
        )
    for asset in graph.asset_file_def:
        name = PurePosixPath(asset.filename)
        if name.is_absolute() or ".." in name.parts:
            raise ModelRefused(
                f"{path.name}: asset {asset.filename!r} lies outside of the folder", expected=SAVED_MODEL
            )
    unsafe = sorted({operator for operator in _operators(graph.graph_def) if operator in UNSAFE_OPERATORS})
    if unsafe:
        raise ModelRefused(
            f"{path.name} uses {', '.join(unsafe)}, which run Python or touch files of this machine",
            expected="a graph that only computes",
            remedy="export the model without them",
        )
    variables = path / "variables"
    if not any(variables.glob("*.index")) or not any(variables.glob("*.data-*")):
        raise ModelRefused(
            f"{path.name} ({size_of(path):,} bytes) has no complete variables folder",
            expected=SAVED_MODEL,
            remedy="copy the folder again, with its variables/ beside saved_model.pb",
        )


def _operators(graph_def: Any) -> Iterator[str]:
    for node in graph_def.node:
        yield node.op
    for function in graph_def.library.function:
        for node in function.node_def:
            yield node.op


def _choose(loaded: Any, path: Path, wanted: str | None) -> tuple[str, Any]:
    signatures = dict(getattr(loaded, "signatures", {}))
    if not signatures:
        raise ModelRefused(
            f"{path.name} has no signatures",
            expected=SAVED_MODEL,
            remedy="export it with model.export(folder), or tf.saved_model.save(model, folder, signatures=function)",
        )
    name = wanted or (
        DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures or len(signatures) > 1 else next(iter(signatures))
    )
    if name not in signatures:
        raise UsageError(
            f"no signature {name!r} in {path.name}", expected=", ".join(sorted(signatures)), remedy="pass --signature"
        )
    return name, signatures[name]


def _shape(tensor: Any, name: str) -> tuple[int | None, ...]:
    if tensor.shape.rank is None:
        raise ModelRefused(
            f"{name!r} has no fixed number of dimensions",
            expected="a signature with shapes",
            remedy="export it with an input_signature",
        )
    return tuple(tensor.shape.as_list())


def _spec(name: str, shape: tuple[int | None, ...], tensor: Any) -> TensorSpec:
    dtype = tensor.dtype.name
    if dtype == "string":
        raise ModelRefused(
            f"{name!r} is a string tensor",
            expected="numbers: devices do not split text inside of the model",
            remedy="choose another --signature, or export the part after the text layers",
        )
    return TensorSpec(name, shape, dtype, image_layout(shape, dtype, "NHWC"))


def _variables(loaded: Any, function: Any) -> list[Any]:
    """The signature's variables; where a signature does not list them, those of the whole model."""
    found = list(getattr(function, "variables", ())) or list(getattr(loaded, "variables", ()))
    return [variable for variable in found if variable.dtype.is_floating]


def open_saved_model(path: Path, options: SourceOptions) -> SavedModelSource:
    """Open a SavedModel folder.

    Raises:
        ModelRefused: It is damaged, of TensorFlow 1, without signatures, or reaches outside of its folder.
        UsageError: There is no such signature.
    """
    if not (path / "saved_model.pb").is_file():
        inside = first_line(", ".join(sorted(item.name for item in path.iterdir())[:5]) or "nothing")
        raise ModelRefused(f"folder {path.name} holds {inside}", expected=SAVED_MODEL)
    return SavedModelSource(path, options)
