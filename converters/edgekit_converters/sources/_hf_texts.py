"""Tokenizer, inputs and length of a Hugging Face text model."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from edgekit.errors import ModelRefused, UsageError
from edgekit.spec import Spec, TextEncoding
from edgekit_converters.sources import _hf_folder as layout
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._hf_offer import Offer, OpenModel
from edgekit_converters.sources._tensors import match_hints

TOKENIZER = "tokenizer.json"
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LENGTH = 128
"""Tokens a sample where neither the user nor the folder says; less for models that take less."""
NO_LIMIT = 1_000_000
"""From here on, a tokenizer's longest text only says that nobody set one."""


def offer_for_texts(opened: OpenModel, task: str, sentence: layout.SentenceModel | None) -> Offer:
    """Read tokenizer and length of a text model.

    Args:
        opened: The model.
        task: Its task.
        sentence: What sentence-transformers says of it.

    Raises:
        UsageError: A length that the model cannot take, or two.
        ModelRefused: It takes no token ids, or its tokenizer is missing or damaged.
    """
    from edgekit_converters.sources._torch_graph import Inputs

    model = opened.model
    if model.main_input_name != "input_ids":
        raise ModelRefused(
            f"{type(model).__name__} takes {model.main_input_name}", expected="text or photos", remedy=layout.FACTORY
        )
    tokenizer = _tokenizer(opened.transformers, opened.folder)
    taken = inspect.signature(model.forward).parameters
    names = [name for name in TEXT_INPUTS if name in taken and name in tokenizer.model_input_names]
    length, notes = _length(opened, names, tokenizer, sentence)
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
    return Offer(spec, Inputs(tuple(names), tuple(names), shapes, ("int64",) * len(names)), files, notes)


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
    opened: OpenModel, names: list[str], tokenizer: Any, sentence: layout.SentenceModel | None
) -> tuple[int, tuple[str, ...]]:
    """Tokens a sample: the user's, the folder's, or `LENGTH`; never more than the model has positions for."""
    options = opened.options
    hints = match_hints(names, options.inputs)
    hinted = {hint.shape[1] for hint in hints.values() if len(hint.shape) == 2 and hint.shape[1]}
    asked = {size for size in (*hinted, options.max_length) if size is not None}
    if len(asked) > 1:
        raise UsageError(f"lengths {sorted(asked)} by --input-shape and --max-length", expected="one length")
    most = _most_tokens(opened.model.config, tokenizer)
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
    return int(found) if found < NO_LIMIT else None


_OFFSET_POSITIONS = ("camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm",
                     "xlm-roberta", "xlm-roberta-xl", "xmod")  # fmt: skip
