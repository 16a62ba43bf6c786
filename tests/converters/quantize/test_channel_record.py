"""The note that an artifact carries on its scaled channels."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters.compare.trace import open_trace
from edgekit_converters.quantize import RECIPES, quantize
from edgekit_converters.quantize.channel_record import ChannelFactors, exponents_of, packed_factors, read_factors
from tests.converters.quantize.networks import FORMATS, Net


def test_factors_come_back_as_they_were_written() -> None:
    shared = np.array([0, 3, 255], np.uint8)
    written = {"a": ChannelFactors(3, shared), "b;c": ChannelFactors(1, shared), "d": ChannelFactors(1, shared[:1])}
    read = read_factors(packed_factors(written))
    assert list(read) == list(written)
    for name, found in read.items():
        assert found.axis == written[name].axis
        assert found.exponents.tolist() == written[name].exponents.tolist()


def test_a_channel_costs_about_a_byte() -> None:
    drawn = np.random.default_rng(0).integers(0, 40, 1280).astype(np.uint8)
    factors = {f"layer {number}": ChannelFactors(1, drawn) for number in range(20)}
    assert len(packed_factors(factors)) < 1.4 * drawn.size


@pytest.mark.parametrize("data", [b"", b"x", b"\x78\x9c", packed_factors({})[:-3]])
def test_anything_else_is_read_as_nothing(data: bytes) -> None:
    assert read_factors(data) == {}


def test_factors_never_grow_when_they_are_stored() -> None:
    wanted = np.array([1.0, 1.09, 1.1, 2.0, 5.0, 1e12])
    stored = ChannelFactors(0, exponents_of(wanted)).values
    assert (stored <= wanted * (1 + 1e-9)).all()
    assert (stored[:-1] > wanted[:-1] / 2 ** (1 / 8)).all()
    assert stored[0] == 1
    assert stored[3] == 2


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_the_artifacts_activations_are_the_float_ones_times_the_factors(kind: type[Net], tmp_path: Path) -> None:
    net = kind(0)
    middle = net.conv("picture", 16, activation="relu")
    samples = net.pictures(8)
    paths = [tmp_path / f"{name}.{kind.suffix}" for name in ("float", "int8")]
    with closing(net.save(paths[0], net.conv(middle, 4))) as graph:
        wanted = graph.watch(samples[0], [middle])[middle]
    quantize(paths[0], paths[1], RECIPES["int8"], samples)
    with closing(open_trace(paths[1])) as trace:
        factors = trace.factors[middle].along(wanted.ndim)
        stored = next(activation.tensor for activation in trace.activations if activation.name == middle)
        found = trace.watch(samples[0], [stored])[stored]
    assert factors.max() > 1.5
    assert np.linalg.norm(found / factors - wanted) < 0.03 * np.linalg.norm(wanted)
    assert np.linalg.norm(found - wanted) > 0.1 * np.linalg.norm(wanted)
