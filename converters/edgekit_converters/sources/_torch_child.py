"""Open a trusted pickle in a child process; the parent reads only what comes back as plain tensors.

The child is no sandbox: the pickle's code runs with the user's rights, which ``--trust-pickle`` grants. It keeps
that code, and whatever it does to the interpreter, out of the process that converts and judges.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import errors
from edgekit.errors import EdgeKitError, ModelRefused
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._quiet import import_torch
from edgekit_converters.sources.base import InputHint, SourceOptions

if TYPE_CHECKING:
    from edgekit_converters.sources.pytorch import PyTorchSource


def module_in_child(path: Path, options: SourceOptions) -> PyTorchSource:
    """Have a child unpickle a module and export it; open the exported program here.

    Args:
        path: Pickled module, trusted by the user.
        options: With the input shapes.

    Raises:
        UsageError: The input shapes are missing.
        ModelRefused: The child failed.
    """
    from edgekit_converters.sources._torch_graph import Exportable
    from edgekit_converters.sources._torch_pt2 import load_exported, program_inputs, program_module
    from edgekit_converters.sources.pytorch import PyTorchSource

    with tempfile.TemporaryDirectory() as folder:
        about = _ask(path, Path(folder), "module", options.inputs)
        program = load_exported(Path(folder, "model.pt2"))
    inputs, call = program_inputs(program)
    named = dataclasses.replace(inputs, names=tuple(about["inputs"]))
    note = f"{path.name} is a pickled module: its code ran in a child process, as --trust-pickle allows"
    return PyTorchSource(
        Exportable(program_module(program), (), call),
        named,
        name=path.stem,
        path=path,
        notes=(note, *about["notes"]),
        output_names=tuple(about["outputs"]),
    )


def weights_in_child(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Have a child unpickle a checkpoint and hand its tensors back. Raises ModelRefused when it failed."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        about = _ask(path, Path(folder), "weights", ())
        state = load_file(Path(folder, "weights.safetensors"))
    note = f"{path.name} is a pickle: its code ran in a child process, as --trust-pickle allows"
    return state, (note, *about["notes"])


def _ask(path: Path, folder: Path, wanted: str, hints: tuple[InputHint, ...]) -> dict[str, Any]:
    request = {"path": str(path.resolve()), "wanted": wanted, "hints": [dataclasses.asdict(hint) for hint in hints]}
    Path(folder, "request.json").write_text(json.dumps(request), encoding="utf-8")
    # Not captured by a pipe of the result: the code may print what it likes.
    done = subprocess.run(
        [sys.executable, "-m", "edgekit_converters.sources._torch_child", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    answer = Path(folder, "answer.json")
    if not answer.is_file():
        raise ModelRefused(
            f"{path.name}: the child process that opened it ended with status {done.returncode}: "
            f"{first_line((done.stderr.strip().splitlines() or ['no message'])[-1])}",
            expected="a pickled torch.nn.Module or checkpoint",
        )
    about: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in about:
        kind = getattr(errors, about["error"], ModelRefused)
        raise kind(about["received"], expected=about["expected"], remedy=about["remedy"])
    return about


def main(folder: Path) -> None:
    """Run in the child: open the pickle, write what was asked for and ``answer.json``."""
    request = json.loads(Path(folder, "request.json").read_text(encoding="utf-8"))
    try:
        answer = _serve(request, folder)
    except EdgeKitError as error:
        answer = {
            "error": type(error).__name__,
            "received": error.received,
            "expected": error.expected,
            "remedy": error.remedy,
        }
    Path(folder, "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _serve(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    path = Path(request["path"])
    loaded = _unpickle(path)
    if request["wanted"] == "weights":
        return _write_weights(loaded, path, folder)
    hints = tuple(InputHint(tuple(hint["shape"]), hint["name"], hint["dtype"]) for hint in request["hints"])
    return _write_program(loaded, path, SourceOptions(inputs=hints), folder)


def _unpickle(path: Path) -> Any:
    torch = import_torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise ModelRefused(
            f"{path.name} cannot be unpickled: {type(error).__name__}: {first_line(error)}",
            expected="a pickled module whose classes can be imported",
            remedy="run from the folder that holds the model's code",
        ) from error


def _write_weights(loaded: Any, path: Path, folder: Path) -> dict[str, Any]:
    from safetensors.torch import save_file

    from edgekit_converters.sources._torch_weights import unwrap

    torch = import_torch()
    whole = loaded.state_dict() if isinstance(loaded, torch.nn.Module) else loaded
    state, notes = unwrap(whole, path)
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, folder / "weights.safetensors"
    )
    return {"notes": notes}


def _write_program(loaded: Any, path: Path, options: SourceOptions, folder: Path) -> dict[str, Any]:
    from edgekit_converters.sources.pytorch import open_torch_module

    torch = import_torch()
    if not isinstance(loaded, torch.nn.Module):
        raise ModelRefused(
            f"{path.name} holds a {type(loaded).__name__}, not a module",
            expected="a pickled torch.nn.Module",
            remedy=f"name what builds the model: edgekit convert package.module:factory --weights {path.name}",
        )
    source = open_torch_module(loaded, options)
    shapes = source.dynamic_shapes()
    try:
        program = torch.export.export(source.exportable, source.examples(2 if shapes else 1), dynamic_shapes=shapes)
    except Exception as error:
        raise ModelRefused(
            f"{path.name}: torch.export cannot trace the module: {type(error).__name__}: {first_line(error)}",
            expected="a module that torch.export takes",
            remedy="name the module's factory and give its state dict as --weights",
        ) from error
    torch.export.save(program, folder / "model.pt2")
    return {
        "inputs": [tensor.name for tensor in source.inputs],
        "outputs": [tensor.name for tensor in source.outputs],
        "notes": source.notes,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
