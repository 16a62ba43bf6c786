"""Audio classification and keyword spotting: from sound to typed results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.sound.encoding import MLPERF_TINY_KWS, SoundEncoding
from edgekit.sound.reading import Sound, StreamedSound
from edgekit.sound.wav import write_wav
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks import context_of, task_for
from edgekit.tasks.audio_classification import AudioClassification, Keywords, KeywordSpotting, Spotter
from edgekit.tasks.classification import Classification, deciding_output
from edgekit.tasks.sound import MAX_WINDOWS

LABELS = ("yes", "no", "_silence_")
RAW = SoundEncoding(sample_rate=1_000, window=100, hop=50)


def spec(task: str = "keyword-spotting", **changes: Any) -> Spec:
    base = Spec(task, (TensorSpec("sound", (None, 100)),), (TensorSpec("scores", (None, 3)),), sound=RAW, labels=LABELS)
    return base.replace(**changes)


def spotting(**options: Any) -> KeywordSpotting:
    task = task_for(spec(options={"smoothing": 1, "refractory": 0.0, **options}))
    assert isinstance(task, KeywordSpotting)
    return task


def rows(classes: str, sure: float = 0.9) -> NDArray[np.float32]:
    """Probabilities of windows: y, n or -."""
    found = np.full((len(classes), 3), (1 - sure) / 2, np.float32)
    found[np.arange(len(classes)), ["yn-".index(letter) for letter in classes]] = sure
    return found


def decode(task: KeywordSpotting, shares: Array, last: int = 100) -> Any:
    sound = np.ones((len(shares) - 1) * 50 + last, np.float32)
    context = context_of(task.encode(sound))
    assert len(context.lengths) == len(shares)
    return task.decode({"scores": shares}, [context])[0]


def test_a_clip_of_one_window_is_classified() -> None:
    found = decode(spotting(), rows("n"))
    assert isinstance(found, Classification)
    assert (found.best.name, round(found.best.score, 3)) == ("no", 0.9)


def test_events_have_times_and_a_background_makes_none() -> None:
    found = decode(spotting(), rows("--yy-n--"))
    assert isinstance(found, Keywords)
    assert [event.label for event in found.events] == ["yes", "no"]
    assert [(event.start, event.end) for event in found.events] == [
        pytest.approx((0.1, 0.25)),
        pytest.approx((0.25, 0.35)),
    ]
    assert found.seconds == pytest.approx(0.45)
    assert json.loads(json.dumps(found.to_dict()))["events"][0]["label"] == "yes"
    assert str(found) == "yes 90.0 % at 0.10-0.25 s; no 90.0 % at 0.25-0.35 s (in 0.45 s)"


def test_an_event_ends_with_the_recording() -> None:
    found = decode(spotting(), rows("-yy"), last=60)
    assert found.events[0].end == pytest.approx(0.16) == found.seconds


def test_the_threshold_holds() -> None:
    assert not decode(spotting(threshold=0.95), rows("-yy-")).events
    assert str(decode(spotting(threshold=0.95), rows("-yy-"))).startswith("nothing")


def test_smoothing_averages_over_windows() -> None:
    assert not decode(spotting(smoothing=3, threshold=0.7), rows("---y---")).events
    (event,) = decode(spotting(smoothing=3, threshold=0.6), rows("---yy---")).events
    assert event.score == pytest.approx((0.9 + 0.9 + 0.05) / 3, abs=1e-6)


def test_a_word_is_not_told_twice_within_its_refractory_time() -> None:
    assert len(decode(spotting(refractory=0.3), rows("yy-yy---")).events) == 1
    assert len(decode(spotting(refractory=0.3), rows("yy-nn---")).events) == 2
    assert len(decode(spotting(), rows("yy-yy---")).events) == 2


def test_spotting_part_by_part_is_spotting_at_once() -> None:
    random = np.random.default_rng(0)
    shares = rows("".join(random.choice(list("yn-"), 60)))
    task = spotting(smoothing=3, threshold=0.5, refractory=0.1)
    whole, parts = Spotter(task), Spotter(task)
    found = [event for at in range(0, 60, 7) for event in parts.hears(shares[at : at + 7])]
    assert [*found, *parts.finish()] == [*whole.hears(shares), *whole.finish()]
    assert found


def test_dropped_windows_move_the_clock() -> None:
    spotter = Spotter(spotting())
    spotter.hears(rows("-"))
    (event,) = spotter.hears(rows("y-"), skipped=10)
    assert event.start == pytest.approx(11 * 0.05)


def test_a_streamed_recording_gives_what_one_in_memory_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "long.wav"
    with path.open("wb") as stream:
        write_wav(stream, random.integers(-9_000, 9_000, 20_000).astype(np.int16), 1_000)
    task = spotting(threshold=0.4)
    asked: list[int] = []

    def run(feeds: Any) -> dict[str, Array]:
        asked.append(len(feeds["sound"]))
        return {"scores": np.abs(feeds["sound"][:, :3]) * 20}

    whole = task.answer(run, [task.encode(path)])
    streamed = task.encode(StreamedSound(path))
    asked.clear()
    assert task.answer(run, [streamed]) == whole
    assert len(whole[0].events) > 5
    assert max(asked) == 64
    assert sum(asked) == 399
    assert task.answer(run, [streamed]) == whole, "a run whose batch fails asks again"


def test_a_recording_too_long_for_memory_has_to_be_streamed(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as stream:
        write_wav(stream, np.zeros(50 * MAX_WINDOWS + 200, np.int16), 1_000)
    with pytest.raises(DataRefused, match="longer than 51 s"):
        spotting().encode(path)


def test_nan_is_refused() -> None:
    shares = rows("y")
    shares[0, 1] = np.nan
    with pytest.raises(DataRefused, match="gave NaN"):
        spotting().decode({"scores": shares})
    with pytest.raises(DataRefused, match="NaN or infinity"):
        spotting().encode(np.array([0.0, np.nan]))


def test_audio_is_classified_by_the_mean_of_its_windows() -> None:
    task = task_for(spec("audio-classification"))
    feeds = task.encode(Sound(np.ones(200), 1_000))
    (found,) = task.decode({"scores": np.stack([rows("y")[0], rows("n")[0], rows("y")[0]])}, [context_of(feeds)])
    assert found.best.name == "yes"
    assert found.best.score == pytest.approx((0.9 + 0.05 + 0.9) / 3)


def test_several_labels_at_once() -> None:
    described = spec("audio-classification", options={"multi_label": True})
    task = task_for(described)
    assert isinstance(task, AudioClassification)
    assert task.decides is None
    assert deciding_output(described) is None
    logits = np.array([[3.0, 0.1, -4.0], [-1.0, -2.0, -3.0]], np.float32)
    both, none = task.decode({"scores": logits})
    assert [label.name for label in both.labels] == ["yes", "no"]
    assert both.labels[0].score == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert none.best.score < 0.5
    assert task.truth(described, "yes;no", "x") == {0, 1}
    scorer = task.scorer()
    scorer.update({"scores": logits}, {"scores": logits - [0, 0.2, 0]}, [frozenset({0, 1}), frozenset({2})])
    agreement, metrics = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert agreement.value == 0.5
    assert metrics is not None
    assert [metric.value for metric in metrics] == pytest.approx([2 * 2 / (2 * 2 + 1), 2 * 1 / (2 * 1 + 2)])


def test_probabilities_are_not_softened_again() -> None:
    task = task_for(spec("audio-classification", options={"multi_label": True, "scores": "probabilities"}))
    (found,) = task.decode({"scores": np.array([[0.6, 0.2, 0.7]])})
    assert [label.name for label in found.labels] == ["_silence_", "yes"]


def test_the_scorer_counts_clips_and_long_recordings() -> None:
    task = spotting()
    scorer = task.scorer()
    assert scorer is not None
    clip, long = context_of(task.encode(np.ones(100))), context_of(task.encode(np.ones(200)))
    scorer.update({"scores": rows("y")}, {"scores": rows("n")}, [0], [clip])
    scorer.update({"scores": rows("-n-")}, {"scores": rows("-n-")}, [1], [long])
    broken = np.full((1, 3), np.nan)
    scorer.update({"scores": rows("n")}, {"scores": broken}, [1], [clip])
    agreement, metrics = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert agreement.counts == "1 of 3"
    assert metrics is not None
    assert [metric.counts for metric in metrics] == ["3 of 3", "1 of 3"]


def test_verify_compares_decisions() -> None:
    assert deciding_output(spec()) == deciding_output(spec("audio-classification")) == "scores"


@pytest.mark.parametrize("shape", [(1, 49, 10, 1), (None, 49, 10), (1, 1, 49, 10), (None, None, 10)])
def test_axes_of_size_one_go_where_the_model_has_them(shape: tuple[int | None, ...]) -> None:
    described = spec(inputs=(TensorSpec("mfcc", shape),), sound=MLPERF_TINY_KWS)
    found = task_for(described).encode(np.zeros(16_000))["mfcc"]
    assert found.shape == tuple(size or (1 if at == 0 else 49) for at, size in enumerate(shape))


def test_specs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecRefused, match=r"\[sound\] gives \[49, 10\] for input 'mfcc' of shape \[1, 98, 40\]"):
        task_for(spec(inputs=(TensorSpec("mfcc", (1, 98, 40)),), sound=MLPERF_TINY_KWS))
    with pytest.raises(SpecRefused, match="no table"):
        task_for(spec(sound=None))
    with pytest.raises(SpecRefused, match="threshold = 2"):
        task_for(spec(options={"threshold": 2}))
    with pytest.raises(SpecRefused, match="smoothing = 0"):
        task_for(spec(options={"smoothing": 0}))
    with pytest.raises(SpecRefused, match=r"options\.scores"):
        task_for(spec("audio-classification", options={"scores": "odds"}))
