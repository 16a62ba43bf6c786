"""`edgekit run` and `edgekit demo` on videos and streams, into files and pages; and how they end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.bundle import Bundle
from tests.runtimes.inputs.conftest import MjpegServer, Scene, jpeg

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]
EDGEKIT = str(Path(sys.executable).parent / "edgekit")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of twelve frames."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for number in range(12):
        writer.write(np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    """A camera in the network."""
    server = MjpegServer(Scene([jpeg(number) for number in range(40)]))
    yield server
    server.stop()


def started(*words: str | Path) -> subprocess.Popen[str]:
    """The command in the background."""
    return subprocess.Popen([EDGEKIT, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_frame_of_a_video_in_order(edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path) -> None:
    done = edgekit_command("run", person_bundle.path, clip, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["input"] for line in done.stdout.splitlines()]
    assert names == [f"{clip} frame {number}" for number in range(12)]


def test_a_video_that_is_cut_gives_the_frames_before(
    edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    whole = clip.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    done = edgekit_command("run", person_bundle.path, cut, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 6, done.stderr
    assert re.search(r"cut.avi (was|is) .* frame \d", done.stderr)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert 3 < sum("result" in row for row in rows) < 12
    assert "error" in rows[-1]


def test_a_video_that_is_missing_is_one_bad_input_among_others(
    edgekit_command: CommandRunner, person_bundle: Bundle, photos: Sequence[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    done = edgekit_command("run", person_bundle.path, tmp_path / "no.mp4", photos[0], tmp_path / "text.mp4")
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 1
    assert "2 of 3 inputs failed" in done.stderr
    assert "no.mp4 is missing" in done.stderr


def test_a_pattern_stands_for_photos(
    edgekit_command: CommandRunner, person_bundle: Bundle, photos: Sequence[Path]
) -> None:
    done = edgekit_command("run", person_bundle.path, str(photos[0].parent / "*0[0-3]*.jpg"), "--format", "jsonl")
    expected = sorted(map(str, photos[0].parent.glob("*0[0-3]*.jpg")))
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == expected
    assert len(expected) > 8
    nothing = edgekit_command("run", person_bundle.path, str(photos[0].parent / "*.nothing"))
    assert nothing.returncode == 3
    assert "no file matches" in nothing.stderr


def test_several_outputs_at_once(
    edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    words = [word for name in ("a.csv", "b.jsonl", "copies/", "seen.mp4") for word in ("-o", f"{tmp_path}/{name}")]
    done = edgekit_command("run", person_bundle.path, clip, *words, "-o", "-")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len((tmp_path / "b.jsonl").read_text().splitlines()) == 12
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 13
    assert len(list((tmp_path / "copies").glob("*.jpg"))) == 12
    assert cv2.VideoCapture(str(tmp_path / "seen.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 12


def test_a_run_goes_on_where_it_stopped(
    edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    whole, again = tmp_path / "whole.jsonl", tmp_path / "again.jsonl"
    (tmp_path / "bad.jpg").write_text("no photo")
    words = ["run", person_bundle.path, tmp_path / "bad.jpg", clip]
    assert edgekit_command(*words, "-o", whole).returncode == 6
    again.write_bytes(whole.read_bytes()[:900])
    done = edgekit_command(*words, "-o", again)
    assert done.returncode == 6
    assert "goes on after" in done.stderr
    assert "1 of 13 inputs failed" in done.stderr
    assert again.read_bytes() == whole.read_bytes()


def test_the_form_of_a_file_is_its_endings(
    edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    done = edgekit_command("run", person_bundle.path, clip, "--format", "csv", "-o", tmp_path / "x.jsonl")
    assert done.returncode == 2
    assert "a file whose ending says its form" in done.stderr
    assert not (tmp_path / "x.jsonl").exists()


def test_a_stream_is_answered_up_to_its_limit(
    edgekit_command: CommandRunner, person_bundle: Bundle, stream: MjpegServer
) -> None:
    done = edgekit_command("run", person_bundle.path, stream.url, "--limit", "5", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5
    assert all(0 <= row["age"] < 5 for row in rows)
    assert re.search(r"frames, 5 answered, \d+ dropped", done.stderr)


def test_pictures_from_a_pipe_and_from_a_file_on_standard_input(
    edgekit_command: CommandRunner, person_bundle: Bundle, tmp_path: Path
) -> None:
    raw = tmp_path / "frames.rgb"
    raw.write_bytes(np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8).tobytes())
    with raw.open("rb") as frames:
        done = edgekit_command("run", person_bundle.path, "--", "-?raw=64x48", stdin=frames)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    words = [EDGEKIT, "run", str(person_bundle.path), "-", "--limit", "1"]
    piped = subprocess.run(words, input=jpeg(1), check=False, capture_output=True, timeout=60)
    assert piped.returncode == 0, piped.stderr
    assert len(piped.stdout.splitlines()) == 1


def test_a_stream_stands_alone(
    edgekit_command: CommandRunner, person_bundle: Bundle, clip: Path, stream: MjpegServer
) -> None:
    done = edgekit_command("run", person_bundle.path, clip, stream.url)
    assert done.returncode == 2
    assert "one camera or stream, alone" in done.stderr


def test_an_absent_camera_is_something_missing(edgekit_command: CommandRunner, person_bundle: Bundle) -> None:
    done = edgekit_command("run", person_bundle.path, "camera:9")
    assert done.returncode == 5
    assert "remedy:" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_run_with_its_results(
    person_bundle: Bundle, stream: MjpegServer, tmp_path: Path, number: signal.Signals
) -> None:
    video = tmp_path / "seen.avi"
    with started("run", person_bundle.path, stream.url, "-o", "-", "-o", video) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert "person" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=5)
    assert process.returncode == 0, errors
    assert " answered, " in errors
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) >= 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_over_files_with_whole_lines(
    person_bundle: Bundle, photos: Sequence[Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "out.jsonl"
    many = [str(photo) for photo in photos] * 2000
    with started("run", person_bundle.path, *many, "-o", "-", "-o", output) as process:
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=5)
    assert process.returncode == code, errors
    assert f"stopped by {number.name} after" in errors
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert 5 <= len(rows) < len(many)


def test_the_demo_shows_a_page(person_bundle: Bundle, stream: MjpegServer) -> None:
    words: list[str | Path] = [
        "demo",
        "webcam",
        person_bundle.path,
        "--source",
        stream.url,
        "--show",
        "page",
        "--port",
        "0",
    ]
    with started(*words) as process:
        assert process.stderr is not None
        found = re.search(r"live page: http://127\.0\.0\.1:(\d+)/", process.stderr.readline())
        assert found
        page = HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        page.request("GET", "/")
        assert b"<html" in page.getresponse().read()
        page.close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
    assert process.returncode == 0, errors


def test_the_sample_records_what_it_sees(person_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "samples" / "webcam_demo.py", person_bundle.path, clip, tmp_path / "seen.mp4"]
    done = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert cv2.VideoCapture(str(tmp_path / "seen.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 12
