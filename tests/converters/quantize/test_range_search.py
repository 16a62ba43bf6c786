"""Ranges chosen by the answers: what clipping may cut off is decided by what the model makes of it."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit_converters.quantize.chosen import chosen_samples, divided
from edgekit_converters.quantize.graph import FloatGraph, Flow, Node
from edgekit_converters.quantize.range_search import JUDGED, Judge, candidates, search_ranges
from edgekit_converters.quantize.ranges import Range, RangeObserver
from tests.converters.quantize.networks import FORMATS, Net


class Handmade(FloatGraph):
    """Two activations computed by numpy: ``first`` is the input, ``second`` its third power.

    Args:
        outputs: Outputs, of ``first kept`` (as it was read), ``second kept``, ``first capped`` and ``second capped``
            (what is above 1 does not matter), ``count`` (a whole number), ``kept`` (of varying length).
    """

    def __init__(self, *outputs: str) -> None:
        self.path = Path("handmade")
        self.inputs = (TensorInfo("first", (1, 16_384), "float32"),)
        self.outputs = outputs
        floats = tuple(name for name in outputs if name != "count")
        self.activations = ("first", "second", *floats)
        self.layers, self.nodes = (), ()
        self.ranges: Mapping[str, Range] = {}
        self.runs = 0

    def _read(self, name: str, values: Array) -> Array:
        if name not in self.ranges:
            return values
        step, zero = self.ranges[name].grid()
        stored = np.rint(np.clip(values, -1e6, 1e6) / step) + zero
        read: Array = (np.clip(stored, 0, 255) - zero) * step
        return read

    def watch(self, feeds: Feeds, names: Collection[str]) -> dict[str, Array]:
        """Compute what is asked for."""
        self.runs += 1
        first = feeds["first"]
        second = np.clip(first, -1e6, 1e6) ** 3
        read = {"first": self._read("first", first), "second": self._read("second", second)}
        found: dict[str, Array] = {"first": first, "second": second}
        for name, values in read.items():
            found |= {f"{name} kept": values, f"{name} capped": np.clip(values, -1, 1)}
        found["kept"] = read["first"][read["first"] > 0.5]
        return {name: found[name].astype(np.float32) for name in names}

    def simulate(self, ranges: Mapping[str, Range]) -> None:
        """Round from now on."""
        self.ranges = dict(ranges)

    def flow(self, node: Node) -> Flow | None:
        """No nodes."""
        raise AssertionError

    def weight(self, name: str) -> Array:
        """No weights."""
        raise AssertionError

    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        """No weights."""
        raise AssertionError

    def divide_input(self, name: str, factors: Array, readers: Collection[str]) -> None:
        """No layers."""
        raise AssertionError

    def close(self) -> None:
        """Nothing is open."""


def outlying(count: int, *, size: float = 40.0, length: int = 16_384) -> list[Feeds]:
    """Values below 1 with one outlier in every sample, another each time."""
    random = np.random.default_rng(0)
    made = random.uniform(-1, 1, (count, 1, length)).astype(np.float32)
    made[:, 0, 0] = size * random.uniform(0.95, 1, count)
    return [{"first": sample} for sample in made]


def observed(graph: FloatGraph, samples: Sequence[Feeds], names: Sequence[str]) -> RangeObserver:
    """Statistics of activations."""
    observer = RangeObserver()
    for sample in samples:
        observer.add(graph.watch(sample, names))
    return observer


def test_an_outlier_that_does_not_matter_is_clipped() -> None:
    graph, samples = Handmade("first capped"), outlying(8)
    found = search_ranges(graph, samples, observed(graph, samples, ["first"]), ["first"], {})
    assert found.rule.startswith("middle")
    assert found.ranges["first"].high < 2
    assert found.error < 0.01


def test_an_outlier_that_matters_is_kept() -> None:
    graph, samples = Handmade("first kept"), outlying(8)
    found = search_ranges(graph, samples, observed(graph, samples, ["first"]), ["first"], {}, parts=1)
    assert found.ranges["first"].high > 38


def test_a_part_gets_a_rule_of_its_own_where_that_is_better() -> None:
    graph, samples = Handmade("first kept", "second capped"), outlying(8, size=1.5)
    observer = observed(graph, samples, ["first", "second"])
    same = search_ranges(graph, samples, observer, ["first", "second"], {}, parts=1)
    apart = search_ranges(graph, samples, observer, ["first", "second"], {}, parts=2)
    assert apart.rule == same.rule
    assert apart.error < 0.99 * same.error
    assert apart.ranges != same.ranges
    assert same.ranges == dict(candidates(observer, ["first", "second"]))[same.rule]


def test_the_order_of_the_samples_does_not_matter() -> None:
    samples = outlying(48, length=512)
    found = []
    for order in (samples, samples[::-1], samples[24:] + samples[:24]):
        graph = Handmade("first kept", "second capped")
        observer = observed(graph, order, ["first", "second"])
        found.append(search_ranges(graph, order, observer, ["first", "second"], {}, parts=2))
    assert found[0] == found[1] == found[2]


def test_other_ranges_are_simulated_too_and_stay() -> None:
    graph, samples = Handmade("first kept", "second kept"), outlying(4)
    observer = observed(graph, samples, ["first"])
    rough = {"second": Range(-100.0, 100.0)}
    free, bound = (search_ranges(graph, samples, observer, ["first"], fixed) for fixed in ({}, rough))
    assert bound.error > 1.5 * free.error
    assert set(bound.ranges) == {"first"}


def test_the_graph_is_in_float_again_afterwards() -> None:
    graph, samples = Handmade("first kept"), outlying(4)
    search_ranges(graph, samples, observed(graph, samples, ["first"]), ["first"], {})
    assert graph.ranges == {}


def test_runs_and_samples_held_do_not_grow_with_the_data() -> None:
    runs, names = [], ["first", "second"]
    for count in (40, 80):
        graph, samples = Handmade("first kept"), outlying(count, length=512)
        observer = observed(graph, samples, names)
        graph.runs = 0
        search_ranges(graph, samples, observer, names, {})
        runs.append(graph.runs)
    rules = len(dict(candidates(observer, names)))
    assert runs[0] == runs[1] <= JUDGED * (1 + rules + 2 * 8)


class Numbers:
    """Samples that are made one by one, each a number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Feeds]:
        return ({"first": np.full((1, 4), number, np.float32)} for number in range(self.count))


