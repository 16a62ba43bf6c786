"""`edgekit run` as a user calls it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle, write_manifest
from edgekit.cli import main
from edgekit.spec import Preprocess

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def edgekit(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


class Command:
    """Calls the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return Outcome(int(stop.value.code or 0), *self._capsys.readouterr())


@pytest.fixture
def album(tmp_path: Path, photos: Sequence[Path]) -> Path:
    """Three good photos and three that cannot be used."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    shutil.copyfile(photos[0], folder / "a.jpg")
    shutil.copyfile(photos[1], folder / "sub" / "a.jpg")
    shutil.copyfile(photos[2], folder / "z été.jpg")
    (folder / "cut.jpg").write_bytes(photos[3].read_bytes()[:5000])
    (folder / "text.jpg").write_text("just a text")
    (folder / "empty.png").touch()
    return folder


def test_a_table_for_people(edgekit: Command, person_bundle: Bundle, photos: Sequence[Path]) -> None:
    outcome = edgekit("run", person_bundle.path, *photos[:2])
    assert outcome.code == 0
    rows = outcome.out.splitlines()
    assert [row.split("  ")[0] for row in rows] == [str(photo) for photo in photos[:2]]
    assert all("person" in row and "nobody" in row and "%" in row for row in rows)
    assert "model.fp32.tflite on litert 2." in outcome.err


def test_json_lines_for_programs(edgekit: Command, person_bundle: Bundle, photos: Sequence[Path]) -> None:
    outcome = edgekit("run", person_bundle.path, photos[0], "--format", "jsonl", "--top-k", "1", "--recipe", "int8")
    (row,) = map(json.loads, outcome.out.splitlines())
    assert row["input"] == str(photos[0])
    (label,) = row["result"]["labels"]
    assert label["name"] == ("nobody", "person")[label["index"]]
    assert 0.5 <= label["score"] <= 1
    assert "model.int8.tflite" in outcome.err


def test_bad_photos_are_listed_and_the_rest_completes(edgekit: Command, person_bundle: Bundle, album: Path) -> None:
    outcome = edgekit("run", person_bundle.path, album)
    assert outcome.code == 6
    assert [row.split("  ")[0] for row in outcome.out.splitlines()] == [
        str(album / name) for name in ("a.jpg", "sub/a.jpg", "z été.jpg")
    ]
    assert "3 of 6 inputs failed" in outcome.err
    for name, cause in (("cut.jpg", "truncated JPEG"), ("text.jpg", "not a picture"), ("empty.png", "empty (0 bytes)")):
        assert any(name in line and cause in line for line in outcome.err.splitlines())
    assert "Traceback" not in outcome.err


def test_a_file_of_results_appears_whole_even_when_some_failed(
    edgekit: Command, person_bundle: Bundle, album: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results" / "out.jsonl"
    assert edgekit("run", person_bundle.path, album, "-o", output).code == 6
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(row["input"]).name for row in rows if "error" in row] == ["cut.jpg", "empty.png", "text.jpg"]
    assert sum("result" in row for row in rows) == 3
    assert list(output.parent.iterdir()) == [output]


def test_an_old_file_of_results_survives_a_refusal(edgekit: Command, own_person_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    (own_person_bundle / "model.fp32.tflite").write_bytes(b"")
    outcome = edgekit("run", own_person_bundle, tmp_path, "-o", output)
    assert outcome.code == 3
    assert output.read_text() == "old"


def test_a_single_bad_photo_is_refused_as_such(edgekit: Command, person_bundle: Bundle, album: Path) -> None:
    outcome = edgekit("run", person_bundle.path, album / "text.jpg")
    assert outcome.code == 3
    assert "text.jpg is not a picture (11 bytes)" in outcome.err


def test_copies_are_drawn(edgekit: Command, person_bundle: Bundle, album: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    assert edgekit("run", person_bundle.path, album, album / "a.jpg", "--draw", drawn).code == 6
    names = sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.jpg"))
    assert names == ["a-2.jpg", "a.jpg", "sub/a.jpg", "z été.jpg"]
    assert (drawn / "a.jpg").read_bytes() != (album / "a.jpg").read_bytes()


@pytest.fixture
def large_photos(realpack: Path) -> list[Path]:
    """Photos of about 640 x 480, five times as large as the person detector's input."""
    return sorted((realpack / "coco").glob("*.jpg"))[:10]


def scores(rows: str) -> list[dict[int, float]]:
    """Class -> score of each line."""
    return [
        {label["index"]: label["score"] for label in json.loads(row)["result"]["labels"]} for row in rows.splitlines()
    ]


@pytest.mark.parametrize("count", [2, 10])
def test_fast_decode_decides_the_same_from_nearly_the_same_pixels(
    edgekit: Command, person_bundle: Bundle, large_photos: Sequence[Path], count: int
) -> None:
    words: list[str | Path] = ["run", person_bundle.path, *large_photos[:count], "--format", "jsonl"]
    whole, fast = edgekit(*words), edgekit(*words, "--fast-decode")
    assert (whole.code, fast.code) == (0, 0)
    exact, near = scores(whole.out), scores(fast.out)
    assert exact != near
    for one, other in zip(exact, near, strict=True):
        assert max(one, key=one.__getitem__) == max(other, key=other.__getitem__)
        assert one == pytest.approx(other, abs=0.05)


