"""Models of Hugging Face: ``hf:NAME`` or a local folder in the hub's layout, opened through transformers.

Safetensors only, never pickles; never code that a model's folder brings along. The folder also says the task, labels,
tokenizer and preprocessing; what the user says goes first.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtra, ModelRefused, UsageError
from edgekit.spec import Spec, TextEncoding
from edgekit_converters.sources import _hf_folder as layout
from edgekit_converters.sources._files import damaged, first_line
from edgekit_converters.sources._quiet import import_torch, quiet_import
from edgekit_converters.sources._tensors import match_hints
from edgekit_converters.sources.base import SourceOptions
from edgekit_converters.sources.pytorch import PyTorchSource

if TYPE_CHECKING:
    from edgekit_converters.sources._torch_graph import Inputs

TOKENIZER = "tokenizer.json"
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LENGTH = 128
"""Tokens a sample where neither the user nor the folder says; less for models that take less."""
FACTORY_REMEDY = "write a factory that builds it and pass it: edgekit convert file.py:build --input-shape …"

# End of the architecture's name -> the class that loads it, and the task that its outputs are for.
HEADS = {
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForImageClassification": ("AutoModelForImageClassification", "image-classification"),
    "ForMaskedLM": ("AutoModelForMaskedLM", "tensors"),
    "ForCausalLM": ("AutoModelForCausalLM", "tensors"),
    "LMHeadModel": ("AutoModelForCausalLM", "tensors"),
    "ForSemanticSegmentation": ("AutoModelForSemanticSegmentation", "tensors"),
    "ForObjectDetection": ("AutoModelForObjectDetection", "tensors"),
    "Model": ("AutoModel", "tensors"),
}


@dataclasses.dataclass(frozen=True)
class _Offer:
    """What the folder says, and the inputs that follow from it.

    Attributes:
        spec: Task, labels, text, preprocessing.
        inputs: Names, shapes and dtypes to call the model with.
        files: For the bundle.
        notes: For the user.
    """

    spec: Spec
    inputs: Inputs
    files: dict[str, bytes]
    notes: tuple[str, ...] = ()


def open_hub(name: str, options: SourceOptions) -> PyTorchSource:
    """Download a model and open it.

    Args:
        name: ``owner/model``, with ``@revision`` if wanted.
        options: Input shapes and text length.

    Raises:
        UsageError: It cannot be a name.
        ModelRefused: The hub has no such model, or it cannot be converted.
        EnvironmentFault: The hub cannot be reached; transformers is not installed.
    """
    from edgekit_converters.sources._hf_hub import download

    folder = download(name)
    commit = f", commit {folder.name}" if folder.parent.name == "snapshots" else ""
    short = name.partition("@")[0].rpartition("/")[2]
    return open_folder(folder, options, name=short, notes=(f"hf:{name}{commit}",))


def open_folder(
    folder: Path, options: SourceOptions, *, name: str | None = None, notes: tuple[str, ...] = ()
) -> PyTorchSource:
    """Open a folder in the hub's layout.

    Args:
        folder: With ``config.json``, ``model.safetensors`` and tokenizer or image processor files.
        options: Input shapes and text length.
        name: Name of the artifacts; by default the folder's.
        notes: What is known of the folder already.

    Raises:
        ModelRefused: Files are missing, damaged or pickles; an architecture or head that is not known; weights or
            labels that do not fit.
        MissingExtra: transformers is not installed.
    """
    torch = import_torch()
    transformers = _import_transformers()
    sentence = layout.sentence_model(folder)
    encoder = sentence.folder if sentence else folder
    raw = layout.read_json(encoder / "config.json")
    weights = layout.weight_files(encoder)
    auto, task, said = _head(raw, encoder)
    with _silent(transformers):
        config = _config(transformers, encoder, raw)
        model, noted = _load(torch, transformers, auto, encoder, config)
        read = _pictures if model.main_input_name == "pixel_values" else _texts
        offer = read(transformers, encoder, model, "text-embedding" if sentence else task, options, sentence)
    if task.endswith("-classification") and not sentence:
        offer = _classified(offer, raw, config)
    source = PyTorchSource(
        _exportable(model, offer.inputs, sentence),
        offer.inputs,
        name=name or folder.resolve().name,
        path=weights[0] if len(weights) == 1 else folder,
        notes=(*notes, *said, *noted, *offer.notes),
    )
    source.offered, source.files = offer.spec, offer.files
    return source


def _import_transformers() -> Any:
    try:
        with quiet_import("transformers.modeling_utils"):
            import transformers
            import transformers.modeling_utils  # with the quantizers that it looks for, which are loud
    except ImportError as error:
        raise MissingExtra(
            f"transformers cannot be imported: {error}",
            expected="the huggingface extra",
            remedy="pip install 'edgekit-ai[huggingface]'",
        ) from error
    return transformers


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice meant for training."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _head(raw: dict[str, Any], folder: Path) -> tuple[str, str, tuple[str, ...]]:
    """Class that loads the architecture, its task, and a note where the configuration names none."""
    named = raw.get("architectures")
    if not named:
        return (*HEADS["Model"], (f"{folder.name}/config.json names no architecture: opened without a head",))
    architecture = str(named[0])
    for end, (auto, task) in HEADS.items():
        if architecture.endswith(end):
            return auto, task, ()
    raise ModelRefused(
        f"{folder.name}/config.json: architecture {architecture!r}",
        expected=f"one that ends in {', '.join(HEADS)}",
        remedy=FACTORY_REMEDY,
    )


def _config(transformers: Any, folder: Path, raw: dict[str, Any]) -> Any:
    kind = raw.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        own = "; its folder brings Python code, which is never run" if raw.get("auto_map") else ""
        raise ModelRefused(
            f"{folder.name}/config.json: model_type {kind!r} is not known to transformers "
            f"{transformers.__version__}{own}",
            expected="an architecture of the transformers library",
            remedy=f"install a newer transformers if it is new there; otherwise {FACTORY_REMEDY}",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # dataclass validation raises types of its own
        raise damaged(folder / "config.json", error, expected=f"the configuration of a {kind} model") from error
    if config.is_encoder_decoder:
        raise ModelRefused(f"{kind} is an encoder-decoder", expected="an encoder or a decoder", remedy=FACTORY_REMEDY)
    if getattr(config, "use_cache", None):
        config.use_cache = False  # a cache is an output that no task takes
    return config


def _load(torch: Any, transformers: Any, auto: str, folder: Path, config: Any) -> tuple[Any, tuple[str, ...]]:
    """The model in float32 with all weights from the file, and what the file had beyond."""
    try:
        model, info = getattr(transformers, auto).from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # each architecture raises what it likes
        raise ModelRefused(
            f"{folder.name}: transformers cannot load it: {type(error).__name__}: {first_line(error)}",
            expected=f"weights that fit config.json, for {auto}",
            remedy="check that config.json (sizes, num_labels, id2label) and model.safetensors belong together",
        ) from error
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        more = ", …" if len(missing) > 5 else ""
        raise ModelRefused(
            f"{folder.name}: model.safetensors lacks {len(missing)} weights: {', '.join(missing[:5])}{more}",
            expected=f"all weights of {type(model).__name__}",
            remedy="check the architecture in config.json; a head that was never trained has no weights",
        )
    if getattr(model, "pooler", None) is not None and auto == "AutoModel":
        model.pooler = None  # the [CLS] layer of pre-training, which no output here uses
    unexpected = sorted(set(info["unexpected_keys"]))
    notes = (f"not used by {type(model).__name__}: {', '.join(unexpected[:5])}",) if unexpected else ()
    return model, notes


def _exportable(model: Any, inputs: Inputs, sentence: layout.SentenceModel | None) -> Any:
    from edgekit_converters.sources._hf_modules import Plain, Pooled
    from edgekit_converters.sources._torch_graph import Exportable

    plain = Pooled(model, inputs.names, sentence.pooling) if sentence else Plain(model, inputs.names)
    return Exportable(plain, [""] * len(inputs.names))


def _classified(offer: _Offer, raw: dict[str, Any], config: Any) -> _Offer:
    """Put the labels in; several labels at once and regression are no choice between classes."""
    kind = getattr(config, "problem_type", None)
    if kind in ("multi_label_classification", "regression") or config.num_labels == 1:
        note = f"problem_type {kind or 'regression'}: no choice between classes, so the task is tensors"
        spec = offer.spec.replace(task="tensors", text=None)
        return dataclasses.replace(offer, spec=spec, files={}, notes=(*offer.notes, note))
    labels = layout.class_names(raw.get("id2label") or config.id2label, config.num_labels, "config.json")
    return dataclasses.replace(offer, spec=offer.spec.replace(labels=labels))


def _texts(
    transformers: Any,
    folder: Path,
    model: Any,
    task: str,
    options: SourceOptions,
    sentence: layout.SentenceModel | None,
) -> _Offer:
    from edgekit_converters.sources._torch_graph import Inputs

    if model.main_input_name != "input_ids":
        raise ModelRefused(
            f"{type(model).__name__} takes {model.main_input_name}", expected="text or photos", remedy=FACTORY_REMEDY
        )
    tokenizer = _tokenizer(transformers, folder)
    taken = inspect.signature(model.forward).parameters
    names = [name for name in TEXT_INPUTS if name in taken and name in tokenizer.model_input_names]
    length, notes = _length(options, names, model.config, tokenizer, sentence)
    spec = Spec(task)
    if sentence:
        spec = spec.replace(options={"normalize": sentence.normalize})
    files = {}
    content = _tokenizer_json(tokenizer)
    if content is None:
        notes += (f"{type(tokenizer).__name__} cannot be written as {TOKENIZER}: pass --tokenizer",)
    else:
        files[TOKENIZER] = content
        spec = spec.replace(text=TextEncoding(TOKENIZER, length))
    shapes = tuple((1, length) for _ in names)
    return _Offer(spec, Inputs(tuple(names), tuple(names), shapes, ("int64",) * len(names)), files, notes)


def _tokenizer(transformers: Any, folder: Path) -> Any:
    if not any((folder / name).is_file() for name in layout.TOKENIZERS):
        raise ModelRefused(
            f"{folder.name} has no tokenizer",
            expected=" or ".join(layout.TOKENIZERS),
            remedy="copy the whole folder, or save the tokenizer into it with tokenizer.save_pretrained()",
        )
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ModelRefused(
            f"{folder.name}: its tokenizer cannot be read: {type(error).__name__}: {first_line(error)}",
            expected="a tokenizer of the transformers library",
            remedy="save it again with tokenizer.save_pretrained()",
        ) from error


def _tokenizer_json(tokenizer: Any) -> bytes | None:
    """The tokenizer as transformers runs it, with its sides of padding and truncation; ``None`` for one in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    raw = json.loads(backend.to_str())
    side = {"left": "Left", "right": "Right"}
    raw["truncation"] = {
        "direction": side[tokenizer.truncation_side],
        "max_length": LENGTH,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    raw["padding"] = None
    if tokenizer.pad_token is not None:
        raw["padding"] = {
            "strategy": {"Fixed": LENGTH},
            "direction": side[tokenizer.padding_side],
            "pad_to_multiple_of": None,
            "pad_id": tokenizer.pad_token_id,
            "pad_type_id": tokenizer.pad_token_type_id,
            "pad_token": tokenizer.pad_token,
        }
    return json.dumps(raw, ensure_ascii=False).encode()


def _length(
    options: SourceOptions, names: list[str], config: Any, tokenizer: Any, sentence: layout.SentenceModel | None
) -> tuple[int, tuple[str, ...]]:
    """Tokens a sample: the user's, the folder's, or `LENGTH`; never more than the model has positions for."""
    hints = match_hints(names, options.inputs)
    hinted = {hint.shape[1] for hint in hints.values() if len(hint.shape) == 2 and hint.shape[1]}
    asked = {size for size in (*hinted, options.max_length) if size is not None}
    if len(asked) > 1:
        raise UsageError(f"lengths {sorted(asked)} by --input-shape and --max-length", expected="one length")
    most = _most_tokens(config, tokenizer)
    wanted = next(iter(asked), None)
    if wanted is not None:
        if wanted < 3 or (most is not None and wanted > most):
            raise UsageError(f"--max-length {wanted}", expected=f"3 to {most}, which the model was trained with")
        return wanted, ()
    usual = (sentence.max_length if sentence else None) or LENGTH
    length = min(usual, most or usual)
    return length, (f"texts are cut after {length} tokens; --max-length N for another length",)


def _most_tokens(config: Any, tokenizer: Any) -> int | None:
    """Positions that the model has for tokens; ``None`` where it has no limit."""
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa's family counts positions from the padding token's number on.
        offset = config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0
        limits.append(positions - offset)
    found = min(limits)
    return int(found) if found < 1_000_000 else None


_OFFSET_POSITIONS = ("camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm",
                     "xlm-roberta", "xlm-roberta-xl", "xmod")  # fmt: skip


def _pictures(
    transformers: Any,
    folder: Path,
    model: Any,
    task: str,
    options: SourceOptions,
    _: layout.SentenceModel | None,
) -> _Offer:
    from edgekit_converters.sources._hf_pictures import Unknown, preprocess_of
    from edgekit_converters.sources._torch_graph import Inputs

    layout.read_json(folder / "preprocessor_config.json")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        raw = processor.to_dict()
    except Exception as error:
        raise damaged(
            folder / "preprocessor_config.json", error, expected="an image processor of transformers"
        ) from error
    spec, size, notes = Spec(task), None, ()
    try:
        how, size = preprocess_of(raw)
        spec = spec.replace(preprocess=how)
    except Unknown as strange:
        spec = Spec()
        notes = (f"preprocessor_config.json asks for {strange}: say task and preprocessing in --spec",)
    shape = _picture_shape(model, size, options)
    return _Offer(spec, Inputs(("pixel_values",), ("pixel_values",), (shape,), ("float32",)), {}, notes)


def _picture_shape(model: Any, size: tuple[int, int] | None, options: SourceOptions) -> tuple[int | None, ...]:
    hint = match_hints(["pixel_values"], options.inputs).get("pixel_values")
    if hint is not None:
        return hint.shape
    if size is None:
        side = getattr(model.config, "image_size", None)
        if side is None:
            raise UsageError(
                f"{type(model).__name__} does not say the size of its photos",
                expected="height and width",
                remedy="pass --input-shape 1,3,224,224",
            )
        size = (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
    return (1, getattr(model.config, "num_channels", 3), *size)
