"""Read PyTorch weights without running a pickle's code, and put them into a module.

Imports torch when imported; ``pytorch`` imports it late.
"""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgekit.errors import ModelRefused
from edgekit_converters.sources._archive import check_zip
from edgekit_converters.sources._files import damaged, first_line

WEIGHTS_FILE = "weights as a .safetensors file or a state dict saved with torch.save()"
ZIP_HEAD, PICKLE_PROTOCOL = b"PK\x03\x04", b"\x80"
LEGACY_PICKLES = 5  # magic number, version, machine, what was saved, names of the storages
STATE_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "ema")
EXPORT_REMEDY = (
    "where the module's code is: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2'), "
    "and convert that .pt2"
)

State = dict[str, Any]


class CodeRefused(ModelRefused):
    """A pickle that would run code; with the user's trust a child process may still open it."""


def read_weights(path: Path) -> tuple[State, tuple[str, ...]]:
    """Read a state dict.

    Args:
        path: ``.safetensors``, or a file written by ``torch.save``.

    Returns:
        Name -> tensor, and what was unwrapped or left out.

    Raises:
        CodeRefused: The file would run code to be read.
        ModelRefused: It is damaged, or holds no weights.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path), ()
    return unwrap(read_checkpoint(path), path)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        loaded: State = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error, expected="a complete .safetensors file") from error
    return loaded


def read_checkpoint(path: Path) -> Any:
    """Read a file of ``torch.save`` with ``weights_only=True``: tensors and plain containers, no code.

    Raises:
        CodeRefused: It names classes or functions other than tensors, e.g. a whole pickled module.
        ModelRefused: It is TorchScript, or damaged.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "the file is empty", expected=WEIGHTS_FILE)
    with path.open("rb") as file:
        head = file.read(4)
    if head == ZIP_HEAD:
        _refuse_torchscript(path, check_zip(path, expected=WEIGHTS_FILE))
    try:
        with warnings.catch_warnings():  # torch's warning of pickle protocols that it then refuses
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (
            None if _is_cut(path) else _why_code(str(error), is_pickle=head == ZIP_HEAD or head[:1] == PICKLE_PROTOCOL)
        )
        if reason:
            raise CodeRefused(
                f"{path.name} is a pickle that runs code when it is opened; it was not opened ({reason})",
                expected=WEIGHTS_FILE,
                remedy="save model.state_dict() instead and name the module's factory, or, if you trust whoever made "
                "the file, pass --trust-pickle: it is then opened in a child process",
            ) from error
        raise damaged(path, error, expected=WEIGHTS_FILE) from error


def _is_cut(path: Path) -> bool:
    """Whether a file of before PyTorch 1.6, a row of pickles, ends within one of them: half a name looks unsafe."""
    with path.open("rb") as file:
        if file.read(1) != PICKLE_PROTOCOL:
            return False
        file.seek(0)
        for _ in range(LEGACY_PICKLES):
            try:
                deque(pickletools.genops(file), maxlen=0)  # reads the instructions, runs none
            except ValueError:
                return file.tell() == path.stat().st_size
            if file.tell() == path.stat().st_size:
                break
    return False


def _why_code(message: str, *, is_pickle: bool) -> str | None:
    """What PyTorch's restricted unpickler stopped at; ``None`` where the file is only damaged."""
    found = re.search(r"unsupported (class|global).*|.*allowlisted.*", message, re.IGNORECASE)
    if not found and is_pickle:  # an instruction of a newer pickle protocol; in garbage, any byte
        found = re.search("Unsupported operand.*", message)
    return first_line(found[0].partition(". Please")[0], 160) if found else None


def _refuse_torchscript(path: Path, names: list[str]) -> None:
    if any(name.partition("/")[2].startswith("code/") for name in names) and any("constants.pkl" in n for n in names):
        raise ModelRefused(
            f"{path.name} is a TorchScript archive",
            expected="a module's factory with its weights, or an exported program (.pt2)",
            remedy=EXPORT_REMEDY,
        )


def is_exported_program(path: Path) -> bool:
    """Whether a file is a ``torch.export`` archive, whatever its suffix."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(
            name.endswith(("models/model.json", "serialized_exported_program.json")) for name in archive.namelist()
        )


def unwrap(loaded: Any, path: Path) -> tuple[State, tuple[str, ...]]:
    """Find the state dict in a checkpoint.

    Raises:
        ModelRefused: No tensors in it.
    """
    notes: list[str] = []
    for key in STATE_KEYS:
        inner = loaded.get(key) if isinstance(loaded, Mapping) else None
        if isinstance(inner, Mapping) and any(isinstance(value, torch.Tensor) for value in inner.values()):
            notes.append(f"weights taken from {key!r} of the checkpoint {path.name}")
            loaded = inner
            break
    tensors = _tensors(loaded)
    if not tensors:
        raise ModelRefused(f"{path.name} holds no tensors by name ({type(loaded).__name__})", expected=WEIGHTS_FILE)
    others = [str(key) for key in loaded if key not in tensors]
    if others:
        notes.append(f"left out of {path.name}, no tensors: {', '.join(others[:5])}")
    return tensors, tuple(notes)


def _tensors(loaded: Any) -> State:
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    return {key: value for key, value in items if isinstance(key, str) and isinstance(value, torch.Tensor)}


def put_weights(module: Any, state: State, file: str) -> tuple[str, ...]:
    """Load a state dict into a module, completely or not at all.

    A first part that all keys have and the module does not (``module.`` of DataParallel, ``_orig_mod.`` of
    torch.compile) is taken off.

    Returns:
        What was taken off or assumed.

    Raises:
        ModelRefused: Missing, unexpected or wrongly shaped weights, listed.
    """
    own = module.state_dict()
    state, notes = _without_prefix(state, own)
    shared = {(tensor.data_ptr(), tuple(tensor.shape)) for name, tensor in own.items() if name in state}
    counters = [name for name in own if name not in state and name.endswith("num_batches_tracked")]
    missing = [
        name
        for name, tensor in own.items()
        if name not in state and name not in counters and (tensor.data_ptr(), tuple(tensor.shape)) not in shared
    ]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} {list(tensor.shape)} for {list(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and tensor.shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ModelRefused(
            f"{file} does not fit {type(module).__name__}: {'; '.join(problems)}",
            expected=f"the {len(own)} tensors of its state_dict()",
            remedy="check that the factory builds the architecture, and the number of classes, that was trained",
        )
    module.load_state_dict(state, strict=False)
    return notes


def _without_prefix(state: State, own: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    notes: list[str] = []
    while state and not any(name in own for name in state):
        prefixes = {name.partition(".")[0] for name in state}
        if len(prefixes) != 1 or not all("." in name for name in state):
            break
        prefix = f"{prefixes.pop()}."
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        notes.append(f"{prefix!r} taken off the names of the weights")
    return state, tuple(notes)
