"""Which channels may be scaled together, and which must be left alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters.quantize.channels import Group, channel_groups
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from tests.converters.quantize.networks import FORMATS, Net, OnnxNet, TFLiteNet

BOTH = pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)


def groups_of(net: Net, path: Path, *outputs: str) -> list[Group]:
    """Groups of the finished network."""
    with closing(net.save(path / f"net.{net.suffix}", *outputs)) as graph:
        return channel_groups(graph)


@BOTH
def test_channels_between_two_layers_form_a_group(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    middle = net.unary("relu", net.conv("picture", 8))
    (group,) = groups_of(net, tmp_path, net.conv(middle, 4))
    assert middle in group.tensors
    assert (len(group.writers), len(group.readers), group.constants, group.limits) == (1, 1, [], {})


@BOTH
def test_a_residual_sum_ties_its_terms_and_its_constants(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    first = net.conv("picture", 8, activation="relu")  # ONNX Runtime folds a constant into a convolution before it
    constant = net.per_channel(first)
    total = net.add(net.add_constant(first, constant), net.conv("picture", 8))
    (group,) = groups_of(net, tmp_path, net.conv(net.pool("max", total), 4))
    assert {first, total} < set(group.tensors)
    assert (len(group.writers), len(group.readers), group.constants) == (2, 1, [constant])


@BOTH
def test_a_depthwise_layer_ends_one_group_and_begins_another(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    first = net.conv("picture", 8, activation="relu")
    second = net.depthwise(first, multiplier=2)
    found = groups_of(net, tmp_path, net.conv(second, 4))
    assert len(found) == 2
    assert {first in group.tensors for group in found} == {second in group.tensors for group in found} == {True, False}


@BOTH
def test_a_clip_is_remembered(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    middle = net.conv("picture", 8, activation="relu6")
    (group,) = groups_of(net, tmp_path, net.conv(middle, 4))
    assert group.limits == {middle: 6.0}


@BOTH
@pytest.mark.parametrize("operator", ["sigmoid", "softmax"])
def test_channels_that_pass_a_curve_are_left_alone(kind: type[Net], operator: str, tmp_path: Path) -> None:
    net = kind()
    middle = net.unary(operator, net.conv("picture", 8))
    assert groups_of(net, tmp_path, net.conv(middle, 4)) == []


@BOTH
def test_an_output_of_the_model_is_left_alone(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    middle = net.conv("picture", 8, activation="relu")
    assert groups_of(net, tmp_path, middle, net.conv(middle, 4)) == []


@BOTH
def test_a_row_of_all_positions_is_left_alone(kind: type[Net], tmp_path: Path) -> None:
    net = kind()
    middle = net.conv("picture", 8, activation="relu")
    assert groups_of(net, tmp_path, net.dense(net.flatten(middle), 4)) == []


@BOTH
def test_a_row_of_single_positions_keeps_its_channels(kind: type[Net], tmp_path: Path) -> None:
    net = kind(side=1)
    middle = net.conv("picture", 8, kernel=1)
    (group,) = groups_of(net, tmp_path, net.dense(net.flatten(middle), 4))
    assert middle in group.tensors


def shared_weights(net: Net, first: str, second: str) -> tuple[str, str]:
    weights = [net.constant(net.uneven(8, 1, 1, 8)), net.constant(net.uneven(8))]
    return net.conv(first, 8, kernel=1, weights=weights), net.conv(second, 8, kernel=1, weights=weights)


def shared_bias(net: Net, first: str, second: str) -> tuple[str, str]:
    bias = net.constant(net.uneven(8))
    made = [net.conv(x, 8, kernel=1, weights=[net.constant(net.uneven(8, 1, 1, 8)), bias]) for x in (first, second)]
    return made[0], made[1]


def shared_sum(net: Net, first: str, second: str) -> tuple[str, str]:
    constant = net.per_channel(first)
    return net.add_constant(first, constant), net.add_constant(second, constant)


@BOTH
@pytest.mark.parametrize("share", [shared_weights, shared_bias, shared_sum])
def test_constants_of_two_nodes_are_left_alone(
    kind: type[Net], share: Callable[[Net, str, str], tuple[str, str]], tmp_path: Path
) -> None:
    net = kind()
    first, second = share(net, *[net.conv("picture", 8, activation="relu") for _ in range(2)])
    found = groups_of(net, tmp_path, net.conv(first, 4), net.conv(second, 4))
    assert not {first, second} & {name for group in found for name in group.tensors}


def test_a_dense_layer_with_computed_weights_holds_its_channels(tmp_path: Path) -> None:
    net = TFLiteNet(side=1)
    rows = net.mean(net.conv("picture", 8, kernel=1, activation="relu"))
    computed = net.mean(net.conv("picture", 8, kernel=1))
    product = net.node("dense", [rows, computed], (1, 1))
    assert groups_of(net, tmp_path, product, net.dense(rows, 4)) == []


def test_a_layer_with_a_computed_bias_holds_its_channels(tmp_path: Path) -> None:
    net = OnnxNet(side=1)
    rows, bias = net.mean(net.conv("picture", 8)), net.mean(net.conv("picture", 6))
    weight = net.constant(net.uneven(6, 8))
    biased = net.node("dense", [rows, weight, bias], (1, 6))
    found = groups_of(net, tmp_path, net.dense(net.unary("relu", biased), 4))
    assert not {biased, bias, rows} & {name for group in found for name in group.tensors}


def test_a_tensor_of_unknown_type_is_left_alone(tmp_path: Path) -> None:
    """Behind an operator whose result onnx cannot infer nothing is known of the tensors that follow."""
    import onnx

    net = OnnxNet()
    middle = net.conv("picture", 8)
    end = net.conv(middle, 4)
    path = tmp_path / "untyped.onnx"
    net.save(path, end).close()
    model = onnx.load(str(path))
    kept = [value for value in model.graph.value_info if value.name != middle]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    with closing(OnnxGraph(path, model, threads=1)) as graph:
        assert middle not in graph.activations
        assert channel_groups(graph) == []


def test_values_of_a_group_share_their_number_of_channels(tmp_path: Path) -> None:
    net = OnnxNet()
    middle = net.depthwise(net.conv("picture", 8), multiplier=2)
    with closing(net.save(tmp_path / "net.onnx", net.conv(middle, 4))) as graph:
        sample = net.pictures(1)[0]
        for group in channel_groups(graph):
            seen = graph.watch(sample, list(group.tensors))
            assert len({np.shape(seen[name])[axis] for name, axis in group.tensors.items()}) == 1
