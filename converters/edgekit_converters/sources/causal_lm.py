"""Causal language models from a Hugging Face folder, as a graph of one decoder step with a key-value cache.

The graph of a decoder that TFLite and ONNX can both hold has static shapes: it takes a chunk of tokens, how many
tokens the cache holds, and for each layer the keys and values of all slots of the cache; it gives the logits of the
chunk and its keys and values, which the caller writes into the cache. Slots that are not filled yet, and the padding
of a chunk that is not full, are masked, so a chunk that is written over later needs no clearing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtra, ModelRefused, UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._quiet import import_torch
from edgekit_converters.sources.base import SourceOptions

if TYPE_CHECKING:
    from edgekit_converters.sources.pytorch import PyTorchSource

CONFIG = "config.json"
CHUNK = 8
"""Tokens a step, where the user says nothing: see `samples/language_model`."""
CONTEXT = 512
"""Slots of the cache, where the user says nothing and the model allows as many."""
_ALIKE = 1e-4
_GROUPED, _OWN = "edgekit-grouped", "eager"
_FULL = "full_attention"
_SLIDING = "sliding_attention"


@dataclass(frozen=True)
class Geometry:
    """Sizes of a decoder step.

    Attributes:
        layers: Decoder layers.
        heads: Key-value heads of a layer.
        width: Numbers a head.
        chunk: Tokens a step.
        slots: Tokens that the cache holds: the context.
    """

    layers: int
    heads: int
    width: int
    chunk: int
    slots: int


def is_causal_lm(folder: Path) -> bool:
    """Whether a folder holds a Hugging Face model that generates text."""
    try:
        architectures = _read_config(folder).get("architectures")
    except ModelRefused:  # what opens the other kinds of folder says what is wrong with it
        return False
    names = architectures if isinstance(architectures, list) else []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{folder / CONFIG} cannot be read: {error}", expected="a Hugging Face model") from error
    if not isinstance(raw, dict):
        raise ModelRefused(f"{folder / CONFIG} holds no object", expected="a Hugging Face model")
    return raw


def open_causal_lm(folder: Path, options: SourceOptions) -> PyTorchSource:
    """Open a folder that ``save_pretrained`` wrote as a decoder step.

    Args:
        folder: With ``config.json`` and safetensors weights; code in it is not run.
        options: ``input_ids`` of shape ``(1, tokens)`` sets the tokens a step, ``past`` of shape ``(1, slots)`` the
            size of the cache.

    Raises:
        ModelRefused: The folder cannot be loaded, or it is no decoder whose layers all attend to the whole context.
        UsageError: Shapes that the model cannot have.
    """
    return step_source(load_causal_lm(folder), options, name=folder.resolve().name, path=folder)


def load_causal_lm(folder: Path) -> Any:
    """Load the model in float32 on the CPU, from safetensors, without running code of the folder."""
    import_torch()
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(
            f"transformers cannot be imported: {error}",
            expected="the transformers library",
            remedy="pip install transformers",
        ) from error
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            attn_implementation="eager",
        )
    except Exception as error:  # the library raises what it meets: OSError, ValueError, KeyError, SafetensorError
        raise ModelRefused(
            f"{folder.name} cannot be loaded: {type(error).__name__}: {first_line(error)}",
            expected="a folder written by save_pretrained, with config.json and model.safetensors",
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()


def step_source(model: Any, options: SourceOptions, *, name: str, path: Path | None = None) -> PyTorchSource:
    """Wrap a live ``transformers`` causal language model as a decoder step; arguments as `open_causal_lm`'s."""
    from edgekit_converters.sources._causal_step import StepDecoder, StepInputs
    from edgekit_converters.sources._torch_graph import Exportable
    from edgekit_converters.sources.pytorch import PyTorchSource

    geometry = geometry_of(model.config, options)
    step = StepDecoder(model, geometry)
    _answer_alike(model, step, geometry)
    tensors = step_inputs(geometry)
    inputs = StepInputs(
        names=tuple(tensor.name for tensor in tensors),
        call_names=("",) * len(tensors),
        shapes=tuple((1, *tensor.shape[1:]) for tensor in tensors),
        dtypes=tuple(tensor.dtype for tensor in tensors),
    )
    source = PyTorchSource(Exportable(step, inputs.call_names), inputs, name=name, path=None)
    source.path = path
    source.task_options = {"text-generation": end_of_text(model)}
    return source


