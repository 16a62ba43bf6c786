"""The sentence that a person reads first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgekit.bundle import Manifest
from edgekit.metrics import Estimate
from edgekit.parity import Parity
from edgekit_converters.report.findings import Findings
from edgekit_converters.report.verdict import Verdict, judged
from tests.converters.report.conftest import artifact

Maker = Callable[..., Manifest]


def verdict(manifest: Manifest) -> Verdict:
    return judged(Findings.of_manifest("net.bundle", manifest))


def said(manifest: Manifest) -> str:
    found = verdict(manifest)
    return (found.headline + found.reasons).replace("\u00a0", " ")


def test_it_names_the_best_artifact_and_says_how_sure_how_small_how_fast(manifest: Manifest) -> None:
    assert said(manifest) == (
        "int8 TFLite answers as the original does: top-1 agreement 98.0 % (95 % interval 93.0 to 99.4 %, 98 of 100); "
        "accuracy 89.0 %, the original's 90.0 %; 1.00 MB, 20 % of the original; "
        "2.00 ms an input, 4.0 times the speed of fp32."
    )


def test_an_artifact_that_missed_its_gate_is_never_chosen(made: Maker) -> None:
    missed = artifact("int8", 1, 0.001, 10, degraded="agreement is 10.0 %, needed 95 %")
    assert said(made(artifact("fp32", 100, 1.0), missed)).startswith("fp32 TFLite answers as the original does")
    assert said(made(missed)) == (
        "No artifact answers as the original does; the first: agreement is 10.0 %, needed 95 %"
    )


def test_size_and_speed_are_weighed_together(made: Maker) -> None:
    small_and_slow, fast = artifact("dynamic-int8", 1_000_000, 9.0), artifact("int8", 1_100_000, 2.0)
    found = verdict(made(artifact("fp32", 4_000_000, 8.0), small_and_slow, fast))
    assert found.case is not None
    assert found.case.artifact is fast


def test_quality_without_the_same_answers_is_not_called_the_same_answers(made: Maker) -> None:
    """Fault: a detector with 94 % matched boxes passes on mAP; its answers are not the original's."""
    assert said(made(artifact("int8", 1, 1.0, 94, right=90))).startswith("int8 TFLite keeps the original's quality")
    assert said(made(artifact("int8", 1, 1.0, 95, right=90))).startswith("int8 TFLite answers as the original does")


def test_few_samples_are_called_few(made: Maker) -> None:
    wide = verdict(made(artifact("int8", 1, 1.0, 96))).caution
    assert wide is not None
    assert wide.startswith("The interval is 8 points wide, because 100 answers were compared")
    sure = artifact("int8", 1, 1.0)
    agreement = Estimate("top-10 overlap", 0.99, 0.985, 0.995, 600)
    assert verdict(made(replace(sure, parity=replace(sure.parity, agreement=agreement)))).caution is None


def test_without_answers_the_error_speaks(made: Maker) -> None:
    plain = artifact("int8", 1_000_000, 1.0)
    plain = replace(plain, parity=Parity(7, plain.parity.outputs))
    assert "relative L2 0.05 on 7 samples" in said(made(plain))
    assert [figure.label for figure in verdict(made(plain)).figures] == ["relative L2", "size", "latency"]


def test_slower_is_called_slower(made: Maker) -> None:
    for latency, expected in ((8.1, "as fast as fp32."), (10.0, "0.80 of the speed of fp32, which is faster.")):
        assert said(made(artifact("fp32", 4_000_000, 8.0), artifact("int8", 1_000, latency))).endswith(expected)
