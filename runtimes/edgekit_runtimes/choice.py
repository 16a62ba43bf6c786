"""Which artifact of a bundle runs, on which engine.

What was asked for by ``engine`` or ``recipe`` is honoured or refused. Otherwise, of the artifacts that passed their
gate at conversion and whose engine is installed here, the one that was fastest at conversion runs; where two were
equally fast, the recipe that is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Engine, engine_class, open_engine
from edgekit.errors import MissingExtra, ModelRefused, QualityError, UsageError
from edgekit_runtimes.proof import prove

_SMALL_FIRST = ("int8", "mixed", "int8-int16", "dynamic-int8", "fp16", "fp32")
_EXTRAS = {"tflite": "litert", "onnx": "onnxruntime"}


def candidates(bundle: Bundle, engine: str | None = None, recipe: str | None = None) -> list[Artifact]:
    """Return the artifacts that may run, in the bundle's order.

    Args:
        bundle: The bundle.
        engine: Name of an engine; it must run the artifact's format.
        recipe: Named precision.

    Raises:
        UsageError: The bundle has no artifact of that recipe.
        ModelRefused: The bundle has none that the engine runs.
        EnvironmentFault: There is no engine of that name.
    """
    found = [artifact for artifact in bundle.artifacts if recipe in (None, artifact.recipe)]
    if not found:
        raise UsageError(f"{bundle.path} has no recipe {recipe!r}", expected=_listed(bundle, by="recipe"))
    if engine is None:
        return found
    formats = engine_class(engine).formats
    fitting = [artifact for artifact in found if artifact.format in formats]
    if not fitting:
        asked = f"a {recipe} artifact" if recipe else "an artifact"
        raise ModelRefused(
            f"{bundle.path} has no {' or '.join(formats)} file for engine {engine!r}",
            expected=f"{asked} that it runs; the bundle has {', '.join(a.file for a in bundle.artifacts)}",
            remedy=f"convert with --to {formats[0]}, or choose another engine",
        )
    return fitting


def preferred(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Return the artifacts that passed their gate, the one to run first.

    Raises:
        QualityError: None passed; such an artifact runs only when its recipe is asked for.
    """
    passed = [artifact for artifact in artifacts if artifact.degraded is None]
    if not passed:
        reasons = "; ".join(f"{artifact.file}: {artifact.degraded}" for artifact in artifacts)
        raise QualityError(
            f"no artifact passed its gate at conversion: {reasons}",
            remedy=f"convert again, or ask for one by name with --recipe {artifacts[0].recipe}",
        )
    return sorted(passed, key=lambda artifact: (artifact.latency_ms, _size_rank(artifact.recipe)))


def open_artifact(
    bundle: Bundle, engine: str | None = None, recipe: str | None = None, threads: int | None = None
) -> tuple[Artifact, Engine]:
    """Choose and open an artifact; its file and the manifest are compared with their checksums first.

    Raises:
        EdgeKitError: As for `candidates`, `preferred` and `edgekit_runtimes.proof.prove`; MissingExtra when no engine
            is installed that runs one; ModelRefused when the file cannot be loaded; BundleRefused when it is damaged.
    """
    found = candidates(bundle, engine, recipe)
    ordered = preferred(found) if recipe is None else sorted(found, key=lambda artifact: artifact.latency_ms)
    for artifact in ordered:
        try:
            path = bundle.file(artifact.file)
            bundle.check_files([artifact.file])
            runner = open_engine(path, engine, threads=threads)
        except MissingExtra:  # noqa: PERF203  # a handful of artifacts
            if engine is not None:
                raise
        else:
            try:
                prove(bundle, artifact, runner)
            except BaseException:
                runner.close()
                raise
            return artifact, runner
    raise no_engine(ordered)


def no_engine(artifacts: Sequence[Artifact]) -> MissingExtra:
    """Return the error for artifacts none of which has its engine installed."""
    extras = sorted({_EXTRAS[artifact.format] for artifact in artifacts})
    return MissingExtra(
        f"no engine is installed for {', '.join(artifact.file for artifact in artifacts)}",
        remedy=" or ".join(f"pip install 'edgekit-ai[{extra}]'" for extra in extras),
    )


def _size_rank(recipe: str) -> int:
    return _SMALL_FIRST.index(recipe) if recipe in _SMALL_FIRST else len(_SMALL_FIRST)


def _listed(bundle: Bundle, *, by: str) -> str:
    return ", ".join(dict.fromkeys(str(getattr(artifact, by)) for artifact in bundle.artifacts)) or "nothing"
