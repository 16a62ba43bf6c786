"""Caches of recorded machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit_runtimes.bench.roofline.caches import Cache, read_caches
from tests.runtimes.bench.conftest import TreeMaker

PI_5 = {  # a first-level pair and a second level for each core, a third for all four
    "cpu0/cache/index0": ("Data", "64K", "1", "0"),
    "cpu0/cache/index1": ("Instruction", "64K", "1", "0"),
    "cpu0/cache/index2": ("Unified", "512K", "2", "0"),
    "cpu0/cache/index3": ("Unified", "2048K", "3", "0-3"),
}


def listed(caches: dict[str, tuple[str, str, str, str]]) -> dict[str, str | None]:
    """The files of some caches."""
    names = ("type", "size", "level", "shared_cpu_list")
    return {
        f"sys/devices/system/cpu/{folder}/{name}": f"{value}\n"
        for folder, values in caches.items()
        for name, value in zip(names, values, strict=True)
    }


def test_a_raspberry_pi_5(tree: TreeMaker) -> None:
    found = read_caches(tree(listed(PI_5)))
    assert found == (Cache(1, 64 << 10), Cache(2, 512 << 10), Cache(3, 2 << 20, 4))


def test_threads_have_private_caches_of_their_own() -> None:
    assert [Cache(2, 512, 1).capacity(threads) for threads in (1, 3)] == [512, 1536]
    assert [Cache(3, 512, 4).capacity(threads) for threads in (1, 4, 5)] == [512, 512, 1024]


def test_of_unequal_cores_the_largest_counts(tree: TreeMaker) -> None:
    little = {"cpu4/cache/index0": ("Data", "1M", "1", "4-5,7")}
    assert read_caches(tree(listed({**PI_5, **little})))[0] == Cache(1, 1 << 20, 3)


@pytest.mark.parametrize(
    "broken", [("Data", "", "1", "0"), ("Data", "0K", "1", "0"), ("Data", "32Q", "1", "0"), ("Data", "32K", "one", "0")]
)
def test_a_kernel_that_does_not_say(tree: TreeMaker, broken: tuple[str, str, str, str]) -> None:
    assert read_caches(tree()) == ()
    assert read_caches(tree(listed({"cpu0/cache/index0": broken}), name="broken")) == ()


def test_this_machine(tmp_path: Path) -> None:
    found = read_caches()
    assert [cache.level for cache in found] == sorted({cache.level for cache in found})
    assert read_caches(tmp_path) == ()
