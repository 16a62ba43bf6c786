"""Open an exported program (``.pt2``) without running anything out of it.

PyTorch's own documentation says not to load one from an untrusted place: tensors may be pickled, constants may be
pickled objects, size expressions go through ``sympify`` (which evaluates Python), operators are looked up by
any dotted name under ``torch``, and a compiled library inside is loaded. None of that is needed for a
plain exported model, so an archive with any of it is refused before PyTorch sees it.
"""

from __future__ import annotations

import json
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_unflatten

from edgekit.errors import ModelRefused
from edgekit_converters.sources._archive import check_zip
from edgekit_converters.sources._files import damaged
from edgekit_converters.sources._torch_graph import Inputs

PT2_FILE = "an exported program as torch.export.save() writes it"
NAME = r"(?!__)[A-Za-z_]\w*"
# The _operator module also holds call, attrgetter and methodcaller, which reach anything.
ARITHMETIC = (
    "abs add and_ eq floordiv ge getitem gt index inv invert le lshift lt mod mul ne neg not_ or_ pos pow rshift "
    "sub truediv xor"
)
OPERATOR = re.compile(
    rf"torch\.ops\.(?!load_library|import_module|loaded_libraries){NAME}\.{NAME}(\.{NAME})?"
    r"|torch\.ops\.aten\.__(and|or|xor|lshift|rshift)__\.(Tensor|Scalar)"
    rf"|_operator\.({ARITHMETIC.replace(' ', '|')})|math\.[a-z]\w*|torch\.(sym_\w+|_sym_\w+)"
)
# Symbol('s77', positive=True, integer=True), arithmetic, comparisons and functions such as Max(s0, 2).
SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=(True|False))*\)")
EXPRESSION = re.compile(r"[\w\s+\-*/%(),<>=&|~]*|(\d+\.\d*)")
UNUSUAL_CONTAINERS = ("default_factory_module", "__enum__")

_environment = threading.Lock()


def load_exported(path: Path) -> Any:
    """Return the ``ExportedProgram`` of a ``.pt2`` file.

    Raises:
        ModelRefused: It is damaged, or carries anything that could run code.
    """
    names = check_zip(path, expected=PT2_FILE)
    try:
        _check_content(path, names)
        with _weights_only():
            return torch.export.load(BytesIO(path.read_bytes()))
    except ModelRefused:
        raise
    except Exception as error:
        raise damaged(path, error, expected=f"{PT2_FILE} (torch {torch.__version__} reads it here)") from error


def program_module(program: Any) -> Any:
    """The module of an ``ExportedProgram``.

    It is what it was when it was exported, for training or not, and PyTorch lets nobody ask it to change. Its own ONNX
    exporter asks for evaluation and back, which changes nothing here.
    """
    module = program.module()
    module.train = lambda mode=True: module
    module.eval = lambda: module
    return module


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make every ``torch.load`` that the loader does refuse code: it asks for ``weights_only=False`` itself."""
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    with _environment:
        before = os.environ.get(key)
        os.environ[key] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[key]
            else:
                os.environ[key] = before


def _check_content(path: Path, names: list[str]) -> None:
    roots = {name.partition("/")[0] for name in names if "/" in name}
    if len(roots) > 1 and any(name.endswith("archive_format") for name in names):
        raise _refused(path, f"several roots {sorted(roots)}")
    with zipfile.ZipFile(path) as archive:
        for name in names:
            inside = name.partition("/")[2]
            if inside.startswith("data/aotinductor/") or name.endswith((".so", ".dll", ".dylib")):
                raise _refused(path, f"compiled code ({name})")
            if inside.startswith("data/constants/") and not re.search(r"/(tensor_\d+|[^/]*\.json|[^/]*\.pt)$", name):
                raise _refused(path, f"a pickled object ({name})")
            if name.endswith(".json"):
                _check_json(path, name, archive.read(name))
            elif name.endswith(".pt"):
                _check_pickle(path, name, archive.read(name))


def _check_pickle(path: Path, name: str, content: bytes) -> None:
    if content:
        try:
            torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:
            raise _refused(path, f"a pickle with code ({name})") from error


def _check_json(path: Path, name: str, content: bytes) -> None:
    text = content.decode("utf-8")
    for word in UNUSUAL_CONTAINERS:
        if word in text:
            raise _refused(path, f"a container that imports modules ({word} in {name})")
    for key, value in _strings(json.loads(text)):
        if key == "target" and not OPERATOR.fullmatch(value):
            raise _refused(path, f"the operator {value!r}")
        if key == "expr_str" and not EXPRESSION.fullmatch(SYMBOL.sub("s", value)):
            raise _refused(path, f"the size expression {value!r}")
        if key == "path_name" and ("custom_obj" in value or "opaque_obj" in value):
            raise _refused(path, f"a pickled object ({value})")


def _strings(node: object) -> Iterator[tuple[str, str]]:
    """Every string under a key, at any depth."""
    if isinstance(node, list):
        for item in node:
            yield from _strings(item)
    if isinstance(node, dict):
        for key, value in node.items():
            # A mapping of user names (buffers, modules) may use the same words as keys for other things.
            if isinstance(value, str):
                yield key, value
            else:
                yield from _strings(value)


def _refused(path: Path, what: str) -> ModelRefused:
    return ModelRefused(
        f"{path.name} carries {what}, which could run code; it was not opened",
        expected="an exported program of plain tensors and operators",
        remedy="export the model again: torch.export.save(torch.export.export(model, (example,)), 'model.pt2')",
    )


def program_inputs(program: Any) -> tuple[Inputs, Callable[..., Any]]:
    """Describe a program's tensor inputs, and how to call its module with them.

    Args:
        program: The ``ExportedProgram``.

    Returns:
        The inputs, and a function from ``(module, *tensors)`` to the module's answer.

    Raises:
        ModelRefused: An input is no tensor, or a dimension other than the batch is open.
    """
    places = [node for node in program.graph.nodes if node.op == "placeholder"]
    users = [node for node in places if node.name in program.graph_signature.user_inputs]
    values = [node.meta.get("val") for node in users]
    if not users or not all(isinstance(value, torch.Tensor) for value in values):
        raise ModelRefused("the exported program takes something else than tensors", expected="tensors only")
    shapes = [_shape(node.name, value.shape) for node, value in zip(users, values, strict=True)]
    names = tuple(node.name for node in users)
    dtypes = tuple(str(value.dtype).removeprefix("torch.") for value in values)
    structure = program.call_spec.in_spec

    def call(module: Any, *tensors: Any) -> Any:
        arguments, keywords = tree_unflatten(list(tensors), structure)
        return module(*arguments, **keywords)

    if structure.num_leaves != len(users):
        raise ModelRefused("the exported program takes something else than tensors", expected="tensors only")
    return Inputs(names, names, tuple(shapes), dtypes), call


def _shape(name: str, sizes: Any) -> tuple[int | None, ...]:
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    if None in shape[1:]:
        raise ModelRefused(
            f"input {name!r} of the exported program has open dimensions {shape}",
            expected="only the first dimension, the batch, open",
            remedy="export it with fixed sizes for the device",
        )
    return shape
