"""A question answering checkpoint of Hugging Face as a PyTorch factory for ``edgekit convert``.

The environment variable ``CHECKPOINT`` names its folder, with ``config.json`` and ``model.safetensors``: the one that
``train.py`` wrote, or any other that ``transformers`` opens as ``AutoModelForQuestionAnswering``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def build() -> Any:
    """Return the model, ``input_ids, attention_mask, token_type_ids`` to ``start_logits, end_logits``."""
    from transformers import AutoModelForQuestionAnswering
    from transformers.utils import logging

    folder = os.environ.get("CHECKPOINT", "")
    if not Path(folder, "config.json").is_file():
        raise SystemExit(f"error: CHECKPOINT={folder!r} is no folder with a config.json")
    logging.disable_progress_bar()
    return AutoModelForQuestionAnswering.from_pretrained(folder, attn_implementation="eager", local_files_only=True)
