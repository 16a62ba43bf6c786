"""A plan whose variants take photos of several sizes."""

from __future__ import annotations

import json
from pathlib import Path

from edgekit.bundle import Bundle
from tests.converters.plan.conftest import Plan

TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"


def test_a_plan_tries_a_smaller_input_and_leaves_out_one_that_loses_too_much(
    plan: Plan, colour_photos: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny.plan"
    rows = "".join(f"{photo},{number % 4}\n" for number, photo in enumerate(colour_photos))
    (tmp_path / "eval.csv").write_text(f"file,label\n{rows}")
    code, out, said = plan(
        TINY, "--preset", "unit", "--input-shape", "1,3,32,32", "--eval", str(tmp_path / "eval.csv"),
        "--to", "onnx", "--recipe", "fp32", "--engine", "onnxruntime", "--threads", "1", "--rounds", "1",
        "--seconds", "0.01", "--own-resolution", "--resolution", "16", "--resolution", "2x1", "--resolution", "1x1",
        "--budget", "drop=0%", "--json", "-o", str(folder),
    )  # fmt: skip
    assert code == 0, said
    rows_of = {tuple(row["resolution"] or ()): row for row in json.loads(out)["variants"]}
    small = rows_of[16, 16]
    assert small["error"] is None
    assert small["metric"]["original"] == 1.0
    assert small["latency_ms"] < rows_of[()]["latency_ms"]
    # Its answers are near the original's, not equal: they were compared with those at 32 x 32.
    assert 1e-4 < small["relative_l2"] < 1
    assert rows_of[()]["relative_l2"] < 1e-4
    bundle = Bundle(folder / small["bundle"])
    assert bundle.spec.inputs[0].shape == (None, 3, 16, 16)
    assert any("judged against the original, with photos of 32x32" in note for note in bundle.manifest.notes)
    assert bundle.artifacts[0].golden.worst.relative_l2 < 1e-4  # `verify` asks for the resized network's own answers
    assert (folder / "chosen.bundle").is_dir()
    assert rows_of[1, 1]["error"] == "not tried: 2x1 loses too much already"
    assert rows_of[2, 1]["error"].startswith("not made: the smaller input alone loses too much: accuracy dropped by ")
