"""What a folder in the layout of the Hugging Face hub holds, read without transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgekit.errors import ModelRefused
from edgekit_converters.sources._files import damaged, first_line

Pooling = Literal["mean", "cls"]

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
LAYOUT = "config.json, model.safetensors and the tokenizer's or image processor's files, as save_pretrained() writes"
FACTORY = "write a factory that builds it and pass it: edgekit convert file.py:build --input-shape …"
TO_SAFETENSORS = (
    "load it where you trust it and write safetensors: "
    "AutoModel….from_pretrained(NAME).save_pretrained(FOLDER), then convert FOLDER"
)


@dataclass(frozen=True)
class SentenceModel:
    """What ``modules.json`` of sentence-transformers says.

    Attributes:
        folder: Folder of the encoder.
        pooling: How token states become one vector.
        normalize: Whether the vector is scaled to length 1.
        max_length: Tokens a sample; ``None`` where the folder does not say.
    """

    folder: Path
    pooling: Pooling
    normalize: bool
    max_length: int | None


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raises ModelRefused when the file is missing or holds something else."""
    if not path.is_file():
        raise ModelRefused(f"{path.parent.name} has no {path.name}", expected=LAYOUT, remedy="copy the whole folder")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error, expected="a JSON object") from error
    if not isinstance(raw, dict):
        raise damaged(path, f"it holds a {type(raw).__name__}", expected="a JSON object")
    return raw


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, each looked into.

    Raises:
        ModelRefused: There are none, only pickles, or one is missing or damaged.
    """
    present = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if present is None:
        pickles = [name for name in PICKLES if (folder / name).is_file()]
        raise ModelRefused(
            f"{folder.name} has {', '.join(pickles) if pickles else 'no weights'}, no model.safetensors",
            expected="weights as safetensors: other formats can run code or need another framework",
            remedy=TO_SAFETENSORS if pickles else "copy the whole folder",
        )
    files = [present] if present.suffix == ".safetensors" else _shards(present)
    for file in files:
        _look_into(file)
    return files


def _shards(index: Path) -> list[Path]:
    table = read_json(index).get("weight_map")
    names = sorted(set(table.values())) if isinstance(table, dict) else []
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise damaged(index, "it lists no files of its own folder", expected="a map of weights to files")
    return [index.parent / name for name in names]


def _look_into(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise ModelRefused(f"{file.parent.name} has no {file.name}", expected=LAYOUT, remedy="copy the whole folder")
    try:
        with safe_open(file, framework="np"):
            pass
    except (OSError, SafetensorError) as error:
        raise damaged(file, error, expected="a safetensors file") from error


def sentence_model(folder: Path) -> SentenceModel | None:
    """Read a sentence-transformers folder; ``None`` for a plain one.

    Raises:
        ModelRefused: It has modules other than an encoder, mean or cls pooling, and normalization.
    """
    listing = folder / "modules.json"
    if not listing.is_file():
        return None
    try:
        modules = json.loads(listing.read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        places = [_inside(folder, str(module["path"])) for module in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(listing, first_line(error), expected="a list of modules with type and path") from error
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelRefused(
            f"{folder.name} is a sentence-transformers model of {', '.join(kinds)}",
            expected="Transformer, Pooling and, if any, Normalize",
            remedy=FACTORY,
        )
    length = None
    if (places[0] / "sentence_bert_config.json").is_file():
        length = read_json(places[0] / "sentence_bert_config.json").get("max_seq_length")
    return SentenceModel(places[0], _pooling(places[1]), len(kinds) > len(["Transformer", "Pooling"]), length)


def _inside(folder: Path, name: str) -> Path:
    """A module's folder; names that lead out of the model's folder are not followed."""
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ValueError(f"path {name!r} leads out of the folder")
    return folder / name


def _pooling(folder: Path) -> Pooling:
    raw = read_json(folder / "config.json")
    # Newer folders name the mode, older ones set a flag for each.
    modes = raw.get("pooling_mode") or [
        key for key, value in raw.items() if key.startswith("pooling_") and value is True
    ]
    chosen = [modes] if isinstance(modes, str) else list(modes)
    known: dict[str, Pooling] = {
        "mean": "mean",
        "cls": "cls",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
    }
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelRefused(
            f"{folder.name}/config.json asks for {', '.join(map(str, chosen)) or 'no pooling'}",
            expected="mean or cls pooling",
            remedy=FACTORY,
        )
    return known[chosen[0]]


def class_names(raw: object, classes: int, where: str) -> tuple[str, ...]:
    """Class names of ``id2label`` in order.

    Args:
        raw: Class number -> name.
        classes: How many scores the model gives.
        where: For the message.

    Raises:
        ModelRefused: Not one name for each class.
    """
    names = {int(key): str(name) for key, name in raw.items()} if isinstance(raw, dict) else {}
    if sorted(names) != list(range(classes)):
        raise ModelRefused(
            f"{where}: id2label names the classes {sorted(names)}, the model gives {classes} scores",
            expected=f"a name for each of 0..{classes - 1}",
            remedy="correct id2label, or leave it out and pass --labels",
        )
    return tuple(names[number] for number in range(classes))