def test_few_samples_are_chosen_by_their_contents() -> None:
    chosen = chosen_samples(Numbers(100), 5)
    backwards = chosen_samples(list(Numbers(100))[::-1], 5)
    assert len(chosen) == 5
    assert [float(sample["first"][0, 0]) for sample in chosen] == [float(s["first"][0, 0]) for s in backwards]
    assert len(chosen_samples(Numbers(3), 5)) == 3


def test_the_others_are_all_but_the_chosen_if_they_are_twice_as_many() -> None:
    chosen, others = divided(Numbers(30), 10)
    assert others is not None
    numbers = [{float(sample["first"][0, 0]) for sample in some} for some in (chosen, others)]
    assert numbers[0] | numbers[1] == set(range(30))
    assert len(numbers[0]) == 10
    assert not numbers[0] & numbers[1]
    assert divided(Numbers(29), 10)[1] is None


def test_rules_are_judged_by_some_statistics_and_applied_to_others() -> None:
    graph, samples = Handmade("first kept"), outlying(8)
    observer = observed(graph, samples[:4], ["first"])
    every = observed(graph, [{"first": 2 * sample["first"]} for sample in samples], ["first"])
    found = search_ranges(graph, samples, observer, ["first"], {}, final=every)
    assert found.ranges == dict(candidates(every, ["first"]))[found.rule]
    assert found.error == search_ranges(graph, samples, observer, ["first"], {}).error


def test_chosen_samples_are_on_disk_and_whole() -> None:
    given: list[dict[str, Array]] = [
        {"a": np.full((1, 50_000), n, np.float32), "b": np.full((1, 2), n, np.int64)} for n in range(40)
    ]
    tracemalloc.start()
    chosen = chosen_samples(given, 32)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000
    for sample in chosen:
        (number,) = {int(n) for array in sample.values() for n in array.reshape(-1)}
        assert [(name, a.dtype, a.shape) for name, a in sample.items()] == [
            (name, a.dtype, a.shape) for name, a in given[number].items()
        ]
    assert [int(sample["b"][0, 0]) for sample in chosen[2:4]] == [int(chosen[i]["b"][0, 0]) for i in (2, 3)]


def test_an_answer_in_whole_numbers_is_judged_by_the_last_float() -> None:
    graph, samples = Handmade("count"), outlying(4)
    graph.activations = ("first", "second kept")
    judge = Judge(graph, samples, {})
    errors = [judge.error({"second": Range(-high, high)}) for high in (7.0, 2.0, 0.5)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_another_number_of_detections_counts_as_all_missed() -> None:
    graph = Handmade("kept")
    judge = Judge(graph, [{"first": np.linspace(0, 1, 100, dtype=np.float32)[None]}], {})
    assert judge.error({"first": Range(0.0, 0.4)}) == pytest.approx(1.0)


def test_a_sample_that_answers_next_to_nothing_does_not_decide() -> None:
    samples = [{"first": np.full((1, 4), size, np.float32)} for size in (1.0, 1.0, 1e-4)]
    judge = Judge(Handmade("first kept"), samples, {})
    assert judge.error({"first": Range(0.0, 1.0)}) < 0.01


def test_masked_answers_are_left_out() -> None:
    sample = {"first": np.array([[1.0, -np.inf, np.finfo(np.float32).min]], np.float32)}
    judge = Judge(Handmade("first kept"), [sample], {})
    assert judge.error({"first": Range(0.0, 1.0)}) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_found_ranges_are_at_least_as_good_as_any_rule_on_a_network(kind: type[Net], tmp_path: Path) -> None:
    net = kind(0)
    middle = [net.conv("picture", 8, activation="relu")]
    for _ in range(3):
        middle.append(net.conv(middle[-1], 8, activation="relu"))
    with closing(net.save(tmp_path / f"net.{kind.suffix}", net.conv(middle[-1], 4))) as graph:
        samples = net.pictures(6)
        observer = observed(graph, samples, middle)
        found = search_ranges(graph, samples, observer, middle, {}, parts=2)
        judge = Judge(graph, chosen_samples(samples, JUDGED), {})
        errors = {rule: judge.error(ranges) for rule, ranges in candidates(observer, middle)}
        assert found.rule == min(errors, key=lambda rule: errors[rule])
        assert judge.error(found.ranges) == found.error <= min(errors.values())


def test_rules_have_names_of_their_own() -> None:
    graph, samples = Handmade("first kept"), outlying(3)
    names = [rule for rule, _ in candidates(observed(graph, samples, ["first"]), ["first"])]
    assert all(one != other for one, other in itertools.combinations(names, 2))
    assert "all values" in names
