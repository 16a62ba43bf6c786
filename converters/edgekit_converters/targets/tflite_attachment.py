"""Standard metadata in and out of a `.tflite` file.

The metadata is an entry of the model's own table; files that it names, such as labels, are a ZIP archive behind the
flatbuffer, uncompressed, which runtimes do not look at.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.errors import ModelRefused
from edgekit_converters.quantize.tflite_graph import add_metadata, metadata_of, packed, read_flatbuffer

ENTRY = "TFLITE_METADATA"
MAX_BYTES = 1 << 30
"""Larger files keep their weights behind the flatbuffer, or come close to its limit of 2 GiB: they are left alone."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: the same model always gives the same file


@dataclass(frozen=True)
class Attachment:
    """Metadata and its files.

    Attributes:
        metadata: Flatbuffer of ``ModelMetadata`` (identifier ``M001``).
        files: Name -> content.
    """

    metadata: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)


def attachment_of(path: Path) -> Attachment | None:
    """Read the metadata of a `.tflite` file; ``None`` where it has none.

    Raises:
        ModelRefused: The archive behind the model is damaged.
    """
    metadata = metadata_of(read_flatbuffer(path), ENTRY)
    if not metadata:
        return None
    if not zipfile.is_zipfile(path):
        return Attachment(metadata)
    try:
        with zipfile.ZipFile(path) as archive:
            return Attachment(metadata, {entry.filename: archive.read(entry) for entry in archive.infolist()})
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise ModelRefused(f"{path.name}: the files behind the model cannot be read: {error}") from error


def attach(path: Path, attachment: Attachment) -> None:
    """Put metadata and files into a `.tflite` file that has none; replaced in one step.

    An entry that the quantizer carried over from the float model stays as it is.
    """
    model = read_flatbuffer(path)
    if not metadata_of(model, ENTRY):
        add_metadata(model, ENTRY, attachment.metadata)
    with atomic_file(path) as temporary:
        temporary.write_bytes(_with_files(packed(model), attachment.files))


def carry(source: Path, path: Path) -> None:
    """Give an artifact that was made from another one its metadata and files, if there are any."""
    if max(source.stat().st_size, path.stat().st_size) > MAX_BYTES:
        return
    attachment = attachment_of(source)
    if attachment is not None:
        attach(path, attachment)


def _with_files(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive is found from its end; its offsets count from the start of the whole file."""
    if not files:
        return model
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return stream.getvalue()
