"""Bounds, computed by hand."""

from __future__ import annotations

import json

import pytest

from edgekit.resources import OperatorResources, Resources
from edgekit_runtimes.bench.measurement import Memory
from edgekit_runtimes.bench.operators import Node
from edgekit_runtimes.bench.roofline import report
from edgekit_runtimes.bench.roofline.bandwidth import Level
from edgekit_runtimes.bench.roofline.bound import Bound, Roofline, moving, operator_bound, roofline
from edgekit_runtimes.bench.roofline.operators import bounds, matched
from edgekit_runtimes.bench.roofline.peak import MachinePeak

LEVELS = (Level("L2", 10_000, 100.0), Level("memory", 1_000_000, 5.0))
PEAK = MachinePeak("litert", "2.3.0", 4, {"fp32": 10.0, "int8": 40.0}, LEVELS)


def found(resources: Resources, median_ms: float = 10.0, peak: MachinePeak = PEAK) -> Roofline:
    result = roofline(resources, peak, median_ms)
    assert result is not None
    return result


def test_arithmetic() -> None:
    """50 million MACs at 10 a nanosecond."""
    one = found(Resources(50_000_000, 900_000, 50_000, 0, weights_read_bytes=900_000))
    assert (one.compute_bound_ms, one.reachable_ms, one.reached) == pytest.approx((5.0, 5.0, 0.5))
    assert one.limit == "arithmetic"


def test_each_precision_has_its_own_peak() -> None:
    assert found(Resources(50_000_000, 0, 0, 0, int8_macs=40_000_000)).compute_bound_ms == pytest.approx(1.0 + 1.0)


def test_weights_that_no_cache_holds_come_from_the_memory() -> None:
    """11 MB, of which 1 MB stays in the cache: 10 MB at 5 GB/s."""
    one = found(Resources(1_000_000, 10_600_000, 400_000, 0, weights_read_bytes=10_600_000))
    assert (one.bandwidth_bound_ms, one.reachable_ms) == pytest.approx((2.0, 2.0))
    assert one.limit == "memory"


def test_weights_that_a_cache_holds_do_not() -> None:
    """910 kB, all but 10 kB from the second level at 100 GB/s."""
    one = found(Resources(10_000, 900_000, 10_000, 0, weights_read_bytes=900_000))
    assert one.bandwidth_bound_ms == pytest.approx(0.009)
    assert one.limit == "L2"


def test_of_embeddings_only_rows_are_moved() -> None:
    assert found(Resources(1_000_000, 90_000_000, 0, 0, weights_read_bytes=500_000)).limit == "arithmetic"


def test_operators_one_after_the_other_add_up() -> None:
    """One is held up by its arithmetic (1 ms), one by what it moves: 4 MB more than the cache holds, at 5 GB/s."""
    operators = (
        OperatorResources("a", "CONV_2D", 10_000_000, 10, 20),
        OperatorResources("b", "CONV_2D", 10, 10, 5_000_000),
    )
    one = found(Resources(10_000_010, 20, 2_000_000, 5_000_020, 0, 20, operators))
    assert one.bandwidth_bound_ms == pytest.approx(0.8)
    assert one.reachable_ms == pytest.approx(1.8)
    assert one.limit == "arithmetic"


def test_a_product_of_activations_may_be_fused() -> None:
    attention = OperatorResources("qk", "BATCH_MATMUL", 10_000, 0, 50_000_000)
    assert operator_bound(attention, PEAK) == Bound(0.001, "arithmetic")


def test_without_known_caches_arithmetic_alone_bounds() -> None:
    one = found(Resources(50_000_000, 1 << 30, 0, 0, weights_read_bytes=1 << 30), peak=bare())
    assert one.bandwidth_bound_ms is None
    assert "bandwidth_bound_ms" not in one.to_dict()
    assert report.sentence(one, 10.0).endswith(
        "limited by arithmetic; by bandwidth is not known, the kernel lists no caches"
    )
    assert moving(1 << 30, ()) == Bound(0.0, "")


def bare() -> MachinePeak:
    return MachinePeak("litert", "2.3.0", 4, {"fp32": 10.0}, ())


def test_a_precision_without_a_peak_is_not_known() -> None:
    assert roofline(Resources(10, 0, 0, 0, int8_macs=10), bare(), 1.0) is None
    assert operator_bound(OperatorResources("a", "CONV_2D", 10, 1, 1, int8=True), bare()) is None


