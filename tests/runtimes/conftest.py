"""Bundles made straight from reference models, without a framework."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekit.binding import Binding, BoundEngine
from edgekit.bundle import Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.engine import Array, open_engine
from edgekit.parity import DecisionScorer, ParityMeter
from edgekit.spec import Preprocess, Spec, TensorSpec
from tests.runtimes.engines.elsewhere import EVERYWHERE, Elsewhere

BundleMaker = Callable[..., Bundle]

PERSON = Spec(
    task="image-classification",
    inputs=(TensorSpec("image", (None, 96, 96, 3), layout="NHWC"),),
    outputs=(TensorSpec("scores", (None, 2)),),
    preprocess=Preprocess(scale=1 / 255),
    labels=("nobody", "person"),
)


def make_bundle(
    folder: Path,
    spec: Spec,
    files: Mapping[str, Path],
    golden: Mapping[str, Array],
    *,
    latency_ms: Sequence[float] = (),
    degraded: Sequence[str | None] = (),
    name: str = "model",
) -> Bundle:
    """Write a bundle whose original is its first artifact.

    Args:
        folder: Where.
        spec: Its inputs and outputs stand for the artifacts', by position.
        files: Recipe -> artifact.
        golden: Golden inputs.
        latency_ms: Of each artifact; counts up from 1 by default.
        degraded: Of each artifact; none by default.
        name: In the manifest.
    """
    folder.mkdir()
    reference: dict[str, Array] = {}
    artifacts = []
    for number, (recipe, source) in enumerate(files.items()):
        file = f"model.{recipe}{source.suffix}"
        shutil.copyfile(source, folder / file)
        with open_engine(folder / file, threads=1) as engine:
            inputs = tuple(
                Binding(t.name, i.name, i.shape, i.dtype, t.layout)
                for t, i in zip(spec.inputs, engine.inputs, strict=True)
            )
            outputs = tuple(
                Binding(t.name, i.name, i.shape, i.dtype) for t, i in zip(spec.outputs, engine.outputs, strict=True)
            )
            answers = BoundEngine(engine, spec, inputs, outputs).run(golden)
        reference = reference or answers
        meter = ParityMeter(DecisionScorer(spec.outputs[0].name) if spec.labels else None)
        meter.update(reference, answers)
        artifacts.append(
            Artifact(
                file=file,
                format=source.suffix[1:],
                recipe=recipe,
                bytes=source.stat().st_size,
                inputs=inputs,
                outputs=outputs,
                parity=meter.result(),
                golden=meter.result(),
                latency_ms=latency_ms[number] if latency_ms else 1.0 + number,
                degraded=degraded[number] if degraded else None,
            )
        )
    write_golden(folder, golden, reference)
    write_manifest(folder, Manifest(name=name, spec=spec, artifacts=tuple(artifacts)))
    return Bundle(folder)


@pytest.fixture(scope="session")
def models(realpack: Path) -> Path:
    """Folder of reference models."""
    return realpack / "models" / "ref"


@pytest.fixture(scope="session")
def photos(realpack: Path) -> list[Path]:
    """A few real photos."""
    return sorted((realpack / "imagenet_like" / "eval").glob("*.jpg"))[:6]


@pytest.fixture(scope="session")
def person_golden(photos: list[Path]) -> dict[str, Array]:
    """Golden inputs for the person detector."""
    from edgekit.tasks import task_for

    task = task_for(PERSON)
    return {"image": np.concatenate([task.encode(photo)["image"] for photo in photos[:4]])}


@pytest.fixture(scope="session")
def person_maker(models: Path, person_golden: dict[str, Array]) -> BundleMaker:
    """Make a bundle of the float and the int8 person detector of MLPerf Tiny."""

    def make(folder: Path, **options: Sequence[float] | Sequence[str | None] | str) -> Bundle:
        files = {"fp32": models / "vww_96_float.tflite", "int8": models / "vww_96_int8.tflite"}
        return make_bundle(folder, PERSON, files, person_golden, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def person_bundle(person_maker: BundleMaker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The person detector; int8 is the slower of the two on paper. Not to be changed by a test."""
    return person_maker(tmp_path_factory.mktemp("bundles") / "person")


@pytest.fixture(scope="session")
def detector_bundle(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """FastestDet, an ONNX file, as arrays in and arrays out. Not to be changed by a test."""
    spec = Spec(
        task="tensors",
        inputs=(TensorSpec("photo", (1, 3, 352, 352), layout="NCHW"),),
        outputs=(TensorSpec("cells", (1, 85, 22, 22)),),
    )
    golden = {"photo": np.random.default_rng(0).random((1, 3, 352, 352), np.float32)}
    folder = tmp_path_factory.mktemp("bundles") / "detector"
    return make_bundle(folder, spec, {"fp32": models / "FastestDet.onnx"}, golden)


@pytest.fixture
def own_person_bundle(person_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the person detector that a test may change."""
    return Path(shutil.copytree(person_bundle.path, tmp_path / "person"))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Elsewhere]:
    """Let the library have every provider."""
    import onnxruntime

    class Recording(Elsewhere):
        sessions: list[Elsewhere] = []  # noqa: RUF012
        counts = None
        fails = {}  # noqa: RUF012
        absent = frozenset()
        builds = "open"
        answers = 0.0
        real = onnxruntime.InferenceSession

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: EVERYWHERE)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    # It asks with a model of its own, once a process.
    monkeypatch.setattr("edgekit_runtimes.engines.onnxruntime.int8_saturates", lambda _: False)
    return Recording
