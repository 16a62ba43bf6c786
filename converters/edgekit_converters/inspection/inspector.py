"""Inspect a file or a bundle, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle, Manifest
from edgekit.engine import format_of
from edgekit.errors import EdgeKitError, MissingExtra, ModelRefused
from edgekit.resources import Resources
from edgekit_converters.inspection.model import Inspection


@dataclass(frozen=True)
class BundleInspection:
    """A bundle, summarised.

    Attributes:
        path: The folder.
        manifest: What the bundle says of itself.
        artifacts: Summary of each artifact that could be read here, in the manifest's order.
        unread: File name of an artifact -> why it was not read: the library for its format is not installed.
    """

    path: Path
    manifest: Manifest
    artifacts: tuple[Inspection, ...]
    unread: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bundle": str(self.path),
            "manifest": self.manifest.to_dict(),
            "artifacts": [item.to_dict() for item in self.artifacts],
            "unread": dict(self.unread),
        }


def inspect_path(path: str | Path) -> Inspection | BundleInspection:
    """Summarise a `.tflite` or `.onnx` file, or a bundle folder.

    Raises:
        ModelRefused: The file is missing, damaged or of another kind.
        BundleRefused: The folder is no bundle, or a damaged or newer one.
        MissingExtra: The library for a file's format is not installed.
    """
    path = Path(path)
    return inspect_bundle(path) if path.is_dir() else inspect_artifact(path)


def inspect_artifact(path: Path) -> Inspection:
    """Summarise one file. Raises as `inspect_path` does."""
    kind = format_of(path)
    if not path.is_file():
        raise ModelRefused(f"{path} is not there", expected="a .tflite or .onnx file, or a bundle folder")
    if path.stat().st_size == 0:
        raise ModelRefused(
            f"{path} is empty (0 bytes)", expected=f"a whole .{kind} file", remedy="copy or convert the file again"
        )
    try:
        if kind == "tflite":
            from edgekit_converters.inspection.tflite import read_tflite

            return read_tflite(path)
        from edgekit_converters.inspection.onnx import read_onnx

        return read_onnx(path)
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read: {error.strerror or error}") from error


def resources_of(path: Path) -> Resources | None:
    """Count what one inference of a file costs; ``None`` where that is not known.

    A file that an engine runs and that this package cannot read to its end is one of those.
    """
    try:
        return inspect_artifact(path).resources
    except EdgeKitError:
        return None


def inspect_bundle(path: Path) -> BundleInspection:
    """Check a bundle's hashes and summarise it. Raises as `inspect_path` does, save for MissingExtra."""
    bundle = Bundle(path)
    results = {artifact.file: _read_or_reason(bundle.file(artifact.file)) for artifact in bundle.artifacts}
    found = tuple(item for item in results.values() if isinstance(item, Inspection))
    return BundleInspection(
        path, bundle.manifest, found, {file: item for file, item in results.items() if isinstance(item, str)}
    )


def _read_or_reason(path: Path) -> Inspection | str:
    try:
        return inspect_artifact(path)
    except MissingExtra as error:
        return str(error)
