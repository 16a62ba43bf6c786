"""Cross-layer equalization: the float model answers as before, and its channels are closer together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import Feeds
from edgekit_converters.quantize.channels import channel_groups
from edgekit_converters.quantize.equalization import equalize
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.ranges import Range
from tests.converters.quantize.networks import FORMATS, Net

SEEDS = range(24)
STEPS = ("conv", "grouped", "depthwise", "double", "shared", "residual", "add", "max", "average", "pad", "concat",
         "relu", "leaky", "sigmoid")  # fmt: skip


def drawn_network(net: Net, *, clipped: bool) -> list[str]:
    """Draw a network that mixes all the cases; returns its outputs."""
    steps = (*STEPS, "relu6") if clipped else STEPS
    chosen = net.random.choice(steps, 7)
    current, outputs, earlier = net.conv("picture", 8, activation="relu"), [], list[str]()
    for step in chosen:
        earlier.append(current)
        current = _next(net, str(step), current, earlier, "relu6" if clipped else "relu")
        if net.random.random() < 0.15:
            outputs.append(current)
    rows = net.flatten(current) if net.random.random() < 0.5 else net.mean(current)
    rows = net.dense(net.unary("relu", net.dense(rows, 12)), 12)
    last = str(net.random.choice(["relu", "norm", "softmax", "sigmoid"]))
    weights = [net.constant(net.uneven(12, 12)), net.constant(net.uneven(12))]
    rows = net.dense(net.unary(last, net.dense(rows, 12, weights=weights)), 12, weights=weights)
    return [*dict.fromkeys(outputs), net.dense(net.add_constant(rows), 5)]


def _next(net: Net, step: str, current: str, earlier: list[str], activation: str) -> str:
    _, side, _, channels = net.shapes[current]
    same = [name for name in earlier if net.shapes[name] == net.shapes[current]]
    other = str(net.random.choice(same)) if same else current
    if step == "conv":
        return net.conv(current, 8, stride=2 if side > 3 else 1, activation=activation)
    if step == "grouped":
        return net.conv(current, channels, groups=2, activation="relu")
    if step in ("depthwise", "double"):
        return net.depthwise(current, multiplier=2 if step == "double" else 1, activation=activation)
    if step == "shared":
        weights = [net.constant(net.uneven(channels, 1, 1, channels)), net.constant(net.uneven(channels))]
        first = net.unary("relu", net.conv(current, channels, kernel=1, weights=weights))
        return net.conv(net.conv(first, channels, kernel=1, activation="relu"), channels, kernel=1, weights=weights)
    if step == "residual":
        return net.add(net.conv(net.conv(current, 8, activation="relu"), channels), other)
    return net.concat(current, other) if step == "concat" else _passed_on(net, step, current)


def _passed_on(net: Net, step: str, current: str) -> str:
    if step in ("max", "average"):
        return net.pool(step, current) if net.shapes[current][1] > 3 else current
    if step == "pad":
        return net.pad(current)
    return net.add_constant(current) if step == "add" else net.unary(step, current)


def answers(graph: FloatGraph, samples: Sequence[Feeds]) -> list[NDArray[np.float64]]:
    """All outputs, sample by sample and output by output."""
    return [np.asarray(v, np.float64) for sample in samples for v in graph.watch(sample, graph.outputs).values()]


def drift(before: list[NDArray[np.float64]], after: list[NDArray[np.float64]]) -> float:
    """Largest relative L2 error."""
    return max(float(np.linalg.norm(b - a) / np.linalg.norm(b)) for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
@pytest.mark.parametrize("seed", SEEDS)
def test_answers_stay_the_same_on_inputs_never_seen(kind: type[Net], seed: int, tmp_path: Path) -> None:
    net = kind(seed)
    with closing(net.save(tmp_path / f"drawn.{kind.suffix}", *drawn_network(net, clipped=False))) as graph:
        unseen = net.pictures(4, seed=2)
        before = answers(graph, unseen)
        assert equalize(graph, net.pictures(4))
        assert drift(before, answers(graph, unseen)) < 1e-5


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
@pytest.mark.parametrize("seed", SEEDS)
def test_with_clips_answers_stay_the_same_on_the_samples(kind: type[Net], seed: int, tmp_path: Path) -> None:
    net = kind(seed)
    with closing(net.save(tmp_path / f"drawn.{kind.suffix}", *drawn_network(net, clipped=True))) as graph:
        samples = net.pictures(4)
        before = answers(graph, samples)
        equalize(graph, samples)
        assert drift(before, answers(graph, samples)) < 1e-5


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_a_channel_below_its_clip_is_made_louder_but_not_clipped(kind: type[Net], tmp_path: Path) -> None:
    net = kind(3)
    middle = net.conv("picture", 8, activation="relu6")
    with closing(net.save(tmp_path / f"clip.{kind.suffix}", net.conv(middle, 4))) as graph:
        samples = net.pictures(6)
        before = graph.watch(samples[0], [middle])[middle]
        assert equalize(graph, samples)
        after = graph.watch(samples[0], [middle])[middle]
        assert not np.allclose(before, after)
        assert ((before >= 6) == (after >= 6)).all()


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_channels_come_closer_together_and_lose_less_to_rounding(kind: type[Net], tmp_path: Path) -> None:
    net = kind(0)
    middle = net.conv("picture", 16, activation="relu")
    with closing(net.save(tmp_path / f"uneven.{kind.suffix}", net.conv(middle, 4))) as graph:
        samples = net.pictures(8)
        before = rounding_error(graph, middle, samples)
        equalize(graph, samples)
        assert rounding_error(graph, middle, samples) < 0.7 * before


def rounding_error(graph: FloatGraph, name: str, samples: Sequence[Feeds]) -> float:
    """Relative L2 error of the answers when one activation is rounded to 8 bits."""
    wanted = answers(graph, samples)
    top = max(float(graph.watch(sample, [name])[name].max()) for sample in samples)
    graph.simulate({name: Range(0.0, top)})
    got = answers(graph, samples)
    graph.simulate({})
    return float(np.mean([np.linalg.norm(w - g) / np.linalg.norm(w) for w, g in zip(wanted, got, strict=True)]))


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_every_group_scales_somewhere(kind: type[Net], tmp_path: Path) -> None:
    net = kind(5)
    with closing(net.save(tmp_path / f"drawn.{kind.suffix}", *drawn_network(net, clipped=False))) as graph:
        names = [name for group in channel_groups(graph) for name in group.tensors]
        samples = net.pictures(4)
        before = graph.watch(samples[0], names)
        assert len(equalize(graph, samples)) == len(names) > 0
        after = graph.watch(samples[0], names)
        assert all(not np.allclose(before[name], after[name]) for name in names)
