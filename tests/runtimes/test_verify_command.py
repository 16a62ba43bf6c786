"""`edgekit verify`: a machine proves itself, or is caught."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle, write_golden, write_manifest
from edgekit.cli import main
from edgekit.parity import OutputParity, Parity
from edgekit_runtimes.verify import Verdict, allowed_relative_l2, difference, verify_artifact


def verify(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["verify", *map(str, words)])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_a_good_machine_passes(capsys: pytest.CaptureFixture[str], person_bundle: Bundle) -> None:
    code, out, err = verify(capsys, person_bundle.path)
    assert (code, err) == (0, "")
    rows = out.splitlines()
    assert rows[0].split("  ")[0] == "artifact"
    assert [row.split()[0] for row in rows[1:]] == ["model.fp32.tflite", "model.int8.tflite"]
    assert all("litert 2." in row and "4 of 4" in row and row.rstrip().endswith("pass") for row in rows[1:])


def test_json_for_programs(capsys: pytest.CaptureFixture[str], person_bundle: Bundle) -> None:
    code, out, _ = verify(capsys, person_bundle.path, "--json", "--recipe", "int8")
    (row,) = json.loads(out)
    assert code == 0
    assert (row["artifact"], row["verdict"], row["reason"]) == ("model.int8.tflite", "pass", None)
    assert row["here"] == row["at_conversion"]


def test_every_engine_of_the_bundle(capsys: pytest.CaptureFixture[str], detector_bundle: Bundle) -> None:
    code, out, _ = verify(capsys, detector_bundle.path)
    assert code == 0
    assert "onnxruntime 1." in out


def test_other_answers_fail_and_the_worst_tensor_is_named(
    capsys: pytest.CaptureFixture[str], own_person_bundle: Path
) -> None:
    bundle = Bundle(own_person_bundle)
    inputs, outputs = bundle.golden()
    write_golden(own_person_bundle, inputs, {"scores": outputs["scores"][::, ::-1] + 0.3})
    write_manifest(own_person_bundle, bundle.manifest)
    code, out, err = verify(capsys, own_person_bundle)
    assert code == 4
    assert "differs" in out
    assert "model.fp32.tflite: output 'scores' has relative L2" in err
    assert "at conversion" in err


@pytest.mark.parametrize("name", ["golden.npz", "model.int8.tflite", "manifest.json"])
def test_one_flipped_byte_is_refused_with_both_hashes(
    capsys: pytest.CaptureFixture[str], own_person_bundle: Path, name: str
) -> None:
    data = bytearray((own_person_bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own_person_bundle / name).write_bytes(data)
    code, out, err = verify(capsys, own_person_bundle)
    assert (code, out) == (3, "")
    assert f"{name} is damaged: SHA-256 " in err
    assert "; expected " in err


def test_a_crash_is_a_verdict_and_the_others_are_still_tried(
    capsys: pytest.CaptureFixture[str], own_person_bundle: Path
) -> None:
    bundle = Bundle(own_person_bundle)
    (own_person_bundle / "model.fp32.tflite").write_bytes(b"no model" * 100)
    write_manifest(own_person_bundle, bundle.manifest)
    code, out, err = verify(capsys, own_person_bundle)
    assert code == 4
    assert "model.fp32.tflite: LiteRT cannot load" in err
    assert any("int8" in row and "pass" in row for row in out.splitlines())


def test_without_any_engine_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], detector_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the child processes
    code, out, err = verify(capsys, detector_bundle.path)
    assert code == 5
    assert "not run" in out
    assert "pip install 'edgekit-ai[onnxruntime]'" in err


def test_no_framework_is_imported(person_bundle: Bundle) -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom edgekit.cli import main\n"
        "for name in ('tensorflow', 'torch', 'keras', 'jax', 'onnx'): sys.modules[name] = None\n"
        "main(['verify', sys.argv[1]])"
    )
    command = [sys.executable, "-c", script, str(person_bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def parity(**relative_l2: float) -> Parity:
    return Parity(4, tuple(OutputParity(name, value, 1.0, 0.0) for name, value in relative_l2.items()))


@pytest.mark.parametrize(
    ("recipe", "recorded", "here", "passes"),
    [
        ("fp32", 1e-7, 9e-5, True),
        ("fp32", 1e-7, 2e-4, False),
        ("fp16", 1e-3, 9e-3, True),
        ("fp16", 1e-3, 2e-2, False),
        ("int8", 0.1, 0.14, True),
        ("int8", 0.1, 0.16, False),
        ("int8", 0.001, 0.019, True),
        ("int8", 0.1, math.inf, False),
    ],
)
def test_how_far_is_allowed(person_bundle: Bundle, recipe: str, recorded: float, here: float, passes: bool) -> None:
    artifact = dataclasses.replace(person_bundle.artifacts[0], recipe=recipe, golden=parity(a=0.0, b=recorded))
    found = difference(artifact, parity(a=0.0, b=here))
    assert (found is None) == passes
    assert (here <= allowed_relative_l2(recipe, recorded)) == passes
    if found is not None:
        assert "output 'b'" in found


def test_infinity_is_written_as_text(person_bundle: Bundle) -> None:
    verdict = Verdict(person_bundle.artifacts[0], "litert 2", parity(scores=math.inf), "output 'scores' differs")
    assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["here"]["outputs"][0]["relative_l2"] == "inf"


def test_parity_is_that_of_the_golden_samples(person_bundle: Bundle) -> None:
    verdict = verify_artifact(person_bundle, person_bundle.artifacts[1])
    assert verdict.passed
    assert verdict.here is not None
    assert verdict.here.samples == 4
    np.testing.assert_allclose(
        verdict.here.worst.relative_l2, person_bundle.artifacts[1].golden.worst.relative_l2, rtol=1e-3
    )
