"""Engines that are built on the machine are proved on the golden samples before they answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit.errors import BundleRefused, QualityError
from edgekit.parity import OutputParity, Parity
from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.measure import measure_engine
from edgekit_runtimes.choice import open_artifact
from edgekit_runtimes.verify import allowed_relative_l2, difference
from tests.runtimes.engines.elsewhere import Elsewhere

TENSORRT = "onnxruntime:tensorrt"


def proofs(cache: Path) -> list[Path]:
    return sorted(cache.rglob("proved.json"))


def test_a_new_engine_is_proved_once(
    detector_bundle: Bundle, elsewhere: type[Elsewhere], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    plain = Elsewhere.run

    def counted(self: Elsewhere, names: list[str], feeds: Mapping[str, Any]) -> list[Any]:
        runs.append(1)
        return plain(self, names, feeds)

    monkeypatch.setattr(Elsewhere, "run", counted)
    _, engine = open_artifact(detector_bundle, TENSORRT)
    engine.close()
    golden = len(next(iter(detector_bundle.golden()[0].values())))
    assert len(runs) == golden
    (proof,) = proofs(tmp_path / "cache")
    assert json.loads(proof.read_text())["engine"] == TENSORRT
    open_artifact(detector_bundle, TENSORRT)[1].close()
    assert len(runs) == golden


def test_a_wrong_engine_is_refused_every_time(
    detector_bundle: Bundle, elsewhere: type[Elsewhere], tmp_path: Path
) -> None:
    elsewhere.answers = 1000.0
    for _ in range(2):
        with pytest.raises(
            QualityError, match=r"built from model\.fp32\.onnx does not give the original's answers: output"
        ):
            open_artifact(detector_bundle, TENSORRT)
    assert proofs(tmp_path / "cache") == []
    elsewhere.answers = 0.0
    open_artifact(detector_bundle, TENSORRT)[1].close()


def test_the_command_ends_with_4(
    detector_bundle: Bundle, elsewhere: type[Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.answers = 1000.0
    with pytest.raises(SystemExit) as stop:
        main(["run", str(detector_bundle.path), str(detector_bundle.path / "golden.npz"), "--engine", TENSORRT])
    assert stop.value.code == 4
    assert "--engine onnxruntime:cuda" in capsys.readouterr().err


def test_an_engine_on_the_cpu_needs_no_golden_samples(detector_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "golden", lambda self: pytest.fail("read"))
    open_artifact(detector_bundle, "onnxruntime")[1].close()


def test_golden_samples_that_were_changed_prove_nothing(
    detector_bundle: Bundle, elsewhere: type[Elsewhere], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(detector_bundle.path, copy)
    with (copy / "golden.npz").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleRefused, match=r"golden\.npz is damaged"):
        open_artifact(Bundle(copy, check=False), TENSORRT)


def test_times_of_a_wrong_engine_are_not_given(detector_bundle: Bundle, elsewhere: type[Elsewhere]) -> None:
    artifact = detector_bundle.artifacts[0]
    target = Target(detector_bundle.file(artifact.file), detector_bundle.path, artifact.recipe, TENSORRT)
    effort = Effort(runs=1, seconds=0.0, warmup=1)
    assert measure_engine(target, 1, effort)["engine"] == TENSORRT
    for proof in proofs(Path(elsewhere.sessions[0].providers[0][1]["trt_engine_cache_path"]).parent):
        proof.unlink()
    elsewhere.answers = 1000.0
    with pytest.raises(QualityError, match="does not give the original's answers"):
        measure_engine(target, 1, effort)


@pytest.mark.parametrize(
    ("recipe", "engine", "growth"),
    [
        ("int8", "onnxruntime", 1.5),
        ("int8", "onnxruntime:cuda", 1.5),
        ("int8", "onnxruntime:tensorrt:1", 3.0),
        ("mixed", TENSORRT, 3.0),
        ("dynamic-int8", TENSORRT, 1.5),
        ("fp32", TENSORRT, 1.5),
    ],
)
def test_signed_activations_may_cost_one_bit(detector_bundle: Bundle, recipe: str, engine: str, growth: float) -> None:
    def parity(relative_l2: float) -> Parity:
        return Parity(1, (OutputParity("a", relative_l2, 1.0, 0.0),))

    assert allowed_relative_l2(recipe, 0.1, engine) == pytest.approx(0.1 * growth)
    artifact = replace(detector_bundle.artifacts[0], recipe=recipe, golden=parity(0.1))
    assert difference(artifact, parity(0.099 * growth), engine) is None
    assert difference(artifact, parity(0.101 * growth), engine)
