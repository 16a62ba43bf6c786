"""Download a model's folder from the Hugging Face hub: configuration, tokenizer and safetensors, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError, EnvironmentFault, MissingExtra, ModelRefused, UsageError
from edgekit_converters.sources._files import first_line

# No pickles, no Python files, and none of the ONNX, TFLite or OpenVINO copies that many repositories carry.
WANTED = (
    *("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("preprocessor_config.json", "modules.json", "sentence_bert_config.json", "[0-9]_*/config.json"),
)
LOCAL = "a folder that holds the model's config.json, model.safetensors and tokenizer files"
OFFLINE = f"check the connection; where the model was downloaded before, set HF_HUB_OFFLINE=1; or pass {LOCAL}"


def download(name: str) -> Path:
    """Return the local folder of a model on the hub; what is there already is not downloaded again.

    Args:
        name: ``owner/model`` or ``model``, with ``@revision`` for a branch, tag or commit.

    Raises:
        UsageError: It cannot be a name.
        ModelRefused: There is no such model or revision, or it is closed to this user.
        EnvironmentFault: The hub cannot be reached, or there is no disk space.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtra(
            f"huggingface_hub cannot be imported: {error}", remedy="pip install 'edgekit-ai[huggingface]'"
        ) from error
    repository, at, revision = name.partition("@")
    if not repository or (at and not revision):
        raise UsageError(f"hf:{name}", expected="hf:OWNER/MODEL or hf:OWNER/MODEL@REVISION")
    try:
        return Path(
            huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(WANTED))
        )
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        raise _refusal(name, error, errors) from error


def _refusal(name: str, error: Exception, errors: Any) -> EdgeKitError:
    """What the hub's client failed with, as one of this package's errors."""
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"hf:{name}: {first_line(error)}", expected="hf:OWNER/MODEL or hf:OWNER/MODEL@REVISION")
    if isinstance(error, errors.GatedRepoError):
        return ModelRefused(
            f"hf:{name} is gated", expected="a model open to you", remedy=f"ask for access on its page; or pass {LOCAL}"
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "model"
        return ModelRefused(
            f"hf:{name}: the hub knows no such {what}",
            expected="OWNER/MODEL as in the address of the model's page",
            remedy=f"check the name; log in with 'hf auth login' for a private one; or pass {LOCAL}",
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return EnvironmentFault(
            f"hf:{name}: the hub cannot be reached, and the model was not downloaded before", remedy=OFFLINE
        )
    return EnvironmentFault(f"hf:{name} cannot be downloaded: {first_line(error)}", remedy=OFFLINE)
