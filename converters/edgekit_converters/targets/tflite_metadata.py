"""What a spec says, in the words of TFLite's standard metadata (``metadata_schema.fbs``, identifier ``M001``).

MediaPipe Tasks, TFLite Support and Android Studio's model binding read it: normalization of image inputs, and names of
classes. Only what the schema can express exactly is written; notes say what had to be left out. Numbers of fields and
enumerations are those of the schema, version 1.5.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.spec import Layout, Preprocess
from edgekit.tasks import Task
from edgekit_converters.targets.base import Exported
from edgekit_converters.targets.bert_vocabulary import wordpiece_vocabulary
from edgekit_converters.targets.metadata_tables import Table, Value, packed_table
from edgekit_converters.targets.tflite_attachment import MAX_BYTES, Attachment, attach, attachment_of

IDENTIFIER = b"M001"
LABELS, VOCABULARY = "labels.txt", "vocab.txt"

_AXIS_LABELS, _VALUE_LABELS, _VOCABULARY = np.int8(2), np.int8(3), np.int8(5)
_FEATURE, _IMAGE, _BOXES = np.uint8(1), np.uint8(2), np.uint8(3)
_NORMALIZATION, _BERT_TOKENIZER = np.uint8(1), np.uint8(4)
_COLORS = {"rgb": np.int8(1), "gray": np.int8(2)}
_BOUNDARIES = np.int8(1)
_LAST_AXIS = Table({0: np.int32(2), 1: np.int32(2)})
_DETECTION = {"boxes": "location", "classes": "category", "scores": "score", "count": "number of detections"}
"""Role of an output -> the name by which MediaPipe's ObjectDetector finds it."""
_TOKENS = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "segment_ids"}
"""Name of an input -> the name by which MediaPipe's TextClassifier finds it."""


@dataclass(frozen=True)
class Edge:
    """An input or output of the file.

    Attributes:
        tensor: Its name in the file.
        shape: Declared dimensions; those that are open are 1.
    """

    tensor: str
    shape: tuple[int, ...]


def with_metadata(path: Path, task: Task, exported: Exported, *, name: str) -> Exported:
    """Describe a float `.tflite` file in its own metadata; one that brings metadata or files is left as it is.

    Args:
        path: The file; replaced in one step.
        task: Of the spec.
        exported: What was written.
        name: Of the model.

    Returns:
        ``exported``, with a note on what the metadata cannot say.
    """
    own = zipfile.is_zipfile(path) or attachment_of(path) is not None
    if own or not (task.spec.labels or task.spec.preprocess):
        return exported
    if path.stat().st_size > MAX_BYTES:
        return replace(exported, notes=(*exported.notes, "the file is too large for TFLite metadata: it has none"))
    attachment, notes = described(task, exported, edges_of(path), name=name)
    attach(path, attachment)
    return replace(exported, notes=(*exported.notes, *notes))


def edges_of(path: Path) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """Inputs and outputs of a file, in its order."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(path.read_bytes(), 0).Subgraphs(0)

    def edges(side: str) -> tuple[Edge, ...]:
        count = getattr(graph, f"{side}Length")()
        tensors = [graph.Tensors(getattr(graph, side)(place)) for place in range(count)]
        return tuple(
            Edge(tensor.Name().decode(), tuple(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())))
            for tensor in tensors
        )

    return edges("Inputs"), edges("Outputs")


def described(
    task: Task, exported: Exported, edges: tuple[Sequence[Edge], Sequence[Edge]], *, name: str
) -> tuple[Attachment, list[str]]:
    """Metadata and label file for a task's model.

    Args:
        task: Of the spec.
        exported: Names of the spec's tensors in the file, and layouts.
        edges: Inputs and outputs of the file, in its order.
        name: Of the model.

    Returns:
        The attachment, and notes on what it cannot say.
    """
    spec = task.spec
    named = dict(zip(exported.inputs, (tensor.name for tensor in spec.inputs), strict=True))
    layouts = dict(zip(exported.inputs, exported.layouts, strict=False))
    results = dict(zip(exported.outputs, (tensor.name for tensor in spec.outputs), strict=True))
    labels, vocabulary = _label_file(spec.labels), _vocabulary(task)
    if vocabulary is not None:
        named = {tensor: _TOKENS[name] for tensor, name in named.items()}
    roles = _roles(task)
    graph: dict[int, Value] = {
        2: tuple(_input(edge, named[edge.tensor], layouts.get(edge.tensor), spec.preprocess) for edge in edges[0]),
        3: tuple(_output(edge, results.get(edge.tensor, edge.tensor), task, roles) for edge in edges[1]),
    }
    version = "1.0.0"  # of the parser that knows all fields in use
    if vocabulary is not None:
        file = Table({0: VOCABULARY, 1: "Words of the tokenizer, one a line.", 2: _VOCABULARY})
        graph[5] = (Table({0: _BERT_TOKENIZER, 1: Table({0: (file,)})}),)
        version = "1.1.0"
    if roles:
        grouped = tuple(_DETECTION[role] for role in ("boxes", "classes", "scores"))
        graph[8] = (Table({0: "detection_result", 1: grouped}),)
        version = "1.2.0"
    model = Table({0: name, 1: f"{spec.task}, written by edgekit", 3: (Table(graph),), 7: version})
    files = {file: content for file, content in ((LABELS, labels), (VOCABULARY, vocabulary)) if content is not None}
    return Attachment(packed_table(model, IDENTIFIER), files), _notes(task, exported, tokenizer=vocabulary is not None)


def _vocabulary(task: Task) -> bytes | None:
    """Of a text classifier with the three inputs of BERT; readers know no others."""
    spec = task.spec
    if spec.task != "text-classification" or spec.text is None or {tensor.name for tensor in spec.inputs} != {*_TOKENS}:
        return None
    return wordpiece_vocabulary((task.root or Path()) / spec.text.tokenizer)


def _input(edge: Edge, name: str, layout: Layout | None, how: Preprocess | None) -> Table:
    if not _expressible(layout, how) or how is None:
        return Table({0: name})
    height, width = np.uint32(edge.shape[1]), np.uint32(edge.shape[2])
    image = Table({0: _COLORS[how.color], 1: Table({0: width, 1: height})})
    unit = Table({0: _NORMALIZATION, 1: _normalization(how)})
    return Table({0: name, 3: Table({0: _IMAGE, 1: image}), 4: (unit,)})


def _expressible(layout: Layout | None, how: Preprocess | None) -> bool:
    return how is not None and layout == "NHWC" and how.color in _COLORS


def _normalization(how: Preprocess) -> Table:
    """``(x * scale - mean) / std`` as the schema's ``(x - mean) / std`` on pixel values 0..255."""
    mean, std = (np.array(values, np.float64) / how.scale for values in (how.mean, how.std))
    count = max(len(mean), len(std))
    return Table({at: np.broadcast_to(values, count).astype(np.float32) for at, values in enumerate((mean, std))})


