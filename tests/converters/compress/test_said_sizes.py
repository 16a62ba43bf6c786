"""A file made from a network for larger photos: for which of the two what the user says of sizes is meant."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.errors import UsageError
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit_converters.api import build_request
from edgekit_converters.compare.subject import CompareRequest, opened_subject
from edgekit_converters.compress.compressor import compress
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.compress.setting import Settings
from edgekit_converters.convert import convert
from edgekit_converters.plan.making import Maker
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import Piece
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.report.reproduce import commands
from edgekit_converters.sources import open_source
from edgekit_converters.sources._original_size import append_size
from tests.converters.compress.conftest import TINY, request

CUT = Spec("image-classification", preprocess=Preprocess("short-side", (40, 40), crop=True, scale=1 / 255))


def naming(side: int) -> Spec:
    """The same, for photos of so many pixels."""
    return CUT.replace(inputs=(TensorSpec("input", (None, 3, side, side)),))


@pytest.fixture(scope="module")
def from_32(colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network for photos of 16 x 16, made from that for 32 x 32."""
    output = tmp_path_factory.mktemp("smaller") / "smaller.pt2"
    compress(request(colour_photos[0].parent, output, target=0.26, steps=0, resolutions=((16, 16),)))
    return output


@pytest.fixture(scope="module")
def from_64(tiny_keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras network for photos of 32 x 32 that says it was made from one for 64 x 64."""
    path = tmp_path_factory.mktemp("marked") / "marked.keras"
    shutil.copyfile(tiny_keras, path)
    append_size(path, (64, 64))
    return path


def short_side(spec: Spec) -> int:
    assert spec.preprocess is not None
    assert spec.preprocess.size is not None
    return spec.preprocess.size[0]


@pytest.mark.parametrize(("said", "side"), [(CUT, 20), (naming(32), 20), (naming(16), 40)])
def test_a_spec_that_names_an_input_is_meant_for_its_size(
    said: Spec, side: int, from_32: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"to": ("onnx",), "evaluation": colour_photos[0].parent}
    bundle = edgekit.convert(from_32, tmp_path / "small.bundle", spec=said, original=TINY, **arguments)
    assert short_side(bundle.spec) == side
    own = CUT if side == 20 else CUT.replace(preprocess=replace(said.preprocess or Preprocess(), size=(80, 80)))
    whole = edgekit.convert(TINY, tmp_path / "whole.bundle", spec=own, input_shapes=["1,3,32,32"], **arguments)
    assert np.allclose(bundle.golden()[1]["output"], whole.golden()[1]["output"], atol=1e-5)


def test_a_bundle_for_smaller_photos_is_verified(from_32: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"to": ("tflite",), "recipes": ("fp32", "int8"), "calibration": colour_photos[0].parent}
    edgekit.convert(from_32, tmp_path / "small.bundle", spec=CUT, original=TINY, max_drop=30.0, **arguments)
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli", "verify", str(tmp_path / "small.bundle")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_of_a_report_make_the_same_preprocessing_again(
    from_32: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    """Fault: the spec of the bundle, which is meant for its own photos, was shrunk once more."""
    arguments: dict[str, Any] = {"to": ("onnx",), "evaluation": colour_photos[0].parent, "original": TINY}
    bundle = edgekit.convert(from_32, tmp_path / "small.bundle", spec=CUT, **arguments)
    _, write_spec = commands("small.bundle", bundle.manifest)[0]
    words = [sys.executable if word == "python" else word for word in shlex.split(write_spec)]
    subprocess.run(words, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    again = edgekit.convert(from_32, tmp_path / "again.bundle", spec=tmp_path / "spec.toml", **arguments)
    assert again.spec == bundle.spec
    assert np.array_equal(again.golden()[1]["output"], bundle.golden()[1]["output"])


def test_a_comparison_takes_the_preprocessing_that_the_conversion_took(
    from_32: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    bundle = edgekit.convert(from_32, tmp_path / "b", to=("onnx",), spec=CUT, evaluation=colour_photos[0].parent)
    artifact = bundle.path / bundle.artifacts[0].file
    asked = CompareRequest(from_32, artifact, data=colour_photos[0].parent, spec=CUT)
    (tmp_path / "scratch").mkdir()
    with opened_subject(asked, Stages(Silent()), tmp_path / "scratch") as subject:
        assert subject.task.spec.preprocess == bundle.spec.preprocess


def test_a_plan_shrinks_what_is_meant_for_the_larger_photos(
    from_64: Path, colour_photos: list[Path], tmp_path: Path
) -> None:
    said = CUT.replace(preprocess=replace(CUT.preprocess or Preprocess(), size=(80, 80)))
    asked = build_request(
        from_64, tmp_path / "p", to=("onnx",), recipes=("fp32",), spec=said, evaluation=colour_photos[0].parent,
        max_drop=50.0,
    )  # fmt: skip
    stages = Stages(Silent())
    with Maker(asked, Stock(asked, tmp_path / "p", stages), stages, tmp_path / "scratch") as maker:
        sides = [short_side(maker.make(Piece("onnx", "fp32", size)).spec) for size in (None, (16, 16))]
    assert sides == [40, 20]


@contextmanager
def settings(asked: CompressRequest, folder: Path) -> Iterator[Settings]:
    folder.mkdir(exist_ok=True)
    with open_source(asked.conversion.model, asked.conversion.source) as source:
        yield Settings(asked, source, Stages(Silent()), folder)


def saying(asked: CompressRequest, said: Spec) -> CompressRequest:
    return replace(asked, conversion=replace(asked.conversion, spec=said))


def test_what_was_compressed_can_be_compressed_again(from_64: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    output, photos = tmp_path / "small.keras", colour_photos[0].parent
    said = CUT.replace(preprocess=replace(CUT.preprocess or Preprocess(), size=(80, 80)))
    for size, options in ((None, {}), ((16, 16), {"resolutions": ((16, 16),)})):
        asked = saying(request(photos, output, model=from_64, target=0.26, steps=0, max_drop=100.0, **options), said)
        with settings(asked, tmp_path / str(size)) as found:
            found.read()
            assert [short_side(one.task.spec) for one in found.near(0.26)] == [40, 20][: 1 + bool(options)]
        record, _ = compress(asked)
        assert record.photo == (None if size is None else ((32, 32), size))
        with open_source(output) as source:
            assert source.original_size == (64, 64)


@pytest.mark.parametrize("size", [(32, 32), (40, 16)])
def test_only_smaller_photos_are_tried(size: tuple[int, int], colour_photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resolution .*expected less than the model's 32x32"):
        compress(request(colour_photos[0].parent, tmp_path / "x.pt2", resolutions=(size,)))


def test_a_resolution_for_another_task_is_refused(colour_photos: list[Path], tmp_path: Path) -> None:
    asked = saying(request(colour_photos[0].parent, tmp_path / "x.pt2", resolutions=((16, 16),)), Spec("tensors"))
    with pytest.raises(UsageError, match=r"--resolution for this model"):
        compress(asked)


def test_a_size_that_was_refused_stays_refused(colour_photos: list[Path], tmp_path: Path) -> None:
    """Fault: the second trial of a latency found the folder of the first, and ended in a traceback."""
    as_they_are = Spec("image-classification", preprocess=Preprocess("none", scale=1 / 255))
    asked = request(colour_photos[0].parent, tmp_path / "x.pt2", own_resolution=False)
    with settings(saying(asked, as_they_are), tmp_path / "scratch") as found:
        own = found.read()
        assert [list(found.near(0.6)) for _ in range(2)] == [[own], [own]]


class Titles(Silent):
    """Remembers the stages."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def stage(self, title: str, total: int | None) -> Any:
        self.titles.append(title)
        return super().stage(title, total)


def test_calibration_data_are_read_once(from_32: Path, colour_photos: list[Path], tmp_path: Path) -> None:
    asked = build_request(
        from_32, tmp_path / "b", to=("onnx",), recipes=("fp32",), preset="unit", original=TINY,
        calibration=colour_photos[0].parent,
    )  # fmt: skip
    seen = Titles()
    bundle, _ = convert(asked, seen)
    assert seen.titles.count("read calibration data") == 1
    assert seen.titles.count("read evaluation data") == 2
    assert bundle.manifest.evaluation["origin"] == "calibration data kept aside"


def test_inputs_that_were_made_up_are_the_same_at_both_sizes(from_32: Path, tmp_path: Path) -> None:
    bundle = edgekit.convert(from_32, tmp_path / "b", to=("onnx",), preset="unit", original=TINY, max_drop=100.0)
    assert bundle.artifacts[0].parity.worst.relative_l2 < 0.5
