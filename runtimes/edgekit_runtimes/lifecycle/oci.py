"""A bundle as an OCI artifact: one layer a file, so that a registry stores and sends what changed and no more.

The manifest follows the OCI image specification 1.1: ``artifactType`` and, for registries that do not know it, the
same media type as that of the configuration. ``oras pull`` and any other client reads it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle import CHECKSUMS, MAX_MANIFEST_BYTES, Bundle, bundle_sha256, file_sha256, read_checksums
from edgekit.errors import BundleRefused
from edgekit_runtimes.lifecycle.oci_address import OciAddress, oci_address
from edgekit_runtimes.lifecycle.oci_client import Registry
from edgekit_runtimes.lifecycle.place import Pushed, plain_name

ARTIFACT_TYPE = "application/vnd.edgekit.bundle.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TITLE = "org.opencontainers.image.title"
_MEDIA_TYPES = {".json": "application/json", ".onnx": "application/vnd.onnx", ".tflite": "application/vnd.tflite"}
_MOST_LAYERS = 1000
_EMPTY = b"{}"


@dataclass(frozen=True)
class Layer:
    """One file of an artifact.

    Attributes:
        name: Plain file name.
        sha256: In hexadecimal.
        size: Bytes.
    """

    name: str
    sha256: str
    size: int


def push(bundle: Bundle, target: str, *, plain_http: bool = False) -> Pushed:
    """Put a bundle into a registry; the tag moves when every file is there.

    Args:
        bundle: The bundle, checked.
        target: ``oci://REGISTRY/NAME:TAG``.
        plain_http: Without TLS; a registry on this machine always is.

    Raises:
        UsageError: The address is wrong.
        EnvironmentFault: The registry cannot be reached, or refuses.
    """
    address = oci_address(target)
    registry = Registry(address, plain_http=plain_http)
    sums = {**read_checksums(bundle.path), CHECKSUMS: bundle_sha256(bundle.path)}
    layers = {name: _descriptor(bundle.path / name, digest) for name, digest in sums.items()}
    sent = [name for name, layer in layers.items() if registry.upload(bundle.path / name, layer)]
    manifest = _manifest(bundle, list(layers.values()))
    with tempfile.NamedTemporaryFile() as empty:
        empty.write(_EMPTY)
        empty.flush()
        registry.upload(Path(empty.name), manifest["config"])
    digest = registry.publish(manifest)
    size = sum(layers[name]["size"] for name in sent)
    return Pushed(address.at(digest), size, len(sent), len(layers) - len(sent))


def pull(source: str, folder: Path, *, have: Path | None = None, plain_http: bool = False) -> None:
    """Fetch a bundle from a registry.

    Args:
        source: ``oci://REGISTRY/NAME:TAG`` or ``oci://REGISTRY/NAME@sha256:DIGEST``.
        folder: An empty folder for the files.
        have: An older copy: files that it has already are taken from there.
        plain_http: Without TLS; a registry on this machine always is.

    Raises:
        UsageError: The address is wrong.
        BundleRefused: There is no such artifact, it is no bundle, or it is damaged.
        EnvironmentFault: The registry cannot be reached or refuses, or the disk is full.
    """
    address = oci_address(source)
    registry = Registry(address, plain_http=plain_http)
    known = _known(have)
    for layer in layers_of(_fetch_manifest(registry), address):
        if layer.sha256 in known and file_sha256(known[layer.sha256]) == layer.sha256:
            shutil.copyfile(known[layer.sha256], folder / layer.name)
        else:
            _fetch(registry, layer, folder / layer.name)


def layers_of(manifest: Mapping[str, Any], address: OciAddress) -> list[Layer]:
    """Return the files that a manifest names.

    Raises:
        BundleRefused: It is not that of a bundle, or names a file that could leave its folder.
    """
    config = manifest.get("config")
    found = manifest.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    if found != ARTIFACT_TYPE:
        what = found or manifest.get("mediaType") or "something without a type"
        raise BundleRefused(f"{address} is {what}", expected=f"a bundle, {ARTIFACT_TYPE}, as edgekit push writes it")
    raw = manifest.get("layers")
    if not isinstance(raw, list) or not 0 < len(raw) <= _MOST_LAYERS:
        raise BundleRefused(f"{address} has no list of files", expected=f"1 to {_MOST_LAYERS} layers")
    layers = [_layer(item, address) for item in raw]
    if len({layer.name for layer in layers}) != len(layers):
        raise BundleRefused(f"{address} names a file twice", expected="different names")
    return layers


def _layer(raw: Any, address: OciAddress) -> Layer:
    try:
        name, digest, size = raw["annotations"][_TITLE], raw["digest"], raw["size"]
        kind, _, sha256 = digest.partition(":")
        good = kind == "sha256" and len(sha256) == 64 and int(sha256, 16) >= 0 and type(size) is int and size >= 0
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleRefused(f"{address} has a damaged layer: {type(error).__name__}: {error}") from error
    if not good:
        raise BundleRefused(f"{address} has a layer {digest!r} of {size!r} bytes", expected="a SHA-256 and a size")
    return Layer(plain_name(name, str(address)), sha256, size)


def _fetch_manifest(registry: Registry) -> dict[str, Any]:
    address = registry.address
    content = bytearray()
    with registry.request(f"manifests/{address.digest or address.tag}", accept=_MANIFEST) as answer:
        for piece in registry.pieces(answer):
            content += piece
            if len(content) > MAX_MANIFEST_BYTES:
                raise BundleRefused(f"{address} has a manifest of more than {MAX_MANIFEST_BYTES} bytes")
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if address.digest not in (None, found):
        raise BundleRefused(f"{address.registry} sent a manifest with {found}", expected=str(address.digest))
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise BundleRefused(f"{address} has a damaged manifest: {error}") from error
    if not isinstance(manifest, dict):
        raise BundleRefused(f"{address} has a damaged manifest", expected="a JSON object")
    return manifest


def _fetch(registry: Registry, layer: Layer, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with registry.request(f"blobs/sha256:{layer.sha256}") as answer, path.open("xb") as stream:
        for piece in registry.pieces(answer):
            size += len(piece)
            if size > layer.size:
                break
            digest.update(piece)
            stream.write(piece)
    if size != layer.size or digest.hexdigest() != layer.sha256:
        raise BundleRefused(
            f"{registry.address}: {layer.name} came with {size} bytes and SHA-256 {digest.hexdigest()}",
            expected=f"{layer.size} bytes, {layer.sha256}",
            remedy="push the bundle again",
        )


def _known(have: Path | None) -> dict[str, Path]:
    """SHA-256 -> file of an older copy; nothing where there is none that can be read."""
    if have is None or not have.is_dir():
        return {}
    try:
        bundle = Bundle(have, check=False)
        return {digest: bundle.file(name) for name, digest in read_checksums(have).items()}
    except BundleRefused:
        return {}


def _descriptor(path: Path, sha256: str) -> dict[str, Any]:
    kind = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    annotations = {_TITLE: path.name}
    return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": path.stat().st_size, "annotations": annotations}


def _manifest(bundle: Bundle, layers: list[dict[str, Any]]) -> dict[str, Any]:
    about = bundle.manifest
    annotations = {
        _TITLE: about.name,
        "org.opencontainers.image.created": about.created,
        "vnd.edgekit.bundle.sha256": bundle_sha256(bundle.path),
        "vnd.edgekit.task": bundle.spec.task,
        "vnd.edgekit.recipes": ",".join(dict.fromkeys(artifact.recipe for artifact in bundle.artifacts)),
        "vnd.edgekit.version": about.edgekit_version,
    }
    config = {
        "mediaType": ARTIFACT_TYPE,
        "digest": f"sha256:{hashlib.sha256(_EMPTY).hexdigest()}",
        "size": len(_EMPTY),
    }
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": config,
        "layers": layers,
        "annotations": {key: value for key, value in annotations.items() if value},
    }