def _answer_alike(model: Any, step: Any, geometry: Geometry) -> None:
    """Let queries share keys and values where the answers stay the same; refuse a model that no step answers for.

    A model whose attention is of its own kind (scores with a cap, for one) keeps it.
    """
    import torch
    from transformers import AttentionInterface

    from edgekit_converters.sources._causal_step import grouped_attention

    AttentionInterface.register(_GROUPED, grouped_attention)
    ids = torch.arange(min(2 * geometry.chunk, geometry.slots))[None] % model.config.get_text_config().vocab_size
    model.set_attn_implementation(_OWN)
    with torch.no_grad():
        wanted = model(input_ids=ids, use_cache=False).logits[0]
        for attention in (_GROUPED, _OWN):
            model.set_attn_implementation(attention)
            error = float((_stepwise(step, ids, geometry) - wanted).norm() / (wanted.norm() + 1e-12))
            if error <= _ALIKE:
                return
    raise ModelRefused(
        f"{model.config.model_type} with a cache answers otherwise than without (relative L2 {error:.2g})",
        expected="attention to all earlier tokens",
    )


def _stepwise(step: Any, ids: Any, geometry: Geometry) -> Any:
    """Logits of tokens that are given chunk by chunk."""
    import torch

    caches = [torch.zeros(1, *map(int, tensor.shape[1:])) for tensor in step_inputs(geometry)[2:]]  # type: ignore[arg-type]
    rows = []
    for begin in range(0, ids.shape[1], geometry.chunk):
        chunk = torch.nn.functional.pad(ids[:, begin : begin + geometry.chunk], (0, geometry.chunk))
        logits, *new = step(chunk[:, : geometry.chunk], torch.tensor([[begin]]), *caches).values()
        for cache, part in zip(caches, new, strict=True):
            room = cache[:, :, begin : begin + geometry.chunk]
            room.copy_(part[:, :, : room.shape[2]])
        rows.append(logits[0])
    return torch.cat(rows)[: ids.shape[1]]


def step_inputs(geometry: Geometry) -> list[TensorSpec]:
    """Inputs of the graph in order: tokens, tokens in the cache, and keys and values of every layer."""
    cache = (None, geometry.heads, geometry.slots, geometry.width)
    return [
        TensorSpec("input_ids", (None, geometry.chunk), "int64"),
        TensorSpec("position", (None, 1), "int64"),
        *(TensorSpec(f"past_{part}_{layer}", cache) for layer in range(geometry.layers) for part in ("key", "value")),
    ]


def geometry_of(config: Any, options: SourceOptions) -> Geometry:
    """Sizes of the step that the user asked for, checked against the model's configuration."""
    text = config.get_text_config(decoder=True)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelRefused(f"{config.model_type} has an encoder", expected="a decoder alone")
    limit = getattr(text, "max_position_embeddings", None)
    chunk, slots = _asked(options)
    slots = slots or min(CONTEXT, limit or CONTEXT)
    chunk = chunk or min(CHUNK, slots)
    if not 0 < chunk <= slots or (limit is not None and slots > limit):
        raise UsageError(
            f"{chunk} tokens a step and a context of {slots}",
            expected=f"1 <= tokens a step <= context{f' <= {limit}, the model' if limit else ''}",
            remedy="--input-shape input_ids=1,8 --input-shape past=1,256",
        )
    _refuse_partial_attention(text, slots)
    heads = text.num_attention_heads
    kept = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Geometry(text.num_hidden_layers, kept, width, chunk, slots)


def _asked(options: SourceOptions) -> tuple[int | None, int | None]:
    asked: dict[str | None, int | None] = {"input_ids": None, "past": None}
    for hint in options.inputs:
        if hint.name not in asked or len(hint.shape) != 2 or not hint.shape[1]:
            raise UsageError(
                f"input shape {list(hint.shape)} for {hint.name or 'an input without a name'}",
                expected="input_ids=1,TOKENS for the tokens a step, past=1,SLOTS for the context",
            )
        asked[hint.name] = hint.shape[1]
    return asked["input_ids"], asked["past"]


def _refuse_partial_attention(text: Any, slots: int) -> None:
    kinds = set(getattr(text, "layer_types", None) or ())
    window = getattr(text, "sliding_window", None)
    slides = _SLIDING in kinds or (not kinds and window and getattr(text, "use_sliding_window", True))
    if slides and window and window < slots:
        raise ModelRefused(
            f"layers of {text.model_type} attend to the last {window} tokens only",
            expected=f"a context of at most {window}",
            remedy=f"--input-shape past=1,{window}",
        )
    if other := kinds - {_FULL, _SLIDING}:
        raise ModelRefused(f"{text.model_type} has layers of {', '.join(sorted(other))}", expected="attention layers")


def end_of_text(model: Any) -> dict[str, Any]:
    """What the model's configuration says of the tokens that begin and end a text, as options of the task."""
    generation = getattr(model, "generation_config", None)
    found: dict[str, Any] = {}
    for key, option in (("eos_token_id", "end_ids"), ("bos_token_id", "start_id")):
        value = getattr(generation, key, None)
        value = getattr(model.config, key, None) if value is None else value
        if value is None:
            continue
        ids = [int(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        found[option] = ids if option == "end_ids" else ids[0]
    return found
