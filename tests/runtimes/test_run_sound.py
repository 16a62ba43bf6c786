"""`edgekit run`, `verify` and `serve` on sound: files, folders, pipes and a microphone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle
from tests.fixtures.words import Clips, load_clips, pause, spotter_bundle, write
from tests.runtimes.serve.servers import serving

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]
EDGEKIT = str(Path(sys.executable).parent / "edgekit")
SPOKEN = ("Yes", "Left", "Go")

RECORDER = """#!{python}
import os, sys, time
if "{device}" not in sys.argv:
    sys.exit("arecord: main:831: audio open error: No such file or directory")
assert sys.argv[1:10] == "-q -t raw -f S16_LE -c 1 -r 16000".split(), sys.argv
with open({sound!r}, "rb") as file:
    data = file.read()[44:]
while True:
    for at in range(0, len(data), 4000):
        sys.stdout.buffer.write(data[at : at + 4000])
        sys.stdout.buffer.flush()
        time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def clips(realpack: Path) -> Clips:
    return load_clips(realpack)


@pytest.fixture(scope="module")
def spotter(realpack: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return spotter_bundle(tmp_path_factory.mktemp("sound") / "words.bundle", realpack)


@pytest.fixture(scope="module")
def recording(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three words, a second and a half between them."""
    parts = [part for word in SPOKEN for part in (pause(1.5), clips[word][1])]
    return write(tmp_path_factory.mktemp("long") / "long.wav", *parts, pause(1.5))


def events(line: str) -> list[tuple[str, float, float]]:
    return [(e["label"], e["start"], e["end"]) for e in json.loads(line)["result"]["events"]]


def test_clips_and_what_is_none(edgekit_command: CommandRunner, spotter: Bundle, clips: Clips, tmp_path: Path) -> None:
    for word in SPOKEN:
        write(tmp_path / "in" / word / "1.wav", clips[word][1])
    (tmp_path / "in" / "text.wav").write_text("only words")
    (tmp_path / "in" / "empty.wav").write_bytes(b"")
    done = edgekit_command("run", spotter.path, tmp_path / "in", "--format", "jsonl", "--top-k", 1)
    assert done.returncode == 6
    answers = {Path(a["input"]).relative_to(tmp_path / "in"): a for a in map(json.loads, done.stdout.splitlines())}
    assert "is not a WAV file" in answers[Path("text.wav")]["error"]
    assert "(0 bytes)" in answers[Path("empty.wav")]["error"]
    for word in SPOKEN:
        assert [label["name"] for label in answers[Path(word, "1.wav")]["result"]["labels"]] == [word]


def test_words_of_a_long_recording(edgekit_command: CommandRunner, spotter: Bundle, recording: Path) -> None:
    done = edgekit_command("run", spotter.path, recording, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    found = events(done.stdout)
    assert [label for label, _, _ in found] == list(SPOKEN)
    for number, (_, start, end) in enumerate(found):
        spoken = 1.5 + 2.5 * number
        assert start < spoken + 1 < end + 1
        assert start >= spoken - 1


def test_a_pipe_gives_the_same(spotter: Bundle, recording: Path, edgekit_command: CommandRunner) -> None:
    from_file = events(edgekit_command("run", spotter.path, recording, "--format", "jsonl").stdout)
    for word in ("-?pcm=16000&every=yes", "-?pcm=16000"):
        piped = word.endswith("yes")
        with recording.open("rb") as file:
            file.seek(44)
            given = {"input": file.read()} if piped else {"stdin": file}
            done = subprocess.run(
                [EDGEKIT, "run", spotter.path, "--format", "jsonl", "--", word],
                check=False, capture_output=True, timeout=120, **given,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert events(done.stdout) == from_file


def with_recorder(tmp_path: Path, sound: Path) -> dict[str, str]:
    """An environment whose `arecord` plays a file over and over, six times as fast."""
    program = tmp_path / "bin" / "arecord"
    program.parent.mkdir()
    program.write_text(RECORDER.format(python=sys.executable, sound=str(sound), device="plughw:1,0"))
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_a_microphone_is_listened_to_until_ctrl_c(spotter: Bundle, recording: Path, tmp_path: Path) -> None:
    command = [EDGEKIT, "run", spotter.path, "mic:plughw:1,0", "--format", "jsonl"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=with_recorder(tmp_path, recording), **pipes) as child:  # type: ignore[call-overload]
        try:
            told = [json.loads(child.stdout.readline()) for _ in range(2)]
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=20)
        finally:
            child.kill()
    assert child.returncode == 0, errors
    heard = [event["label"] for line in told for event in line["result"]["events"]]
    assert set(heard) <= set(SPOKEN)
    assert told[0]["input"].startswith("mic:plughw:1,0 window ")
    assert told[0]["age"] < 5
    assert "answered" in errors
    assert "dropped" in errors


def test_a_microphone_that_is_not_there(spotter: Bundle, recording: Path, tmp_path: Path) -> None:
    environment = with_recorder(tmp_path, recording)
    command = [EDGEKIT, "run", str(spotter.path), "mic:none"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 5
    assert "mic:none was lost: arecord: main:831: audio open error" in done.stderr
    bare = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=bare)
    assert done.returncode == 5
    assert "apt-get install alsa-utils" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mic:-D"], "is no microphone"),
        (["mic:hw;rm"], "is no microphone"),
        (["mic", "x.wav"], "one live source, alone"),
        (["-?pcm=ten"], "pcm=ten; expected pcm=16000"),
        (["camera:0"], "for a bundle that takes sound"),
        (["--limit", "3", "x.wav"], "--limit for files"),
        (["--timeout", "3", "x.wav"], "--timeout for files"),
        (["--wait", "x.wav"], "--wait for files"),
    ],
)
def test_words_that_name_no_sound(
    edgekit_command: CommandRunner, spotter: Bundle, words: list[str], message: str
) -> None:
    limit = words if words[0].startswith("--") else ["--", *words]
    done = edgekit_command("run", spotter.path, *limit, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


def test_sound_for_a_bundle_of_pictures(edgekit_command: CommandRunner, person_bundle: Bundle) -> None:
    done = edgekit_command("run", person_bundle.path, "mic")
    assert done.returncode == 2
    assert "a bundle that takes sound" in done.stderr


def test_verify_compares_decisions(edgekit_command: CommandRunner, spotter: Bundle) -> None:
    done = edgekit_command("verify", spotter.path)
    assert done.returncode == 0, done.stderr
    assert "4 of 4" in done.stdout


def test_a_server_takes_wav_bodies(spotter: Bundle, recording: Path, clips: Clips, tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.wav", clips["Stop"][1]).read_bytes()
    path, sound = "/v1/models/model/predict", {"content-type": "audio/wav"}
    with serving(spotter.path) as server:
        one = server.ask("POST", path, clip, sound)
        assert (one.status, one.json["result"]["labels"][0]["name"]) == (200, "Stop")
        many = server.ask("POST", path, recording.read_bytes(), sound)
        assert [event["label"] for event in many.json["result"]["events"]] == list(SPOKEN)
        wrong = server.ask("POST", path, b"only words", sound)
        assert (wrong.status, "is not a WAV file" in wrong.json["error"]) == (400, True)
        assert server.ask("POST", path, b"{}", {"content-type": "application/json"}).status == 415


def test_memory_does_not_grow_with_the_length_of_a_recording(spotter: Bundle, tmp_path: Path) -> None:
    import tracemalloc

    from edgekit.sound.reading import StreamedSound
    from edgekit.tasks import task_for

    task = task_for(spotter.spec)
    path = tmp_path / "long.wav"
    peaks = []
    for minutes in (2, 6):
        write(path, np.zeros(minutes * 60 * 16_000, np.int16))
        tracemalloc.start()
        task.answer(lambda feeds: {"scores": np.zeros((len(feeds["mfcc"]), 12))}, [task.encode(StreamedSound(path))])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
