"""The same content has the same name, other content another."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.presets import preset
from edgekit_converters.plan.fingerprint import Fingerprints
from edgekit_converters.plan.variants import Piece
from edgekit_converters.request import Request

INT8 = Piece("tflite", "int8")


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    (tmp_path / "net.py").write_text("def build(): ...\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"red")
    (tmp_path / "calib.csv").write_text("file,label\nphotos/a.png,1\n")
    return Request(
        f"{tmp_path}/net.py:build", tmp_path / "plan", preset("unit"), calibration=str(tmp_path / "calib.csv")
    )


def key(request: Request, piece: Piece = INT8) -> str:
    return Fingerprints(request).of_piece(piece)


def test_the_key_stays_where_nothing_changed_wherever_the_files_lie(request_: Request, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path, moved)
    there = replace(request_, model=f"{moved}/net.py:build", calibration=str(moved / "calib.csv"))
    assert key(request_) == key(request_) == key(there)


def test_another_recipe_format_or_size_is_another_artifact(request_: Request) -> None:
    pieces = [INT8, Piece("onnx", "int8"), Piece("tflite", "fp16"), Piece("tflite", "int8", (16, 16))]
    assert len({key(request_, piece) for piece in pieces}) == 4


def test_changed_content_is_another_artifact(request_: Request, tmp_path: Path) -> None:
    keys = {key(request_)}
    (tmp_path / "photos" / "a.png").write_bytes(b"blu")  # named by the list, of the same size
    keys.add(key(request_))
    (tmp_path / "calib.csv").write_text("file,label\nphotos/a.png,2\n")
    keys.add(key(request_))
    (tmp_path / "net.py").write_text("def build(): return 1\n")
    keys.add(key(request_))
    keys.add(key(replace(request_, spec=preset("raw"))))
    keys.add(key(replace(request_, effort="low")))
    assert len(keys) == 6


def test_files_that_json_lines_name_count_too(request_: Request, tmp_path: Path) -> None:
    rows = tmp_path / "calib.jsonl"
    rows.write_text('{"file": "photos/a.png", "label": 1}\nnot json\n')
    listed = replace(request_, calibration=str(rows))
    before = key(listed)
    (tmp_path / "photos" / "a.png").write_bytes(b"blu")
    assert key(listed) != before


def test_effort_changes_no_float_artifact_and_the_drop_only_mixed(request_: Request) -> None:
    other = replace(request_, effort="low", max_drop=3.0)
    assert key(request_, Piece("onnx", "fp32")) == key(other, Piece("onnx", "fp32"))
    drop = replace(request_, max_drop=3.0)
    assert key(request_) == key(drop)
    assert key(request_, Piece("onnx", "mixed")) != key(drop, Piece("onnx", "mixed"))
