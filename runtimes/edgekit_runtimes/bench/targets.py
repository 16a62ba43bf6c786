"""What a word on the command line stands for: a bundle's artifacts, or a bare file."""

from __future__ import annotations

from pathlib import Path

from edgekit.bundle import Artifact, Bundle
from edgekit.engine import FORMAT_SUFFIXES
from edgekit.errors import ModelRefused, UsageError
from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.choice import candidates, preferred


def targets_of(path: Path, engine: str | None, recipe: str | None, *, every: bool = False) -> list[Target]:
    """Return the artifacts that a bundle or file stands for, the one to measure first.

    Of a bundle they are in the order in which ``edgekit run`` would choose; without ``every`` the first whose engine
    is installed is meant. The files are compared with their checksums.

    Args:
        path: A bundle, or a ``.tflite`` or ``.onnx`` file.
        engine: Name of an engine.
        recipe: Named precision, of a bundle.
        every: Those that missed their gate too, in the bundle's order.

    Raises:
        EdgeKitError: There is no such file, recipe or engine; the bundle is damaged; none passed its gate.
    """
    if path.suffix in FORMAT_SUFFIXES.values() and not path.is_dir():
        return [_bare(path, engine, recipe)]
    if not path.exists():
        raise ModelRefused(f"{path} does not exist", expected="a bundle, or a .tflite or .onnx file")
    bundle = Bundle(path, check=False)
    found = candidates(bundle, engine, recipe)
    if not every:
        found = preferred(found) if recipe is None else sorted(found, key=lambda artifact: artifact.latency_ms)
    return [_of_bundle(bundle, artifact, engine) for artifact in found]


def other_target(word: str, path: Path, engine: str | None) -> list[Target]:
    """Return what ``--compare WORD`` means: a bundle, a file, or a recipe of the bundle that is measured."""
    other = Path(word)
    if other.exists() or other.suffix in FORMAT_SUFFIXES.values() or not path.is_dir():
        return targets_of(other, None, None)
    return targets_of(path, engine, word)


def _bare(path: Path, engine: str | None, recipe: str | None) -> Target:
    if recipe is not None:
        raise UsageError(f"--recipe {recipe} for the bare file {path}", expected="a bundle")
    if not path.is_file():
        raise ModelRefused(f"{path} does not exist", expected="a bundle, or a .tflite or .onnx file")
    return Target(path, engine=engine)


def _of_bundle(bundle: Bundle, artifact: Artifact, engine: str | None) -> Target:
    path = bundle.file(artifact.file)
    bundle.check_files([artifact.file])
    return Target(path, bundle.path, artifact.recipe, engine)
