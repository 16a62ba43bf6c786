"""Which artifact runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit import engine as engines
from edgekit.bundle import Bundle
from edgekit.errors import BundleRefused, EnvironmentFault, MissingExtra, ModelRefused, QualityError, UsageError
from edgekit_runtimes import choice
from edgekit_runtimes.choice import open_artifact
from edgekit_runtimes.engines import litert

Maker = Callable[..., Bundle]


def chosen(bundle: Bundle, engine: str | None = None, recipe: str | None = None) -> tuple[str, str]:
    artifact, opened = open_artifact(bundle, engine, recipe, 1)
    with opened:
        return artifact.recipe, opened.name


def test_the_fastest_at_conversion_runs(person_maker: Maker, tmp_path: Path) -> None:
    assert chosen(person_maker(tmp_path / "a", latency_ms=[1.0, 2.0])) == ("fp32", "litert")
    assert chosen(person_maker(tmp_path / "b", latency_ms=[2.0, 1.0])) == ("int8", "litert")


def test_of_equally_fast_ones_the_smaller_recipe_runs(person_maker: Maker, tmp_path: Path) -> None:
    assert chosen(person_maker(tmp_path / "a", latency_ms=[0.0, 0.0]))[0] == "int8"


def test_a_degraded_artifact_runs_only_when_asked_for(person_maker: Maker, tmp_path: Path) -> None:
    bundle = person_maker(tmp_path / "a", latency_ms=[2.0, 1.0], degraded=[None, "agreement is 50.0 %"])
    assert chosen(bundle)[0] == "fp32"
    assert chosen(bundle, recipe="int8")[0] == "int8"


def test_when_all_are_degraded_their_reasons_are_told(person_maker: Maker, tmp_path: Path) -> None:
    bundle = person_maker(tmp_path / "a", degraded=["off by one", "agreement is 50.0 %"])
    with pytest.raises(QualityError, match=r"model\.int8\.tflite: agreement is 50\.0 %\n  remedy: .*--recipe fp32"):
        chosen(bundle)


def test_a_recipe_is_honoured_or_refused(person_bundle: Bundle) -> None:
    assert chosen(person_bundle, recipe="int8")[0] == "int8"
    with pytest.raises(UsageError, match="no recipe 'fp16'; expected fp32, int8"):
        chosen(person_bundle, recipe="fp16")


def test_an_engine_is_honoured_or_refused(person_bundle: Bundle, detector_bundle: Bundle) -> None:
    assert chosen(detector_bundle, engine="onnxruntime") == ("fp32", "onnxruntime")
    with pytest.raises(ModelRefused, match=r"no onnx file for engine 'onnxruntime'.*model\.fp32\.tflite"):
        chosen(person_bundle, engine="onnxruntime")
    with pytest.raises(EnvironmentFault, match="no engine named 'abacus'"):
        chosen(person_bundle, engine="abacus")


@pytest.mark.parametrize("engine", [None, "litert"])
def test_without_an_engine_the_extra_is_named(
    person_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, engine: str | None
) -> None:
    monkeypatch.setattr(litert, "INTERPRETERS", ("no_such_package.interpreter",))
    with pytest.raises(MissingExtra, match=r"pip install 'edgekit-ai\[litert\]'") as caught:
        chosen(person_bundle, engine=engine)
    assert caught.value.exit_code == 5


def test_an_artifact_without_its_engine_is_passed_over(person_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def some(path: Path, *arguments: Any, **options: Any) -> engines.Engine:
        if "fp32" in path.name:
            raise MissingExtra("not here")
        return engines.open_engine(path, *arguments, **options)

    monkeypatch.setattr(choice, "open_engine", some)
    assert chosen(person_bundle)[0] == "int8"


@pytest.mark.parametrize("name", ["manifest.json", "model.fp32.tflite"])
def test_a_flipped_byte_in_what_runs_is_refused_with_both_hashes(own_person_bundle: Path, name: str) -> None:
    bundle = Bundle(own_person_bundle)
    data = bytearray((own_person_bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own_person_bundle / name).write_bytes(data)
    with pytest.raises(BundleRefused, match=rf"{name} is damaged: SHA-256 [0-9a-f]{{64}}; expected [0-9a-f]{{64}}"):
        chosen(bundle)


NEEDLESS = """
import sys
from edgekit.bundle import Bundle
from edgekit_runtimes.choice import open_artifact
open_artifact(Bundle(sys.argv[1]), sys.argv[2])[1].close()
needless = ("importlib.metadata", "edgekit_runtimes.verify", *(
    f"edgekit_runtimes.engines.{name}" for name in ("tensorrt", "symmetric", "onnx_file", "nvidia_faults", "building")
))
print([name for name in needless if name in sys.modules])
"""


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_a_processor_needs_nothing_of_a_gpu(engine: str, request: pytest.FixtureRequest) -> None:
    """Each module is read from a memory card when a board starts; `importlib.metadata` brings email and zipfile."""
    bundle: Bundle = request.getfixturevalue("person_bundle" if engine == "litert" else "detector_bundle")
    words = [sys.executable, "-c", NEEDLESS, str(bundle.path), engine]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n"
