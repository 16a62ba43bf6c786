"""Models of Hugging Face: ``hf:NAME`` or a local folder in the hub's layout, opened through transformers.

Safetensors only, never pickles; never code that a model's folder brings along. The folder also says the task, labels,
tokenizer and preprocessing; what the user says goes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtra, ModelRefused
from edgekit_converters.sources import _hf_folder as layout
from edgekit_converters.sources._files import damaged, first_line
from edgekit_converters.sources._hf_offer import Offer, OpenModel
from edgekit_converters.sources._hf_pictures import offer_for_pictures
from edgekit_converters.sources._hf_texts import offer_for_texts
from edgekit_converters.sources._quiet import import_torch, quiet_import
from edgekit_converters.sources.base import SourceOptions
from edgekit_converters.sources.pytorch import PyTorchSource

if TYPE_CHECKING:
    from edgekit_converters.sources._torch_graph import Inputs

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
        opened = OpenModel(transformers, encoder, model, options)
        if model.main_input_name == "pixel_values":
            offer = offer_for_pictures(opened, task)
        else:
            offer = offer_for_texts(opened, "text-embedding" if sentence else task, sentence)
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
        remedy=layout.FACTORY,
    )


def _config(transformers: Any, folder: Path, raw: dict[str, Any]) -> Any:
    kind = raw.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        own = "; its folder brings Python code, which is never run" if raw.get("auto_map") else ""
        raise ModelRefused(
            f"{folder.name}/config.json: model_type {kind!r} is not known to transformers "
            f"{transformers.__version__}{own}",
            expected="an architecture of the transformers library",
            remedy=f"install a newer transformers if it is new there; otherwise {layout.FACTORY}",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # dataclass validation raises types of its own
        raise damaged(folder / "config.json", error, expected=f"the configuration of a {kind} model") from error
    if config.is_encoder_decoder:
        raise ModelRefused(f"{kind} is an encoder-decoder", expected="an encoder or a decoder", remedy=layout.FACTORY)
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


def _classified(offer: Offer, raw: dict[str, Any], config: Any) -> Offer:
    """Put the labels in; several labels at once and regression are no choice between classes."""
    kind = getattr(config, "problem_type", None)
    if kind in ("multi_label_classification", "regression") or config.num_labels == 1:
        note = f"problem_type {kind or 'regression'}: no choice between classes, so the task is tensors"
        spec = offer.spec.replace(task="tensors", text=None)
        return dataclasses.replace(offer, spec=spec, files={}, notes=(*offer.notes, note))
    labels = layout.class_names(raw.get("id2label") or config.id2label, config.num_labels, "config.json")
    return dataclasses.replace(offer, spec=offer.spec.replace(labels=labels))
