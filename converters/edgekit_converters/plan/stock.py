"""The artifacts of a plan that are there: each in a bundle of its own, under its content's hash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgekit.atomic import atomic_file, atomic_folder
from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import BundleRefused
from edgekit.parity import Parity
from edgekit_converters.input_size import Size, sides
from edgekit_converters.plan.fingerprint import Fingerprints
from edgekit_converters.plan.variants import Piece
from edgekit_converters.progress import Stages
from edgekit_converters.request import Request

PIECES = "variants"
_KEY_SHOWN = 12


class Stock:
    """What is finished, below a plan's folder; nothing is converted or opened here.

    Args:
        request: What is converted.
        folder: Of the plan.
        stages: Progress.

    Attributes:
        fingerprints: Of what is converted.

    Raises:
        DataRefused: A file that is converted or calibrated with cannot be read.
    """

    def __init__(self, request: Request, folder: Path, stages: Stages) -> None:
        self._folder, self._stages = folder, stages
        self.fingerprints = Fingerprints(request)

    def bundle_of(self, piece: Piece) -> Path:
        """Where an artifact's bundle lies, or will lie."""
        return self._folder / PIECES / f"{piece.name}-{self.fingerprints.of_piece(piece)[:_KEY_SHOWN]}.bundle"

    def finished(self, piece: Piece) -> Bundle | None:
        """Return the bundle of an artifact that was made before; a damaged one is removed and made again."""
        path = self.bundle_of(piece)
        if not (path / MANIFEST).is_file():
            return None
        try:
            return Bundle(path)
        except BundleRefused as error:
            self._stages.note(f"made again: {error.received}")
            shutil.rmtree(path)
            return None

    def keep(self, piece: Piece, files: Mapping[str, bytes]) -> Bundle:
        """Put a bundle that was made elsewhere in its place. Raises BundleRefused for one that is damaged."""
        path = self.bundle_of(piece)
        with atomic_folder(path) as temporary:
            for name, data in files.items():
                (temporary / Path(name).name).write_bytes(data)
            Bundle(temporary)
        return Bundle(path, check=False)

    def parity_at(self, size: Size) -> Parity | None:
        """How another input size alone changes the answers, where it was measured before."""
        path = self._parity_file(size)
        return Parity.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def keep_parity(self, size: Size, parity: Parity) -> None:
        """Keep how another input size alone changes the answers."""
        with atomic_file(self._parity_file(size)) as temporary:
            temporary.write_text(json.dumps(parity.to_dict()), encoding="utf-8")

    def _parity_file(self, size: Size) -> Path:
        key = self.fingerprints.of_data(size)[:_KEY_SHOWN]
        return self._folder / PIECES / f"{sides(size)}-{key}.json"
