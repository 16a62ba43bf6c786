"""`edgekit bench --roofline`: real models and processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle, write_manifest
from edgekit_converters.inspection.inspector import resources_of
from edgekit_runtimes.bench.roofline import compare, peak
from edgekit_runtimes.bench.roofline.bandwidth import Level
from edgekit_runtimes.bench.roofline.compare import with_rooflines
from edgekit_runtimes.bench.roofline.peak import MachinePeak
from edgekit_runtimes.bench.stats import summarize
from tests.conftest import CommandRunner
from tests.runtimes.bench.test_report import ONE

SHORT = ("--seconds", "0.05", "--runs", "20", "--warmup", "3", "--threads", "1")


@pytest.fixture
def counted(own_person_bundle: Path) -> Path:
    """The person detector with what its artifacts cost, as a conversion writes it."""
    manifest = Bundle(own_person_bundle).manifest
    artifacts = [
        dataclasses.replace(artifact, resources=resources_of(own_person_bundle / artifact.file))
        for artifact in manifest.artifacts
    ]
    write_manifest(own_person_bundle, dataclasses.replace(manifest, artifacts=tuple(artifacts)))
    return own_person_bundle


def test_in_a_shell(edgekit_command: CommandRunner, counted: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--recipe", "fp32", "--roofline", "--operators", "--json", report)
    done = edgekit_command("bench", counted, *SHORT, *words)
    assert done.returncode == 0
    raw = json.loads(report.read_text())
    (row,) = raw["measurements"]
    found = row["roofline"]
    assert found["compute_bound_ms"] == pytest.approx(7_489_664 / raw["machine_peak"]["gmacs_per_s"]["fp32"] / 1e6)
    assert 0 < found["compute_bound_ms"] <= found["reachable_ms"]
    assert found["reached"] == pytest.approx(found["reachable_ms"] / row["latency_ms"]["p50"])
    assert 0 < found["reached"] <= 1
    assert len(found["operators"]) == 28
    assert "this machine could do it in" in done.stdout
    assert "furthest from the limit" in done.stdout
    assert "memory: at least 0.843 MB of weights and 0.221 MB of activations at once" in done.stdout


def test_a_bare_file_says_that_nothing_is_known(edgekit_command: CommandRunner, models: Path) -> None:
    done = edgekit_command("bench", models / "ad01_int8.tflite", *SHORT, "--roofline", "--json", "-")
    assert done.returncode == 0
    assert "a bare file does not say what an inference costs: give the bundle" in done.stderr
    raw = json.loads(done.stdout)
    assert "machine_peak" not in raw
    assert raw["no_roofline"] == [
        "ad01_int8.tflite: how far from the limit is not known: a bare file does not say what an inference costs: give "
        "the bundle"
    ]
    assert "roofline" not in raw["measurements"][0]


def test_not_together_with_compare(edgekit_command: CommandRunner, counted: Path) -> None:
    done = edgekit_command("bench", counted, "--roofline", "--compare", "int8")
    assert (done.returncode, "--roofline together with --compare" in done.stderr) == (2, True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A machine that is measured at 1 GMAC/s, and measured afresh at 100; how it was asked."""
    calls: list[bool] = []

    def measured(*_: Any, afresh: bool = False, **__: Any) -> MachinePeak:
        calls.append(afresh)
        rate = 100.0 if afresh else 1.0
        return MachinePeak("litert", "2.3.0", 1, {"fp32": rate, "int8": rate}, (Level("memory", 1 << 20, 5.0),))

    monkeypatch.setattr(compare, "machine_peak", measured)
    return calls


def test_a_share_above_one_is_a_wrong_roof_that_is_measured_again(counted: Path, asked: list[bool]) -> None:
    target = dataclasses.replace(ONE.target, path=counted / "model.fp32.tflite", bundle=counted)
    (one,), unknown = with_rooflines([dataclasses.replace(ONE, target=target)])  # 7.5 M MACs in 2 ms
    assert (asked, unknown) == ([False, True], [])
    assert one.roofline is not None
    assert one.roofline.reached == pytest.approx(7_489_664 / 100e6 / 2.0, rel=0.05)


def test_what_beats_a_roof_measured_twice_has_none(counted: Path, asked: list[bool]) -> None:
    target = dataclasses.replace(ONE.target, path=counted / "model.fp32.tflite", bundle=counted)
    fast = dataclasses.replace(ONE, target=target, latency=summarize([0.00001]))
    (one,), (why,) = with_rooflines([fast])
    assert (asked, one.roofline) == ([False, True], None)
    assert "it was faster than the peak that was measured" in why


def test_accelerators_are_not_known(counted: Path, asked: list[bool]) -> None:
    target = dataclasses.replace(ONE.target, path=counted / "model.fp32.tflite", bundle=counted)
    (one,), (why,) = with_rooflines([dataclasses.replace(ONE, target=target, engine="onnxruntime:cuda")])
    assert one.roofline is None
    assert why.endswith("the peak of an accelerator is not measured, only that of engines on the CPU")
    assert not asked


def test_a_bundle_from_before_is_not_known(person_bundle: Bundle, asked: list[bool]) -> None:
    target = dataclasses.replace(ONE.target, path=person_bundle.path / "model.fp32.tflite", bundle=person_bundle.path)
    _, (why,) = with_rooflines([dataclasses.replace(ONE, target=target)])
    assert "or its graph has control flow or open shapes: convert again" in why
    assert not asked


def test_an_engine_without_a_peak_is_not_known(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = MachinePeak("third", "1", 1, {}, ())
    monkeypatch.setattr(compare, "machine_peak", lambda *_, **__: none)
    target = dataclasses.replace(ONE.target, path=counted / "model.fp32.tflite", bundle=counted)
    _, (why,) = with_rooflines([dataclasses.replace(ONE, target=target)])
    assert why.endswith("the engine refuses the small network with which its peak is measured")
    assert peak.together([none]) == {"gmacs_per_s": {}}
