"""The spec: inputs, preprocessing, task, labels and outputs of a model.

One spec drives calibration, parity, the runtime and serving. It is a frozen value; it is read from TOML or
JSON-like mappings, from a preset, or built in Python, and it is stored in the manifest of every bundle.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from edgekit.errors import SpecRefused
from edgekit.sound.encoding import SoundEncoding
from edgekit.table import TableEncoding, table_from_dict, table_to_dict

Options = TypeVar("Options")
Layout = Literal["NHWC", "NCHW"]
Resize = Literal["none", "stretch", "short-side", "letterbox"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "area"]
Color = Literal["rgb", "bgr", "gray"]

TASKS = {
    "image-classification": "edgekit.tasks.image_classification:ImageClassification",
    "object-detection": "edgekit.tasks.object_detection:ObjectDetection",
    "semantic-segmentation": "edgekit.tasks.semantic_segmentation:SemanticSegmentation",
    "instance-segmentation": "edgekit.tasks.instance_segmentation:InstanceSegmentation",
    "matting": "edgekit.tasks.matting:Matting",
    "keypoints": "edgekit.tasks.keypoints:Keypoints",
    "text-classification": "edgekit.tasks.text_classification:TextClassification",
    "text-embedding": "edgekit.tasks.text_embedding:TextEmbedding",
    "token-classification": "edgekit.tasks.token_classification:TokenClassification",
    "question-answering": "edgekit.tasks.question_answering:QuestionAnswering",
    "text-generation": "edgekit.tasks.text_generation:TextGeneration",
    "keyword-spotting": "edgekit.tasks.audio_classification:KeywordSpotting",
    "audio-classification": "edgekit.tasks.audio_classification:AudioClassification",
    "speech-to-text": "edgekit.tasks.speech_to_text:SpeechToText",
    "ranking": "edgekit.tasks.ranking:Ranking",
    "tabular-classification": "edgekit.tasks.tabular:TabularClassification",
    "tabular-regression": "edgekit.tasks.tabular:TabularRegression",
    "tensors": "edgekit.tasks.tensors:Tensors",
}
"""Name in a spec -> the class that encodes and decodes; imported when it is used."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor.

    Attributes:
        name: Name in the spec; unique among the inputs or the outputs.
        shape: Dimensions; ``None`` marks a dynamic one. Dimension 0 is the batch.
        dtype: numpy dtype name, e.g. ``float32`` or ``int64``.
        layout: ``NHWC`` or ``NCHW`` for image tensors, otherwise ``None``.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.layout not in (None, *get_args(Layout)):
            raise SpecRefused(f"layout {self.layout!r} of {self.name!r}", expected="NHWC or NCHW")
        if self.layout is not None and len(self.shape) != 4:
            raise SpecRefused(
                f"input {self.name!r} has shape {list(self.shape)} and layout {self.layout}",
                expected="four dimensions for an image layout",
                remedy="leave the layout out, or give a four-dimensional shape",
            )

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width in pixels of an image tensor."""
        at = (1, 2) if self.layout == "NHWC" else (2, 3)
        height, width = (self.shape[i] for i in at)
        if self.layout is None or height is None or width is None:
            raise SpecRefused(
                f"input {self.name!r} has shape {list(self.shape)}, layout {self.layout}",
                expected="an image tensor with fixed height and width",
                remedy="pass --input-shape, e.g. --input-shape 1,224,224,3, and a layout in the spec",
            )
        return height, width


@dataclass(frozen=True)
class Preprocess:
    """How a photo becomes an input tensor: resize, crop, channel order, then ``(x * scale - mean) / std``.

    Attributes:
        resize: ``none``; ``stretch`` to the size; ``short-side`` scales the shorter side to ``size[0]``;
            ``letterbox`` fits inside the size and pads.
        size: Height and width in pixels after resizing; ``None`` means the input tensor's own. For
            ``short-side`` the first number is the length of the shorter side.
        interpolation: Filter.
        antialias: Widen the filter when shrinking, as Pillow and torchvision do; ``False`` samples points, as
            ``tf.image.resize`` and OpenCV do.
        crop: Cut the centre of the input tensor's size out after resizing.
        crop_floor: Round half a pixel of the crop's place down, as transformers does; otherwise to even, as
            torchvision does.
        color: Channel order that the model was trained with.
        scale: Factor applied to pixel values 0..255.
        mean: Subtracted per channel after scaling; one number or one a channel.
        std: Divides per channel after the mean is subtracted; one number or one a channel.
        pad_value: Pixel value 0..255 of the letterbox border.
    """

    resize: Resize = "stretch"
    size: tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    crop: bool = False
    crop_floor: bool = False
    color: Color = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pad_value: int = 114

    def __post_init__(self) -> None:
        choices = (("resize", Resize), ("interpolation", Interpolation), ("color", Color))
        for name, kind in choices:
            value = getattr(self, name)
            if value not in get_args(kind):
                raise SpecRefused(f"preprocess.{name} = {value!r}", expected=" or ".join(get_args(kind)))
        channels = 1 if self.color == "gray" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise SpecRefused(
                    f"preprocess.{name} has {len(values)} numbers for color {self.color!r}",
                    expected=f"1 or {channels}",
                )
        if any(value == 0 for value in self.std):
            raise SpecRefused("preprocess.std contains 0", expected="positive numbers")


@dataclass(frozen=True)
class TextEncoding:
    """How a sentence becomes token tensors.

    Attributes:
        tokenizer: File name of the ``tokenizer.json`` (Hugging Face tokenizers format) inside the bundle.
        max_length: Tokens a sample; longer text is cut, shorter text padded.
    """

    tokenizer: str
    max_length: int = 128


@dataclass(frozen=True)
class Spec:
    """What a model takes and gives.

    Attributes:
        task: One of :data:`TASKS`.
        inputs: Input tensors, in the source model's order.
        outputs: Output tensors, in the source model's order.
        preprocess: For image tasks.
        text: For text tasks.
        table: For tasks on rows.
        sound: For tasks on sound.
        options: What else the task has to know, as its own options class says (``[options]`` in TOML).
        labels: Class names, index = class.
    """

    task: str = "tensors"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    preprocess: Preprocess | None = None
    text: TextEncoding | None = None
    table: TableEncoding | None = None
    sound: SoundEncoding | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise SpecRefused(f"task {self.task!r}", expected=" or ".join(TASKS))
        for kind in ("inputs", "outputs"):
            names = [tensor.name for tensor in getattr(self, kind)]
            if len(set(names)) != len(names):
                raise SpecRefused(f"{kind} {names}", expected="different names")

    def replace(self, **changes: Any) -> Spec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def files(self) -> list[str]:
        """Files of the bundle that encoding and decoding need, relative to it: also options named ``…_file``."""
        named = [str(value) for key, value in self.options.items() if key.endswith("_file") and value]
        return [*([self.text.tokenizer] if self.text else []), *named]

    def options_as(self, kind: type[Options]) -> Options:
        """Return the options as a task's frozen dataclass. Raises SpecRefused for an unknown or wrong one."""
        built: Options = build(kind, self.options, f"options of {self.task}")
        return built

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``Spec.from_dict`` reads it back."""
        raw = dataclasses.asdict(self)
        raw["table"] = None if self.table is None else table_to_dict(self.table)
        return {key: value for key, value in raw.items() if value not in (None, {})}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, where: str = "spec") -> Spec:
        """Build a spec from a mapping.

        Args:
            raw: Keys as the attributes; nested mappings for ``preprocess``, ``text``, ``sound``, ``table``, ``inputs``
                and ``outputs``.
            where: File name for messages.

        Raises:
            SpecRefused: An unknown key, a wrong type or a contradiction.
        """
        values = dict(raw)
        for kind in ("inputs", "outputs"):
            if kind in values:
                values[kind] = tuple(build(TensorSpec, item, f"{where}: {kind}") for item in values[kind])
        if values.get("preprocess") is not None:
            values["preprocess"] = build(Preprocess, values["preprocess"], f"{where}: preprocess")
        if values.get("text") is not None:
            values["text"] = build(TextEncoding, values["text"], f"{where}: text")
        if values.get("table") is not None and not isinstance(values["table"], TableEncoding):
            values["table"] = table_from_dict(values["table"], f"{where}: table")
        if values.get("sound") is not None:
            values["sound"] = build(SoundEncoding, values["sound"], f"{where}: sound")
        spec: Spec = build(cls, values, where)
        return spec

    @classmethod
    def from_toml(cls, path: Path) -> Spec:
        """Read a spec from a TOML file. Raises SpecRefused when it cannot be read."""
        if sys.version_info >= (3, 11):
            import tomllib
        else:  # Python 3.10, JetPack 6
            import tomli as tomllib
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SpecRefused(f"{path}: {error}", expected="a TOML file") from error
        return cls.from_dict(raw, where=path.name)


def build(kind: type[Any], raw: object, where: str) -> Any:
    """Make a frozen dataclass from a mapping; lists become tuples, unknown keys and wrong types are refused."""
    if not isinstance(raw, Mapping):
        raise SpecRefused(f"{where} is {raw!r}", expected="a table of keys and values")
    known = {item.name for item in dataclasses.fields(kind)}
    for key in raw:
        if key not in known:
            raise SpecRefused(f"{where} has an unknown key {key!r}", expected=", ".join(sorted(known)))
    values = {key: tuple(item) if isinstance(item, list) else item for key, item in raw.items()}
    if kind is TensorSpec and "shape" in values:
        values["shape"] = tuple(None if size in (None, -1) else size for size in values["shape"])
    if kind in (Preprocess, SoundEncoding):
        for key in ("mean", "std"):
            number = values.get(key)
            if isinstance(number, (int, float)):
                values[key] = (float(number),)
        if isinstance(values.get("size"), int):
            values["size"] = (values["size"], values["size"])
    try:
        return kind(**values)
    except SpecRefused:
        raise
    except (TypeError, ValueError) as error:
        raise SpecRefused(f"{where}: {error}") from error
