"""Many inputs at once: same results, same order, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes import pipeline
from edgekit_runtimes.inputs.items import Item
from edgekit_runtimes.pipeline import MANY, Pipeline, answered
from edgekit_runtimes.predictor import Predictor, load

WAIT = 20.0


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Raspberry Pi, whatever this machine has."""
    monkeypatch.setattr(pipeline, "thread_count", lambda threads: 4 if threads is None else threads)


@pytest.fixture
def predictor(person_bundle: Bundle) -> Iterator[Predictor]:
    """The person detector."""
    with load(person_bundle.path, recipe="int8") as opened:
        yield opened


def pictures(count: int) -> list[Array]:
    """Random pictures."""
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 60, 3), np.uint8))


def items_of(values: Sequence[Any], before: Callable[[int], None] = lambda _: None) -> list[Item]:
    """Items that call a function before they are loaded."""

    def loader(number: int) -> Callable[[], Any]:
        def load_one() -> Any:
            before(number)
            value = values[number]
            if isinstance(value, Exception):
                raise value
            return value

        return load_one

    return [Item(str(number), loader(number)) for number in range(len(values))]


def test_results_are_those_of_one_after_the_other(predictor: Predictor, photos: list[Path]) -> None:
    inputs = [*photos, *pictures(20)]
    outcomes = list(answered(predictor, items_of(inputs)))
    assert [outcome.result for outcome in outcomes] == [predictor.predict(value) for value in inputs]
    assert [outcome.item.name for outcome in outcomes] == [str(number) for number in range(len(inputs))]


def test_a_slow_input_does_not_change_the_order(predictor: Predictor) -> None:
    later = threading.Event()

    def before(number: int) -> None:
        if number == 0:
            assert later.wait(WAIT), "the others do not go on meanwhile"
        elif number == 3:
            later.set()

    with Pipeline(predictor) as running:
        names = [outcome.item.name for outcome in running.over(items_of(pictures(12), before))]
    assert names == [str(number) for number in range(12)]


def test_inputs_are_taken_only_a_few_ahead(predictor: Predictor) -> None:
    taken = []

    def endless() -> Iterator[Item]:
        for number, item in enumerate(items_of(pictures(1) * 10_000)):
            taken.append(number)
            yield item

    with Pipeline(predictor) as running:
        outcomes = running.over(endless())
        for count in range(1, 30):
            next(outcomes)
            assert len(taken) <= count + 8
        outcomes.close()  # type: ignore[attr-defined]
    assert len(taken) < 40


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bad_input_does_not_touch_the_others(predictor: Predictor, batch: int) -> None:
    values: list[Any] = pictures(11)
    values[2] = DataRefused("a torn photo")
    values[5] = np.zeros((3, 3), np.float32)
    outcomes = list(answered(predictor, items_of(values), batch=batch))
    failed = [number for number, outcome in enumerate(outcomes) if outcome.error is not None]
    assert failed == [2, 5]
    assert "a torn photo" in str(outcomes[2].error)
    assert all(outcome.result is not None for number, outcome in enumerate(outcomes) if number not in failed)


def test_what_an_engine_refuses_is_found_out_one_by_one(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, results = predictor.task.encode, predictor.results

    def marked(item: Any) -> dict[str, Array]:
        return {name: array + (100 if item.max() == 255 else 0) for name, array in encode(item).items()}

    def picky(runner: Any, feeds: Sequence[Any]) -> Any:
        if any(array.max() > 99 for feed in feeds for array in feed.values()):
            raise DataRefused("a value too large")
        return results(runner, feeds)

    monkeypatch.setattr(predictor.task, "encode", marked)
    monkeypatch.setattr(predictor, "results", picky)
    values = [np.full((8, 8, 3), 255 if number == 6 else number, np.uint8) for number in range(10)]
    outcomes = list(answered(predictor, items_of(values), batch=5))
    assert [number for number, outcome in enumerate(outcomes) if outcome.error] == [6]


def test_pictures_come_along_where_they_are_wanted(predictor: Predictor, photos: list[Path]) -> None:
    inputs = [photos[0], *pictures(MANY)]
    with_them = list(answered(predictor, items_of(inputs), pictures=True))
    assert with_them[0].picture.ndim == 3
    np.testing.assert_array_equal(with_them[1].picture, inputs[1])
    assert [o.result for o in with_them] == [o.result for o in answered(predictor, items_of(inputs))]
    assert all(outcome.picture is None for outcome in answered(predictor, items_of(inputs)))


def test_a_handful_opens_no_more_engines(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> Predictor:
        raise AssertionError("opened")

    monkeypatch.setattr(predictor, "copy", refuse)
    assert len(list(answered(predictor, items_of(pictures(MANY - 1))))) == MANY - 1


@pytest.mark.parametrize(("threads", "engines"), [(None, 4), (1, 4), (2, 2), (4, 1), (7, 1)])
def test_engines_and_their_threads_share_the_cores(predictor: Predictor, threads: int | None, engines: int) -> None:
    with Pipeline(predictor, threads=threads) as running:
        assert running.engines == engines


def test_a_large_artifact_is_opened_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "COPIED_BYTES", predictor.artifact.bytes - 1)
    with Pipeline(predictor) as running:
        assert running.engines == 1
        assert len(list(running.over(items_of(pictures(9))))) == 9


def test_engines_are_closed_and_the_predictor_stays_open(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    made, copy = [], predictor.copy

    def noted(*, threads: int | None = None) -> Predictor:
        made.append(copy(threads=threads))
        return made[-1]

    monkeypatch.setattr(predictor, "copy", noted)
    with Pipeline(predictor) as running:
        list(running.over(items_of(pictures(9))))
    assert len(made) == 4
    for one in made:
        with pytest.raises(RuntimeError, match="closed"):
            one.predict(pictures(1)[0])
    predictor.predict(pictures(1)[0])


def test_arrays_run_too(detector_bundle: Bundle) -> None:
    values = [{"photo": array} for array in np.random.default_rng(1).random((9, 3, 352, 352), np.float32)]
    with load(detector_bundle.path) as opened:
        outcomes = list(answered(opened, items_of(values)))
        alone = opened.predict(values[4])
    got = outcomes[4].result
    assert isinstance(got, Arrays)
    np.testing.assert_array_equal(got.arrays["cells"], alone.to_dict()["cells"])