def test_a_photo_that_is_drawn_is_decoded_whole(
    edgekit: Command, person_bundle: Bundle, large_photos: Sequence[Path], tmp_path: Path
) -> None:
    import cv2

    words: list[str | Path] = ["run", person_bundle.path, large_photos[0], "--format", "jsonl"]
    drawn = edgekit(*words, "--fast-decode", "--draw", tmp_path / "drawn")
    assert scores(drawn.out) == scores(edgekit(*words).out)
    copy, photo = (cv2.imread(str(path)) for path in (tmp_path / "drawn" / large_photos[0].name, large_photos[0]))
    assert copy is not None
    assert photo is not None
    assert copy.shape == photo.shape


def test_fast_decode_is_refused_where_it_would_change_what_the_model_sees(
    edgekit: Command, own_person_bundle: Path, photos: Sequence[Path]
) -> None:
    manifest = Bundle(own_person_bundle).manifest
    spec = manifest.spec.replace(preprocess=Preprocess(scale=1 / 255, antialias=False))
    write_manifest(own_person_bundle, dataclasses.replace(manifest, spec=spec))
    outcome = edgekit("run", own_person_bundle, photos[0], "--fast-decode")
    assert outcome.code == 2
    assert "--fast-decode for resize = 'stretch', interpolation = 'bilinear', antialias = false" in outcome.err
    assert edgekit("run", own_person_bundle, photos[0]).code == 0


@pytest.mark.parametrize("source", ["-", "rtsp://127.0.0.1:9/x"])
def test_fast_decode_is_refused_for_what_is_no_photo(edgekit: Command, person_bundle: Bundle, source: str) -> None:
    outcome = edgekit("run", person_bundle.path, source, "--fast-decode")
    assert outcome.code == 2
    assert "--fast-decode for " in outcome.err
    assert "expected photos as INPUT" in outcome.err


def test_help_says_what_fast_decode_changes(edgekit: Command) -> None:
    said = " ".join(edgekit("run", "--help").out.split())
    assert "--fast-decode" in said
    assert "of 255" in said


def test_drawing_never_overwrites_the_photo(edgekit: Command, person_bundle: Bundle, album: Path) -> None:
    before = (album / "a.jpg").read_bytes()
    outcome = edgekit("run", person_bundle.path, album / "a.jpg", "--draw", album)
    assert outcome.code == 2
    assert "would overwrite" in outcome.err
    assert (album / "a.jpg").read_bytes() == before


def test_arrays(edgekit: Command, detector_bundle: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", photo=np.zeros((2, 3, 352, 352), np.float32))
    outcome = edgekit("run", detector_bundle.path, tmp_path / "x.npz")
    assert outcome.code == 0
    rows = outcome.out.splitlines()
    assert len(rows) == 2
    assert "x.npz sample 1  cells [85, 22, 22]" in rows[1]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--engine", "onnxruntime"], (3, "no onnx file for engine 'onnxruntime'")),
        (["--engine", "abacus"], (5, "no engine named 'abacus'")),
        (["--recipe", "fp16"], (2, "expected fp32, int8")),
        (["--threads", "0"], (2, "0 threads")),
        (["--top-k", "0"], (2, "top-k")),
    ],
)
def test_what_cannot_be_had_is_refused(
    edgekit: Command, person_bundle: Bundle, photos: Sequence[Path], words: list[str], refusal: tuple[int, str]
) -> None:
    outcome = edgekit("run", person_bundle.path, photos[0], *words)
    assert outcome.code == refusal[0]
    assert refusal[1] in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("words", [["--top-k", "3"], ["--draw", "drawn"], ["--fast-decode"]])
def test_options_of_another_task_are_refused(
    edgekit: Command, detector_bundle: Bundle, tmp_path: Path, words: list[str]
) -> None:
    outcome = edgekit("run", detector_bundle.path, tmp_path / "x.npz", *words)
    assert outcome.code == 2
    assert f"{words[0]} for task 'tensors'" in outcome.err


def test_the_installed_command_ends_with_everything_written(
    edgekit_command: CommandRunner, person_bundle: Bundle, album: Path
) -> None:
    done = edgekit_command("run", person_bundle.path, album, "--format", "jsonl")
    assert done.returncode == 6
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == [
        str(album / name) for name in ("a.jpg", "cut.jpg", "empty.png", "sub/a.jpg", "text.jpg", "z été.jpg")
    ]
    assert done.stderr.endswith(")\n")


def test_a_reader_that_has_seen_enough_is_no_error(person_bundle: Bundle, photos: Sequence[Path]) -> None:
    command = [str(Path(sys.executable).parent / "edgekit"), "run", str(person_bundle.path), *map(str, photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
