"""What pip would install on the boards, by its own resolver; on the network, as the other packaging tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from tests.benchmarks.targets import TARGETS, Target, Unresolved, resolve

FRAMEWORKS = {"tensorflow", "torch", "keras", "jax", "onnx", "transformers"}


def versions(target: Target, wheel: Path, extra: str) -> dict[str, str]:
    items = resolve(target, [f"{wheel}[{extra}]"])
    return {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in items}


def target_named(start: str) -> Target:
    return next(target for target in TARGETS if target.name.startswith(start))


def test_jetpack_6_gets_an_onnx_runtime_for_its_python(wheel: Path) -> None:
    found = versions(target_named("JetPack 6"), wheel, "onnxruntime")
    assert Version("1.20") <= Version(found["onnxruntime"]) < Version("1.24")  # later ones need Python 3.11
    assert "tomli" in found  # of a marker that is false for the Python that runs pip here
    assert not FRAMEWORKS & set(found)


def test_the_old_runtime_resolves_with_numpy_1(wheel: Path) -> None:
    found = versions(target_named("64-bit ARM through tflite"), wheel, "tflite")
    assert found["tflite-runtime"].startswith("2.14")
    assert found["numpy"].startswith("1.26")
    assert found["opencv-python-headless"].startswith("4.11")


def test_a_target_without_wheels_says_of_what() -> None:
    nowhere = Target("nowhere", "3.11", "m68k", 20)
    with pytest.raises(Unresolved, match="No matching distribution found for numpy"):
        resolve(nowhere, ["numpy"])


def test_the_tags_of_a_target_end_with_its_c_library() -> None:
    tags = target_named("JetPack 6").platforms
    assert tags[0] == "manylinux_2_35_aarch64"
    assert "manylinux_2_17_aarch64" in tags
    assert "manylinux_2_36_aarch64" not in tags