def test_one_plain_sentence() -> None:
    one = found(Resources(13_000_000, 0, 0, 0), 2.1)
    assert report.sentence(one, 2.1) == "2.1 ms; this machine could do it in 1.3 ms (62 %): limited by arithmetic"
    one = found(Resources(1, 0, 0, 0, weights_read_bytes=11_000_000), 8.0)
    assert report.sentence(one, 8.0).endswith(
        "could do it in 2 ms (25 %): limited by bandwidth, 5 GB/s from the memory"
    )
    one = found(Resources(1, 0, 0, 0, weights_read_bytes=900_000), 8.0)
    assert report.sentence(one, 8.0).endswith("limited by bandwidth, 100 GB/s from the L2 cache")


def test_the_machine_and_its_memory_in_a_line() -> None:
    one = found(Resources(10, 14_000_000, 6_020_000, 0))
    assert report.peak_line(one) == (
        "at best here, litert 2.3.0, threads 4: 10 GMAC/s in fp32, 40 GMAC/s in int8; 100 GB/s from L2, "
        "5 GB/s from memory"
    )
    needed = "memory: at least 14 MB of weights and 6.02 MB of activations at once"
    grew = "; the process grew by 56 MB, the engine's library included"
    assert report.memory_line(one, Memory(30_000_000, None, 86_000_000)) == needed + grew
    assert report.memory_line(one, Memory(None, None, None)) == needed


def test_json_has_the_agreed_keys() -> None:
    raw = found(Resources(50_000_000, 7, 8, 9)).to_dict()
    assert {"compute_bound_ms", "bandwidth_bound_ms", "reachable_ms", "reached"} <= set(raw)
    assert raw["peak"]["gbytes_per_s"] == 5.0
    assert (raw["resources"]["weight_bytes"], "operators" in raw["resources"], "operators" in raw) == (7, False, False)
    assert json.loads(json.dumps(raw)) == raw


def test_litert_numbers_its_operators_and_order_tells() -> None:
    nodes = [
        Node("delegate node 0", "Convert (NC)", 0.1),
        Node("delegate node 1", "Convolution (NHWC, QC8) IGEMM", 0.2),
        Node("delegate node 2", "Convolution (NHWC, QC8) DWConv", 0.3),
        Node("delegate node 3", "Fully Connected (NC, QS8, QC8W) GEMM", 0.4),
        Node("delegate node 4", "Fully Connected (NC, QDU8, F32, QC8W) GEMM", 0.5),
    ]
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED")
    operators = [OperatorResources(f"op{number}", kind, 10, 1, 1) for number, kind in enumerate(kinds)]
    pairs = {operator.name: node.milliseconds for operator, node in matched(nodes, operators)}
    assert pairs == {"op0": 0.2, "op1": 0.3, "op2": 0.4, "op3": 0.5}


def test_onnx_runtime_keeps_names_and_adds_to_them() -> None:
    nodes = [
        Node("conv_2_token_4", "QLinearConv", 0.2),
        Node("conv_1", "QLinearConv", 0.3),
        Node("x", "QLinearConv", 9.0),
    ]
    operators = [OperatorResources(name, "Conv", 10, 1, 1) for name in ("conv_1", "conv_2", "lost")]
    assert [(operator.name, node.milliseconds) for operator, node in matched(nodes, operators)] == [
        ("conv_1", 0.3),
        ("conv_2", 0.2),
    ]


def test_where_neither_tells_nothing_is_matched() -> None:
    nodes = [Node("a_nchwc", "Conv", 0.2), Node("b_nchwc", "Conv", 0.3)]
    assert matched(nodes, [OperatorResources("c", "Conv", 10, 1, 1)]) == []


def test_what_has_most_to_gain_comes_first() -> None:
    operators = [OperatorResources(name, "Conv", macs, 1, 1) for name, macs in (("a", 9_000_000), ("b", 1_000_000))]
    first, second = bounds([Node("a", "Conv", 1.0), Node("b", "Conv", 0.8)], operators, PEAK)
    assert (first.reachable_ms, first.lost_ms) == pytest.approx((0.1, 0.7))
    assert (first.name, second.name, second.limit) == ("b", "a", "arithmetic")
