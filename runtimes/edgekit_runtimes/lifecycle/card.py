"""A model card: the README.md of a bundle on the Hugging Face hub, written from its manifest."""

from __future__ import annotations

import json

from edgekit.bundle import Artifact, Bundle, bundle_sha256

CARD = "README.md"
MARK = "<!-- Written by edgekit push from manifest.json. Delete this line to keep your own changes. -->"

_PIPELINES = {
    "image-classification": "image-classification",
    "object-detection": "object-detection",
    "semantic-segmentation": "image-segmentation",
    "instance-segmentation": "image-segmentation",
    "matting": "image-segmentation",
    "keypoints": "keypoint-detection",
    "text-classification": "text-classification",
    "text-embedding": "sentence-similarity",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "text-generation": "text-generation",
    "keyword-spotting": "audio-classification",
    "audio-classification": "audio-classification",
    "speech-to-text": "automatic-speech-recognition",
    "tabular-classification": "tabular-classification",
    "tabular-regression": "tabular-regression",
}
"""Task of a spec -> ``pipeline_tag`` of the hub; the others have none."""


def model_card(bundle: Bundle, address: str) -> str:
    """Return the text of the card.

    Args:
        bundle: The bundle.
        address: What ``edgekit pull`` takes to fetch it.
    """
    about = bundle.manifest
    formats = list(dict.fromkeys(artifact.format for artifact in bundle.artifacts))
    source = ", ".join(str(about.source[key]) for key in ("framework", "file") if about.source.get(key))
    lines = [
        *_front_matter(bundle, formats),
        MARK,
        "",
        f"# {_text(about.name)}",
        "",
        f"A model for {bundle.spec.task} as an edgekit bundle (`pip install edgekit-ai`): "
        f"{' and '.join(formats)} files for devices, with proof of how close each is to the original"
        f"{f' ({_text(source)})' if source else ''}.",
        "",
        "## Run it",
        "",
        "```",
        f"pip install 'edgekit-ai[{','.join(_extras(bundle, formats))},hub]'",
        f"edgekit pull {address} -o {_word(about.name)}",
        f"edgekit verify {_word(about.name)}    # this machine gives the original's answers",
        f"edgekit run {_word(about.name)} INPUT",
        "```",
        "",
        "## How close to the original",
        "",
        *_table(bundle),
        "",
        *_made(bundle),
    ]
    return "\n".join(lines) + "\n"


def _front_matter(bundle: Bundle, formats: list[str]) -> list[str]:
    tag = _PIPELINES.get(bundle.spec.task)
    return [
        "---",
        "library_name: edgekit",
        *([f"pipeline_tag: {tag}"] if tag else []),
        "tags:",
        *(f"- {json.dumps(word)}" for word in ("edgekit", *formats, *_recipes(bundle))),
        "---",
    ]


def _table(bundle: Bundle) -> list[str]:
    metric = next((a.parity.metric.name for a in bundle.artifacts if a.parity.metric), None)
    head = ["file", "precision", "size", "same answer as the original", "largest relative L2"]
    rows = [[*head, *([metric, "of the original"] if metric else [])]]
    rows.append(["---"] * len(rows[0]))
    rows.extend(_row(artifact, with_metric=metric is not None) for artifact in bundle.artifacts)
    return [f"| {' | '.join(row)} |" for row in rows]


def _row(artifact: Artifact, *, with_metric: bool) -> list[str]:
    parity = artifact.parity
    agreement = str(parity.agreement) if parity.agreement else ""
    size, error = f"{artifact.bytes / 1e6:.2f} MB", f"{parity.worst.relative_l2:.3g}"
    row = [artifact.file, artifact.recipe, size, agreement, error]
    if with_metric:
        row += [str(parity.metric or ""), str(parity.reference_metric or "")]
    return [_text(cell) for cell in row]


def _made(bundle: Bundle) -> list[str]:
    about = bundle.manifest
    lines = [f"Measured on {max(artifact.parity.samples for artifact in bundle.artifacts)} samples"]
    if about.edgekit_version:
        lines.append(f"by edgekit {about.edgekit_version}")
    if about.created:
        lines.append(f"at {about.created}")
    degraded = [f"- {_text(a.file)} missed its gate: {_text(a.degraded)}" for a in bundle.artifacts if a.degraded]
    measured = f"{' '.join(lines)}. SHA-256 of the bundle: `{bundle_sha256(bundle.path)}`."
    return [*degraded, *([""] if degraded else []), measured]


def _recipes(bundle: Bundle) -> list[str]:
    return list(dict.fromkeys(artifact.recipe for artifact in bundle.artifacts))


def _extras(bundle: Bundle, formats: list[str]) -> list[str]:
    return thin_extras(formats, text=bundle.spec.text is not None)


def thin_extras(formats: list[str], *, text: bool) -> list[str]:
    """Return the extras that a device needs to run artifacts of some formats."""
    engines = {"tflite": "litert", "onnx": "onnxruntime"}
    return [*(engines[name] for name in formats if name in engines), *(["text"] if text else [])]


def _word(name: str) -> str:
    """A name as one word of a command."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name).strip("-.") or "bundle"


def _text(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in r"\`*[]<>#|" else letter for letter in line)
