"""The bundle: a folder with artifacts, manifest, golden samples and checksums.

    NAME/
        manifest.json           spec, artifacts, parity, provenance (schema version first)
        NAME.RECIPE.tflite …    standard files, usable by any other tool
        golden.npz              a few inputs with the original model's outputs
        report.html             the manifest as a page for people
        SHA256SUMS              of every other file; `sha256sum -c SHA256SUMS` checks it without us

Nothing in a bundle is trusted: names must be plain, files must be regular, hashes must match.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.binding import Binding
from edgekit.engine import Array
from edgekit.errors import BundleRefused
from edgekit.parity import Parity
from edgekit.resources import Resources
from edgekit.spec import Spec

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
CHECKSUMS = "SHA256SUMS"
MAX_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True)
class Artifact:
    """One artifact of a bundle.

    Attributes:
        file: File name inside the bundle.
        format: ``tflite`` or ``onnx``.
        recipe: Named precision.
        bytes: Size of the file.
        inputs: Bindings of the spec's inputs.
        outputs: Bindings of the spec's outputs.
        parity: Parity on held-out data, measured at conversion.
        golden: Parity on the golden samples, measured at conversion; what ``verify`` must find again.
        latency_ms: Median milliseconds for one sample on the machine that converted.
        degraded: Why the artifact missed its gate, when it was published all the same.
        notes: What a user should know, e.g. layers that stayed in float.
        resources: What one inference costs on any machine; ``None`` where it was not counted.
    """

    file: str
    format: str
    recipe: str
    bytes: int
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    parity: Parity
    golden: Parity
    latency_ms: float
    degraded: str | None = None
    notes: tuple[str, ...] = ()
    resources: Resources | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Artifact:
        """Read the JSON form."""
        values = dict(raw)
        for kind in ("inputs", "outputs"):
            values[kind] = tuple(Binding(**{**item, "shape": tuple(item["shape"])}) for item in raw[kind])
        for kind in ("parity", "golden"):
            values[kind] = Parity.from_dict(raw[kind])
        values["notes"] = tuple(raw.get("notes", ()))
        values["resources"] = None if raw.get("resources") is None else Resources.from_dict(raw["resources"])
        return cls(**values)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: Name of the model.
        spec: Inputs, preprocessing, task, labels, outputs.
        artifacts: In the order they were made.
        source: Framework, file, SHA-256, bytes and parameters of the original, and the words that convert it again.
        calibration: Samples and fingerprint of the calibration data.
        evaluation: Samples, origin and reference accuracy of the parity data.
        tools: Library name -> version.
        notes: What happened on the way that a user should know.
        created: ISO 8601 time in UTC.
        edgekit_version: Version that wrote it.
        schema_version: Of this structure.
    """

    name: str
    spec: Spec
    artifacts: tuple[Artifact, ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    created: str = ""
    edgekit_version: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        head = {"schema_version": self.schema_version, "edgekit_version": self.edgekit_version}
        rest = {key: value for key, value in asdict(self).items() if key not in head}
        return {**head, **rest, "spec": self.spec.to_dict(), "artifacts": [_artifact_dict(a) for a in self.artifacts]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, where: str = MANIFEST) -> Manifest:
        """Read the JSON form. Raises BundleRefused for a newer schema or a damaged structure."""
        version = raw.get("schema_version")
        if not isinstance(version, int) or version < 1:
            raise BundleRefused(f"{where} has schema version {version!r}", expected=f"1 to {SCHEMA_VERSION}")
        if version > SCHEMA_VERSION:
            raise BundleRefused(
                f"{where} has schema version {version}, written by edgekit {raw.get('edgekit_version', '?')}",
                expected=f"at most {SCHEMA_VERSION}",
                remedy=f"pip install -U 'edgekit-ai>={raw.get('edgekit_version', '')}'",
            )
        try:
            spec = Spec.from_dict(raw["spec"], where=where)
            artifacts = tuple(Artifact.from_dict(item) for item in raw["artifacts"])
            notes = tuple(raw.get("notes", ()))
            return cls(**{**raw, "spec": spec, "artifacts": artifacts, "notes": notes})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleRefused(f"{where} is damaged: {type(error).__name__}: {error}") from error


def _artifact_dict(artifact: Artifact) -> dict[str, Any]:
    raw = asdict(artifact)
    resources = None if artifact.resources is None else artifact.resources.to_dict()
    parity = {"parity": artifact.parity.to_dict(), "golden": artifact.golden.to_dict()}
    return {**raw, **parity, "resources": resources}


class Bundle:
    """An opened bundle.

    Args:
        path: The folder.
        check: Compare every file with SHA256SUMS; the answer to damage and tampering.

    Raises:
        BundleRefused: Not a bundle, a newer one, or a damaged one (naming the file and both hashes).
    """

    def __init__(self, path: str | Path, *, check: bool = True) -> None:
        self.path = Path(path)
        if not (self.path / MANIFEST).is_file():
            raise BundleRefused(
                f"{self.path} is not a bundle: it has no {MANIFEST}",
                expected="a folder written by edgekit convert",
                remedy="edgekit convert MODEL … -o BUNDLE",
            )
        if check:
            self.check()
        self.manifest = _read_manifest(self.path / MANIFEST)
        self.spec = self.manifest.spec
        for artifact in self.manifest.artifacts:
            self.file(artifact.file)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts in the order they were made."""
        return self.manifest.artifacts

    def file(self, name: str) -> Path:
        """Return the path of a file of the bundle. Raises BundleRefused when it is missing or outside."""
        return _plain_file(self.path, name)

    def check(self) -> None:
        """Compare every file with SHA256SUMS. Raises BundleRefused naming the first that differs."""
        sums = read_checksums(self.path)
        self.check_files(sums)
        present = {item.relative_to(self.path).as_posix() for item in self.path.rglob("*") if not item.is_dir()}
        for name in sorted(present - set(sums) - {CHECKSUMS}):
            raise BundleRefused(
                f"{self.path / name} is not listed in {CHECKSUMS}",
                remedy="remove it, or copy the bundle again",
            )

    def check_files(self, names: Iterable[str]) -> None:
        """Compare the manifest and some files with SHA256SUMS. Raises BundleRefused naming the first that differs."""
        sums = read_checksums(self.path)
        for name in (MANIFEST, *names):
            if name not in sums:
                raise BundleRefused(f"{CHECKSUMS} does not list {name}")
            found = file_sha256(_plain_file(self.path, name))
            if found != sums[name]:
                raise BundleRefused(
                    f"{self.path / name} is damaged: SHA-256 {found}",
                    expected=sums[name],
                    remedy="copy the bundle again, or convert it again",
                )

    def golden(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the golden inputs and the original's outputs: spec name -> array, batch first."""
        with np.load(self.file(GOLDEN), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        parts: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind not in parts:
                raise BundleRefused(f"{GOLDEN} has an array named {key!r}", expected="input/NAME or output/NAME")
            parts[kind][name] = array
        return parts["input"], parts["output"]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and, last, the checksums of everything in the folder."""
    text = json.dumps(manifest.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    names = sorted(item.name for item in folder.iterdir() if item.is_file() and item.name != CHECKSUMS)
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def write_golden(folder: Path, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
    """Write golden inputs and the original's outputs: spec name -> array, batch first."""
    arrays: dict[str, Any] = {f"input/{name}": array for name, array in inputs.items()}
    arrays.update({f"output/{name}": array for name, array in outputs.items()})
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds objects: they would be pickled")
    # NumPy before 2.1 has no allow_pickle here, and would store it as an array of that name.
    np.savez_compressed(folder / GOLDEN, **arrays)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def bundle_sha256(folder: Path) -> str:
    """SHA-256 of a bundle's SHA256SUMS, in hexadecimal: two bundles with the same one are the same.

    Raises:
        BundleRefused: There is no such file.
    """
    return file_sha256(_plain_file(folder, CHECKSUMS))


def read_checksums(folder: Path) -> dict[str, str]:
    """Return file name -> SHA-256 as listed in SHA256SUMS."""
    path = folder / CHECKSUMS
    try:
        lines = _plain_file(folder, CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BundleRefused(f"{path} is damaged: {error}") from error
    sums = {}
    for number, line in enumerate(lines, 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or not name:
            raise BundleRefused(f"{path} line {number} is damaged: {line[:80]!r}", expected="SHA-256, two spaces, name")
        sums[name] = digest
    return sums


def _plain_file(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).name != name or name in ("", ".", "..") or path.is_symlink():
        raise BundleRefused(f"{folder} names the file {name!r}", expected="a plain file inside the bundle")
    if not path.is_file():
        raise BundleRefused(f"{path} is missing", remedy="copy the bundle again, or convert it again")
    return path


def _read_manifest(path: Path) -> Manifest:
    size = path.stat().st_size
    if size > MAX_MANIFEST_BYTES:
        raise BundleRefused(f"{path} has {size} bytes", expected=f"at most {MAX_MANIFEST_BYTES}")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleRefused(f"{path} is damaged: {error}") from error
    if not isinstance(raw, dict):
        raise BundleRefused(f"{path} is not a manifest", expected="a JSON object")
    return Manifest.from_dict(raw, where=str(path))
