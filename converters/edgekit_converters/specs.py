"""Complete what the user said with what the model says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import DataRefused, SpecRefused, UsageError
from edgekit.presets import preset
from edgekit.spec import Layout, Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_class
from edgekit_converters.sources.base import InputHint, Source

TOKENIZER = "tokenizer.json"


def parse_hint(text: str | Sequence[int]) -> InputHint:
    """Read ``[NAME=]1,3,224,224[:DTYPE]`` or a sequence of sizes; ``-1`` or ``?`` is a dynamic dimension.

    Raises:
        UsageError: It is none of these.
    """
    if not isinstance(text, str):
        return InputHint(tuple(None if size in (-1, None) else int(size) for size in text))
    name, separator, rest = text.rpartition("=")
    sizes, _, dtype = rest.partition(":")
    try:
        shape = tuple(None if size.strip() in ("-1", "?") else int(size) for size in sizes.split(","))
    except ValueError as error:
        raise UsageError(
            f"--input-shape {text!r}", expected="[NAME=]SIZES[:DTYPE], e.g. 1,3,224,224 or input_ids=1,128:int64"
        ) from error
    return InputHint(shape, name if separator else None, dtype or None)


def hints_of(spec: Spec | None) -> tuple[InputHint, ...]:
    """Input hints from a spec that names its inputs."""
    return tuple(InputHint(tensor.shape, tensor.name, tensor.dtype) for tensor in spec.inputs) if spec else ()


def read_labels(labels: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Class names from a text file with one a line, or as given. Raises DataRefused for an unreadable file."""
    if labels is None:
        return None
    if not isinstance(labels, (str, Path)):
        return tuple(labels)
    try:
        lines = Path(labels).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"--labels {labels}: {error}", expected="a UTF-8 text file, one class a line") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)


def partial_spec(preset_name: str | None, spec: Spec | str | Path | None) -> Spec | None:
    """What the user said: a preset, a TOML file or a spec; ``None`` for nothing."""
    if preset_name and spec is not None:
        raise UsageError("both --preset and --spec", expected="one of them")
    if preset_name:
        return preset(preset_name)
    if spec is None:
        return None
    return spec if isinstance(spec, Spec) else Spec.from_toml(Path(spec))


def written_spec(
    said: Spec | None, source: Source, labels: tuple[str, ...] | None, tokenizer: Path | None, folder: Path
) -> Spec:
    """Complete the spec and write the files that it names, those of the source and the user's tokenizer.

    Args:
        said: What the user said.
        source: The open model.
        labels: The user's class names.
        tokenizer: The user's ``tokenizer.json`` or its folder.
        folder: Where the files go.

    Raises:
        SpecRefused: As `complete_spec`.
        DataRefused: There is no such tokenizer.
    """
    spec = complete_spec(said, source, labels)
    for name in set(spec.files) & set(source.files):
        (folder / name).write_bytes(source.files[name])
    if tokenizer is None:
        return spec
    path = tokenizer / TOKENIZER if tokenizer.is_dir() else tokenizer
    if not path.is_file():
        raise DataRefused(f"--tokenizer {tokenizer}: no such file", expected=f"a {TOKENIZER} or its folder")
    shutil.copyfile(path, folder / TOKENIZER)
    return spec.replace(text=TextEncoding(TOKENIZER, spec.text.max_length if spec.text else 128))


def merged(said: Spec | None, offered: Spec | None) -> Spec:
    """Join what the user said with what the model's files say; what neither says is plain tensors.

    A spec of the user's names the task. What it leaves out comes from the model; options only for the same task.
    """
    if said is None or offered is None:
        return said or offered or Spec()
    text = said.text or offered.text
    if said.text and offered.text:  # the user says the length, the model has the tokenizer
        text = TextEncoding(offered.text.tokenizer, said.text.max_length)
    same = said.task == offered.task
    return said.replace(
        preprocess=said.preprocess or offered.preprocess,
        text=text,
        labels=said.labels or offered.labels,
        options={**(offered.options if same else {}), **said.options},
    )


def complete_spec(said: Spec | None, source: Source, labels: tuple[str, ...] | None) -> Spec:
    """Return the spec with the source's inputs and outputs, and what its files say where the user was silent.

    Raises:
        SpecRefused: The user's inputs are not the model's, or an image task has no image input.
    """
    known = {tensor.name: tensor for tensor in source.inputs}
    said = merged(said, source.offered)
    for tensor in said.inputs:
        if tensor.name not in known and len(said.inputs) != len(source.inputs):
            raise SpecRefused(
                f"the spec's input {tensor.name!r}", expected=f"one of the model's inputs {sorted(known)}"
            )
    options = {**source.task_options.get(said.task, {}), **said.options}
    spec = said.replace(inputs=source.inputs, outputs=source.outputs, labels=labels or said.labels, options=options)
    if task_class(spec.task).takes == "picture" and not any(tensor.layout for tensor in spec.inputs):
        raise SpecRefused(
            f"task {spec.task} for a model with inputs {[(t.name, list(t.shape)) for t in source.inputs]}",
            expected="an image input of four dimensions with 1 or 3 channels",
            remedy="use --preset tensors, or pass --input-shape",
        )
    return spec


def wished_layouts(said: Spec | None, source: Source) -> dict[str, Layout]:
    """Layout that the user's spec asks for, for each image input of the source that it names."""
    if said is None:
        return {}
    wishes = {}
    for position, tensor in enumerate(source.inputs):
        wish = _wish(said.inputs, tensor, position)
        if tensor.layout is not None and wish is not None:
            wishes[tensor.name] = wish
    return wishes


def _wish(inputs: tuple[TensorSpec, ...], tensor: TensorSpec, position: int) -> Layout | None:
    by_name = next((item for item in inputs if item.name == tensor.name), None)
    if by_name is None and position < len(inputs):
        by_name = inputs[position]
    return by_name.layout if by_name else None
