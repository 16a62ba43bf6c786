"""This machine and the emulated boards: each a Python that runs scripts and edgekit, and what it answered."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_runtimes.emulated.boards import BOARDS
from edgekit_runtimes.emulated.root import BoardRoot
from tests.benchmarks.arm.models import Model
from tests.benchmarks.quality import ROOT

ANSWERS = Path(__file__).with_name("answers.py")
ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}
_LIBRARIES = ("ai-edge-litert", "onnxruntime", "numpy", "opencv-python-headless")
ENCODED = "-"
"""In place of a recipe: what inputs are encoded to."""
EVER = 1e9
"""Seconds in which everything is done."""
VERIFY_MISSED = 4
"""Exit code of ``edgekit verify`` where an artifact differs."""


@dataclass(frozen=True)
class Machine:
    """A machine that answers.

    Attributes:
        name: Of its folder; that of the board.
        title: In the table.
        root: The board's files; ``None`` for this machine.
    """

    name: str
    title: str
    root: BoardRoot | None = None

    def run(self, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Python there with these words."""
        if self.root is not None:
            return self.root.run(words, **options)
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run([sys.executable, *words], check=False, text=True, env=environment, **options)

    def answers(
        self, model: Model, form: str, recipe: str, seconds: float = EVER, *, anew: bool = False
    ) -> Mapping[str, Array]:
        """What the artifact answers there, see `tests.benchmarks.arm.answers`; recipe ``-`` for the encoded inputs."""
        place = self._answers_place(model, form, recipe)
        if anew or not place.is_file():
            partial = place.with_suffix(".part")
            items = model.folder / "items.json"
            words = (str(ANSWERS), str(model.bundle), ENGINES[form], recipe, str(items), str(partial), str(seconds))
            print(f"{self.name}: {model.name}, {recipe}, {ENGINES[form]}", file=sys.stderr, flush=True)
            if code := self.run(words).returncode:
                sys.exit(f"{self.name}: {model.name}, {recipe}, {ENGINES[form]}: exit code {code}")
            partial.rename(place)
        with np.load(place, allow_pickle=False) as stored:
            return dict(stored)

    def verdicts(self, model: Model, recipe: str, *, anew: bool = False) -> dict[str, str]:
        """Artifact of a recipe -> what ``edgekit verify`` says there: ``pass``, or the difference."""
        place = self._verdicts_place(model, recipe)
        if anew or not place.is_file():
            print(f"{self.name}: verify {model.name}, {recipe}", file=sys.stderr, flush=True)
            words = ["-m", "edgekit.cli", "verify", str(model.bundle), "--recipe", recipe, "--json"]
            done = self.run(words, stdout=subprocess.PIPE)
            if done.returncode not in (0, VERIFY_MISSED):
                sys.exit(f"{self.name}: verify {model.name}: exit code {done.returncode}")
            partial = place.with_suffix(".part")
            partial.write_text(done.stdout, encoding="utf-8")
            partial.rename(place)
        found = json.loads(place.read_text(encoding="utf-8"))
        return {verdict["artifact"]: verdict["reason"] or verdict["verdict"] for verdict in found}

    def has(self, model: Model, form: str, recipe: str) -> bool:
        """Whether everything about an artifact, or about the encoded inputs (``-``), is known of this machine."""
        if not model.bundle.is_dir() or not self._answers_place(model, form, recipe).is_file():
            return False
        return recipe == ENCODED or self._verdicts_place(model, recipe).is_file()

    def _answers_place(self, model: Model, form: str, recipe: str) -> Path:
        return self._place(model, f"{recipe.replace('-', '_')}.{form}", "npz")

    def _verdicts_place(self, model: Model, recipe: str) -> Path:
        return self._place(model, f"verify.{recipe.replace('-', '_')}", "json")

    def _place(self, model: Model, name: str, suffix: str) -> Path:
        """File of a result, named by what it depends on: the bundle, the libraries and the processor."""
        sums = (model.bundle / "SHA256SUMS").read_bytes()
        about = [*(f"{library} {version(library)}" for library in _LIBRARIES), self.root.board.cpu if self.root else ""]
        digest = hashlib.sha256(sums + " ".join(about).encode()).hexdigest()[:12]
        folder = model.folder / self.name
        folder.mkdir(exist_ok=True)
        return folder / f"{name}-{digest}.{suffix}"


def machines() -> list[Machine]:
    """This machine, then the boards, the newest first."""
    found = [Machine("x86", "x86")]
    for name, board in BOARDS.items():
        found.append(Machine(name, board.title.removeprefix("Raspberry "), BoardRoot(board, print)))
    return found