def _output(edge: Edge, name: str, task: Task, roles: Mapping[str, str]) -> Table:
    if name in roles:
        return _detection(roles[name], task)
    labels = task.spec.labels
    # A class map has no axis of classes, and a segmentation's scores may have them first.
    fits = labels is not None and name == _labelled(task) and edge.shape and edge.shape[-1] == len(labels)
    return Table({0: name, 6: (_associated(_AXIS_LABELS),)} if fits and _label_file(labels) else {0: name})


def _labelled(task: Task) -> str | None:
    """Name of the output whose last axis is the classes."""
    from edgekit.tasks.semantic_segmentation import SemanticSegmentation

    return task.output if isinstance(task, SemanticSegmentation) else task.decides


def _roles(task: Task) -> dict[str, str]:
    """Output name -> role, of a detector that gives final boxes."""
    from edgekit.tasks.detection_anchor_heads import SsdPostprocessed
    from edgekit.tasks.object_detection import ObjectDetection

    if not isinstance(task, ObjectDetection) or not isinstance(task.head, SsdPostprocessed):
        return {}
    names = task.head.names
    return {name: role for role, name in names.items()} if len(names) == len(_DETECTION) else {}


def _detection(role: str, task: Task) -> Table:
    content: dict[int, Value] = {0: _FEATURE, 1: Table({}), 2: _LAST_AXIS}
    fields: dict[int, Value] = {0: _DETECTION[role]}
    if role == "boxes":  # top, left, bottom, right, as shares: where the schema's left, top, right, bottom are found
        order = np.array([1, 0, 3, 2], np.uint32)
        content |= {0: _BOXES, 1: Table({0: order, 1: _BOUNDARIES})}
    elif role == "count":
        del content[2]
    elif role == "classes" and _label_file(task.spec.labels):
        fields[6] = (_associated(_VALUE_LABELS),)
    return Table({**fields, 3: Table(content)})


def _associated(kind: np.integer[Any]) -> Table:
    return Table({0: LABELS, 1: "Names of the classes, one a line.", 2: kind})


def _label_file(labels: Sequence[str] | None) -> bytes | None:
    """The names, one a line; ``None`` where one has a line of its own inside."""
    if not labels or any(set(label) & set("\r\n") for label in labels):
        return None
    return "".join(f"{label}\n" for label in labels).encode()


def _notes(task: Task, exported: Exported, *, tokenizer: bool) -> list[str]:
    spec, how = task.spec, task.spec.preprocess
    missing = []
    text = None if tokenizer else spec.text
    for part, words in ((text, "the tokenizer"), (spec.sound, "the sound front end"), (spec.table, "the columns")):
        missing += [words] if part is not None else []
    if spec.labels and _label_file(spec.labels) is None:
        missing.append("labels with line breaks")
    if how is not None:
        missing += _image_gaps(how, exported.layouts)
    notes = [f"TFLite metadata for other tools leaves out {', '.join(missing)}"] if missing else []
    if tokenizer:
        notes.append("MediaPipe's tokenizer makes small letters of A to Z only and keeps accents")
    single = how is None or len(set(how.mean)) == len(set(how.std)) == 1
    if not single and _expressible(next(iter(exported.layouts), None), how):
        notes.append("MediaPipe Tasks refuse a mean and std for each channel; TFLite Support and Android take them")
    return notes


def _image_gaps(how: Preprocess, layouts: Sequence[Layout | None]) -> list[str]:
    """What of the preprocessing the schema has no words for: its readers stretch the photo to the input."""
    gaps = []
    if how.resize == "letterbox":
        gaps.append("the letterbox (photos are stretched there)")
    elif how.resize != "stretch" or how.crop:
        gaps.append(f"resize {how.resize!r}{' and crop' if how.crop else ''} (photos are stretched there)")
    if how.color not in _COLORS:
        gaps.append(f"the input: it takes {how.color.upper()}")
    elif layouts and layouts[0] != "NHWC":
        gaps.append(f"the input: it is {layouts[0]}")
    return gaps
