"""A `.tflite` file as C source: the bytes as an array, with what a program needs to feed it and to read its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.bundle import file_sha256
from edgekit.engine import TensorInfo
from edgekit.errors import UsageError
from edgekit.isolate import EngineProcess
from edgekit_converters.exporting.arena import activation_bytes

_IN_A_LINE = 16
_KEYWORD = re.compile(
    "alignas|alignof|asm|auto|bool|break|case|catch|char|class|const|constexpr|continue|default|delete|do|"
    "double|else|enum|explicit|export|extern|false|float|for|friend|goto|if|inline|int|long|mutable|"
    "namespace|new|noexcept|nullptr|operator|private|protected|public|register|restrict|return|short|signed|"
    "sizeof|static|struct|switch|template|this|throw|true|try|typedef|typename|union|unsigned|using|virtual|"
    "void|volatile|while|xor|and|or|not"
)


@dataclass(frozen=True)
class CModel:
    """What is written.

    Attributes:
        path: The `.tflite` file.
        name: Identifier in C; macros have it in capitals.
        labels: Class names, if there are any.
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()


def identifier(name: str) -> str:
    """Turn a model's name into an identifier of C and C++: ``kws-v2`` becomes ``kws_v2``."""
    base = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower() or "model"
    return f"model_{base}" if base[0].isdigit() or _KEYWORD.fullmatch(base) else base


def c_texts(model: CModel, header: str) -> tuple[str, str]:
    """Return the header and the source, valid in C11 and C++11; the same model always gives the same text.

    Args:
        model: The file and its name.
        header: File name of the header, which the source includes.

    Raises:
        UsageError: The name is no identifier.
        ModelRefused: The file cannot be loaded.
    """
    if model.name != identifier(model.name):
        raise UsageError(f"--name {model.name!r}", expected=f"an identifier of C, such as {identifier(model.name)}")
    return "\n".join(_header(model)) + "\n", "\n".join(_source(model, header)) + "\n"


def _header(model: CModel) -> Iterator[str]:
    capitals, size = model.name.upper(), model.path.stat().st_size
    yield f"// {_plain(model.path.name)}, {size} bytes, as written by edgekit export"
    yield f"// SHA-256 {file_sha256(model.path)}"
    yield from (f"#ifndef {capitals}_H_", f"#define {capitals}_H_", "")
    yield f"#define {capitals}_BYTES {size}"
    live = activation_bytes(model.path)
    if live is not None:
        yield "// Largest sum of tensors alive at once: the tensor arena has to be larger than this."
        yield f"#define {capitals}_ACTIVATION_BYTES {live}"
    with EngineProcess(model.path) as engine:
        inputs, outputs = engine.inputs, engine.outputs
    for kind, tensors in (("INPUT", inputs), ("OUTPUT", outputs)):
        yield from ("", f"#define {capitals}_{kind}_COUNT {len(tensors)}")
        for place, info in enumerate(tensors):
            yield from _tensor(f"{capitals}_{kind}_{place}", info)
    if model.labels:
        yield from ("", f"#define {capitals}_LABEL_COUNT {len(model.labels)}")
    yield from ("", "#ifdef __cplusplus", 'extern "C" {', "#endif")
    yield f"extern const unsigned char {model.name}[{capitals}_BYTES];"
    if model.labels:
        yield f"extern const char *const {model.name}_labels[{capitals}_LABEL_COUNT];"
    yield from ("#ifdef __cplusplus", "}", "#endif", "", f"#endif  // {capitals}_H_")


def _tensor(prefix: str, info: TensorInfo) -> Iterator[str]:
    """Constants of an input or output: real value = (stored - ZERO_POINT) * SCALE."""
    shape = " x ".join(str(size) if size is not None else "any" for size in info.shape)
    yield f"// {_plain(info.name)}: {info.dtype}, {shape or 'one number'}"
    if all(size is not None for size in info.shape[1:]):
        yield f"#define {prefix}_ELEMENTS {int(np.prod([size or 1 for size in info.shape], dtype=np.int64))}"
    if info.scale is not None:
        yield f"#define {prefix}_SCALE {np.format_float_scientific(np.float32(info.scale), trim='0')}f"
        yield f"#define {prefix}_ZERO_POINT ({info.zero_point})"


def _source(model: CModel, header: str) -> Iterator[str]:
    capitals, content = model.name.upper(), model.path.read_bytes()
    yield from (f'#include "{header}"', "", "#ifndef __cplusplus", "#include <stdalign.h>", "#endif", "")
    yield f"alignas(16) const unsigned char {model.name}[{capitals}_BYTES] = {{"
    for start in range(0, len(content), _IN_A_LINE):
        yield "  " + "".join(f"0x{byte:02x}," for byte in content[start : start + _IN_A_LINE])
    yield "};"
    if model.labels:
        yield from ("", f"const char *const {model.name}_labels[{capitals}_LABEL_COUNT] = {{")
        yield from (f"  {c_string(label)}," for label in model.labels)
        yield "};"


def c_string(text: str) -> str:
    """A string literal of UTF-8; anything but plain characters in octal, which ends after three digits."""
    return '"' + "".join(chr(byte) if _is_plain(byte) else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _is_plain(byte: int) -> bool:
    return 32 <= byte < 127 and chr(byte) not in '"\\?'  # ?? begins a trigraph


def _plain(text: str) -> str:
    """Text for a comment: a backslash at its end would take in the next line."""
    return "".join(char if char.isprintable() and char not in "\\?" else "_" for char in text)


def names_of(out: Path) -> tuple[Path, Path]:
    """Paths of header and source for ``-o``: ``.h`` with a ``.c``, or ``.hpp`` with a ``.cpp``.

    Raises:
        UsageError: Another ending.
    """
    sources: Sequence[tuple[str, str]] = ((".h", ".c"), (".hpp", ".cpp"), (".hh", ".cc"))
    for ending, source in sources:
        if out.suffix == ending:
            return out, out.with_suffix(source)
    raise UsageError(f"-o {out}", expected="a header, such as model.h; the array is written to model.c beside it")
