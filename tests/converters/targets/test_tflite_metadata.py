"""TFLite metadata as other tools find it: a reader by field numbers that shares nothing with the writer."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgekit
from edgekit.bundle import Bundle
from edgekit.engine import open_engine
from edgekit.preprocess import normalise
from edgekit.spec import Preprocess, Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_for
from edgekit_converters.targets.base import Exported
from edgekit_converters.targets.tflite_attachment import Attachment, attach, attachment_of
from edgekit_converters.targets.tflite_metadata import Edge, described, with_metadata

MEDIAPIPE = Path(__file__).parents[3] / ".cache" / "mediapipe" / "bin" / "python"
CLASSIFY = """
import json, sys
import mediapipe as mp
from mediapipe.tasks import python
from mediapipe.tasks.python import vision
options = vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[1]), max_results=1)
with vision.ImageClassifier.create_from_options(options) as classifier:
    answers = [classifier.classify(mp.Image.create_from_file(path)) for path in sys.argv[2:]]
print(json.dumps([answer.classifications[0].categories[0].category_name for answer in answers]))
"""


@dataclass(frozen=True)
class Node:
    """A table of a flatbuffer."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> Node:
        return cls(data, struct.unpack_from("<I", data)[0])

    def _field(self, number: int) -> int | None:
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        size = struct.unpack_from("<H", self.data, vtable)[0]
        place = vtable + 4 + 2 * number
        offset = struct.unpack_from("<H", self.data, place)[0] if place < vtable + size else 0
        return self.at + offset if offset else None

    def _target(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def number(self, number: int, form: str = "<b") -> int:
        place = self._field(number)
        return 0 if place is None else int(struct.unpack_from(form, self.data, place)[0])

    def table(self, number: int) -> Node:
        place = self._field(number)
        assert place is not None, f"no field {number}"
        return Node(self.data, self._target(place))

    def text(self, number: int) -> str:
        place = self._field(number)
        return "" if place is None else self._text(self._target(place))

    def _text(self, at: int) -> str:
        return self.data[at + 4 : at + 4 + struct.unpack_from("<I", self.data, at)[0]].decode()

    def _places(self, number: int) -> list[int]:
        place = self._field(number)
        if place is None:
            return []
        at = self._target(place)
        return [at + 4 + 4 * item for item in range(struct.unpack_from("<I", self.data, at)[0])]

    def tables(self, number: int) -> list[Node]:
        return [Node(self.data, self._target(place)) for place in self._places(number)]

    def texts(self, number: int) -> list[str]:
        return [self._text(self._target(place)) for place in self._places(number)]

    def numbers(self, number: int, form: str) -> list[Any]:
        return [struct.unpack_from(form, self.data, place)[0] for place in self._places(number)]


def metadata_in(path: Path) -> bytes:
    """The buffer of the entry TFLITE_METADATA, by the field numbers of TFLite's own schema."""
    model = Node.root(path.read_bytes())
    buffers = [entry.number(1, "<I") for entry in model.tables(6) if entry.text(0) == "TFLITE_METADATA"]
    assert len(buffers) == 1
    buffer = model.tables(4)[buffers[0]]
    place = buffer._field(0)
    assert place is not None
    at = buffer._target(place)
    return buffer.data[at + 4 : at + 4 + struct.unpack_from("<I", buffer.data, at)[0]]


def normalization(tensor: Node) -> tuple[list[float], list[float]]:
    (unit,) = tensor.tables(4)
    assert unit.number(0) == 1  # NormalizationOptions
    return unit.table(1).numbers(0, "<f"), unit.table(1).numbers(1, "<f")


def graph_of(spec: Spec, layout: Any = "NHWC", edges: Any = None) -> tuple[Node, Attachment, list[str]]:
    """The subgraph that is written for a spec whose tensors are called alike in the file."""
    exported = Exported(
        tuple(tensor.name for tensor in spec.inputs),
        tuple(tensor.name for tensor in spec.outputs),
        layouts=tuple(tensor.layout and layout for tensor in spec.inputs),
    )
    sides = (spec.inputs, spec.outputs)
    found = edges or tuple(
        tuple(Edge(tensor.name, tuple(size or 1 for size in tensor.shape)) for tensor in side) for side in sides
    )
    attachment, notes = described(task_for(spec), exported, found, name="model")
    return Node.root(attachment.metadata).tables(3)[0], attachment, notes


def classifier(how: Preprocess, channels: int = 3) -> Spec:
    return Spec(
        "image-classification",
        (TensorSpec("image", (None, 20, 30, channels), layout="NHWC"),),
        (TensorSpec("scores", (None, 2)),),
        how,
        labels=("cat", "dog"),
    )


@pytest.mark.parametrize("recipe", ["fp32", "int8"])
def test_every_artifact_of_a_conversion_tells_labels_and_normalization(integer_bundle: Bundle, recipe: str) -> None:
    artifact = next(artifact for artifact in integer_bundle.artifacts if artifact.recipe == recipe)
    path = integer_bundle.file(artifact.file)
    content = metadata_in(path)
    assert content[4:8] == b"M001"
    model = Node.root(content)
    assert (model.text(0), model.text(7)) == ("tiny", "1.0.0")
    (graph,) = model.tables(3)
    (image,), (scores,) = graph.tables(2), graph.tables(3)
    assert image.table(3).number(0) == 2  # ImageProperties
    properties = image.table(3).table(1)
    assert properties.number(0) == 1  # RGB
    assert (properties.table(1).number(0, "<I"), properties.table(1).number(1, "<I")) == (32, 32)
    assert normalization(image) == ([0.0], [255.0])
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.number(2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [entry.compress_type for entry in archive.infolist()] == [zipfile.ZIP_STORED]
        assert tuple(archive.read("labels.txt").decode().splitlines()) == integer_bundle.spec.labels
    assert artifact.bytes == path.stat().st_size


def test_a_described_file_still_runs_and_is_inspected(
    integer_bundle: Bundle, edgekit_command: Any, colour_photos: list[Path]
) -> None:
    verified = edgekit_command("verify", integer_bundle.path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    shown = edgekit_command("inspect", integer_bundle.file("tiny.int8.tflite"), "--json")
    found = json.loads(shown.stdout)
    assert "TFLITE_METADATA" in found["metadata"]
    assert any("labels.txt" in note for note in found["notes"])
    ran = edgekit_command("run", integer_bundle.path, "--recipe", "int8", "--format", "jsonl", *colour_photos[:4])
    best = [json.loads(line)["result"]["labels"][0]["name"] for line in ran.stdout.splitlines()]
    assert tuple(best) == integer_bundle.spec.labels


def test_metadata_that_a_source_brings_is_kept(
    integer_bundle: Bundle, colour_photos: list[Path], tmp_path: Path
) -> None:
    given_file = tmp_path / "own.tflite"
    shutil.copyfile(integer_bundle.file("tiny.fp32.tflite"), given_file)
    own = attachment_of(given_file)
    assert own is not None
    bundle = edgekit.convert(
        given_file,
        tmp_path / "own.bundle",
        to=("tflite",),
        recipes=("fp32", "dynamic-int8"),
        preset="unit",
        labels=("a", "b", "c", "d"),
        evaluation=colour_photos[0].parent,
    )
    assert bundle.file("own.fp32.tflite").read_bytes() == given_file.read_bytes()
    again = attachment_of(bundle.file("own.dynamic-int8.tflite"))
    assert again is not None
    assert (again.metadata, dict(again.files)) == (own.metadata, dict(own.files))
    assert metadata_in(bundle.file("own.dynamic-int8.tflite")) == own.metadata


def test_files_behind_a_model_without_metadata_are_left_alone(integer_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    original = integer_bundle.file("tiny.fp32.tflite").read_bytes()
    path.write_bytes(original[: original.rindex(b"PK\x03\x04")].replace(b"TFLITE_METADATA", b"OTHER__METADATA"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "the user's own")
    before = path.read_bytes()
    exported = Exported(("image",), ("scores",), layouts=("NHWC",))
    assert with_metadata(path, task_for(classifier(Preprocess())), exported, name="model") == exported
    assert path.read_bytes() == before


def test_attaching_changes_neither_answers_nor_itself_from_run_to_run(integer_bundle: Bundle, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tflite"
    original = integer_bundle.file("tiny.fp32.tflite").read_bytes()
    plain.write_bytes(original[: original.rindex(b"PK\x03\x04")])  # the archive cut off
    files = []
    for name in ("one", "two"):
        files.append(shutil.copyfile(plain, tmp_path / f"{name}.tflite"))
        attach(files[-1], Attachment(b"\x00" * 8, {"notes.txt": b"text"}))
    assert files[0].read_bytes() == files[1].read_bytes()
    feeds = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    answers = []
    for path in (plain, files[0]):
        with open_engine(path, threads=1) as engine:
            answers.append(engine.run({engine.inputs[0].name: feeds})[engine.outputs[0].name])
    np.testing.assert_array_equal(answers[0], answers[1])


numbers = st.floats(-2, 2, width=32)
spreads = st.floats(0.0625, 4, width=32)


@given(
    st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    st.one_of(st.tuples(numbers), st.tuples(numbers, numbers, numbers)),
    st.one_of(st.tuples(spreads), st.tuples(spreads, spreads, spreads)),
)
def test_the_schemas_formula_gives_our_values(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    spec = classifier(Preprocess(scale=scale, mean=mean, std=std))
    graph, _, notes = graph_of(spec)
    means, stds = normalization(graph.tables(2)[0])
    assert len(means) == len(stds) == max(len(mean), len(std))
    pixels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    assert spec.preprocess is not None
    wanted = normalise(pixels, spec.inputs[0], spec.preprocess)
    # The schema's numbers are float32 of pixels: what they may round away is a part of the largest value.
    largest = float(np.abs(wanted).max()) + (255 * scale + 2) / min(std)
    assert np.allclose((pixels - np.array(means)) / np.array(stds), wanted, rtol=1e-6, atol=1e-6 * largest)
    assert any("for each channel" in note for note in notes) == (len(set(mean)) + len(set(std)) > 2)


@pytest.mark.parametrize(
    ("how", "layout", "described_image", "note"),
    [
        (Preprocess(scale=1 / 255), "NHWC", True, None),
        (Preprocess("letterbox"), "NHWC", True, "letterbox"),
        (Preprocess("short-side", crop=True), "NHWC", True, "crop"),
        (Preprocess(color="bgr"), "NHWC", False, "BGR"),
        (Preprocess(), "NCHW", False, "NCHW"),
    ],
)
def test_what_the_schema_cannot_say_is_left_out_and_noted(
    how: Preprocess, layout: str, described_image: bool, note: str | None
) -> None:
    graph, attachment, notes = graph_of(classifier(how), layout)
    image = graph.tables(2)[0]
    assert bool(image.tables(4)) == described_image
    assert (image._field(3) is not None) == described_image
    assert graph.tables(3)[0].tables(6)  # labels are told all the same
    assert attachment.files["labels.txt"] == b"cat\ndog\n"
    assert [note in text for text in notes] == ([True] if note else []) if note else notes == []


def test_gray_pictures_are_named_so() -> None:
    graph, _, _ = graph_of(classifier(Preprocess(color="gray"), channels=1))
    assert graph.tables(2)[0].table(3).table(1).number(0) == 2


def test_tensors_stand_in_the_files_order() -> None:
    spec = classifier(Preprocess()).replace(
        outputs=(TensorSpec("logits", (None, 2)), TensorSpec("features", (None, 8)))
    )
    edges = ((Edge("image", (1, 20, 30, 3)),), (Edge("features", (1, 8)), Edge("logits", (1, 2))))
    graph, _, _ = graph_of(spec, edges=edges)
    assert [(tensor.text(0), len(tensor.tables(6))) for tensor in graph.tables(3)] == [("features", 0), ("logits", 1)]


def test_a_label_with_a_line_break_gives_no_label_file() -> None:
    graph, attachment, notes = graph_of(classifier(Preprocess()).replace(labels=("a\nb", "c")))
    assert not graph.tables(3)[0].tables(6)
    assert not attachment.files
    assert "labels with line breaks" in notes[0]


@pytest.mark.parametrize(("shape", "labelled"), [((None, 8, 8, 3), True), ((None, 3, 8, 8), False)])
def test_segmentation_names_classes_on_the_last_axis_only(shape: tuple[int | None, ...], labelled: bool) -> None:
    spec = Spec(
        "semantic-segmentation",
        (TensorSpec("image", (None, 16, 16, 3), layout="NHWC"),),
        (TensorSpec("scores", shape),),
        Preprocess(),
        labels=("road", "sky", "car"),
    )
    graph, _, _ = graph_of(spec)
    assert bool(graph.tables(3)[0].tables(6)) == labelled


def test_a_detector_with_final_boxes_is_described_as_mediapipe_expects() -> None:
    names = ("TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{n}" for n in (1, 2, 3)))
    shapes: tuple[tuple[int | None, ...], ...] = ((1, 10, 4), (1, 10), (1, 10), (1,))
    spec = Spec(
        "object-detection",
        (TensorSpec("image", (1, 300, 300, 3), layout="NHWC"),),
        tuple(TensorSpec(name, shape) for name, shape in zip(names, shapes, strict=True)),
        Preprocess(scale=1 / 127.5, mean=(1.0,)),
        options={"head": "ssd-postprocessed"},
        labels=("person", "bicycle"),
    )
    graph, _, notes = graph_of(spec)
    boxes, classes, scores, count = graph.tables(3)
    assert [one.text(0) for one in (boxes, classes, scores, count)] == [
        "location",
        "category",
        "score",
        "number of detections",
    ]
    assert boxes.table(3).number(0) == 3  # BoundingBoxProperties
    assert boxes.table(3).table(1).numbers(0, "<I") == [1, 0, 3, 2]
    assert boxes.table(3).table(1).number(1) == 1  # BOUNDARIES
    assert boxes.table(3).table(1).number(2) == 0  # RATIO
    for tensor in (boxes, classes, scores):
        assert [tensor.table(3).table(2).number(field, "<i") for field in (0, 1)] == [2, 2]
    assert classes.tables(6)[0].number(2) == 3  # TENSOR_VALUE_LABELS
    assert graph.tables(8)[0].texts(1) == ["location", "category", "score"]
    assert notes == []


@pytest.mark.skipif(not MEDIAPIPE.is_file(), reason="needs a Python with mediapipe at .cache/mediapipe")
def test_mediapipe_tasks_answer_by_name_as_edgekit_does(integer_bundle: Bundle, colour_photos: list[Path]) -> None:
    words = ["-c", CLASSIFY, integer_bundle.file("tiny.fp32.tflite"), *colour_photos]
    done = subprocess.run([MEDIAPIPE, *map(str, words)], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    model = edgekit.load(integer_bundle.path, recipe="fp32")
    assert json.loads(done.stdout) == [model.predict(path).best.name for path in colour_photos]


def bert(folder: Path, *, lowercase: bool = True, inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> Any:
    """The task of a text classifier with a WordPiece tokenizer of six words, whose numbers are not in JSON's order."""
    from tokenizers import Tokenizer, models, normalizers

    words = {"fine": 5, "[PAD]": 0, "[CLS]": 2, "[UNK]": 1, "[SEP]": 3, "##é": 4}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.save(str(folder / "tokenizer.json"))
    tensors = tuple(TensorSpec(name, (1, 16), "int64") for name in inputs)
    text = TextEncoding("tokenizer.json", 16)
    outputs = (TensorSpec("logits", (1, 2)),)
    return task_for(Spec("text-classification", tensors, outputs, text=text, labels=("bad", "good")), folder)


def described_text(task: Any) -> tuple[Node, Attachment, list[str]]:
    names = tuple(tensor.name for tensor in task.spec.inputs)
    # The file has its inputs in another order than the spec.
    edges = (tuple(Edge(name, (1, 16)) for name in reversed(names)), (Edge("logits", (1, 2)),))
    attachment, notes = described(task, Exported(names, ("logits",)), edges, name="model")
    return Node.root(attachment.metadata), attachment, notes


ALL_OF_BERT = ("input_ids", "attention_mask", "token_type_ids")


def test_uncased_bert_brings_its_tokenizer(tmp_path: Path) -> None:
    model, attachment, notes = described_text(bert(tmp_path, inputs=ALL_OF_BERT))
    graph = model.tables(3)[0]
    assert model.text(7) == "1.1.0"
    assert [tensor.text(0) for tensor in graph.tables(2)] == ["segment_ids", "mask", "ids"]
    (unit,) = graph.tables(5)
    assert unit.number(0) == 4  # BertTokenizerOptions
    (file,) = unit.table(1).tables(0)
    assert (file.text(0), file.number(2)) == ("vocab.txt", 5)  # VOCABULARY
    assert attachment.files["vocab.txt"].decode().split("\n") == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "##é", "fine", ""]
    assert graph.tables(3)[0].tables(6)[0].number(2) == 2
    assert attachment.files["labels.txt"] == b"bad\ngood\n"
    assert len(notes) == 1
    assert "accents" in notes[0]


@pytest.mark.parametrize(
    "options", [{"inputs": ALL_OF_BERT, "lowercase": False}, {"inputs": ("input_ids", "attention_mask")}]
)
def test_another_tokenizer_is_left_out_and_noted(tmp_path: Path, options: Any) -> None:
    model, attachment, notes = described_text(bert(tmp_path, **options))
    assert not model.tables(3)[0].tables(5)
    assert list(attachment.files) == ["labels.txt"]
    assert "leaves out the tokenizer" in notes[0]
