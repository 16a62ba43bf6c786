"""constraints.txt pins what pyproject.toml asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def pinned(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_inside_its_range(root: Path, pinned: dict[str, str]) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # `tflite` is for boards alone: its NumPy 1 cannot stand beside the rest, and `all` leaves it out.
    assert "tflite" not in extras["all"][0]
    lines = [*project["dependencies"], *(line for name, extra in extras.items() if name != "tflite" for line in extra)]
    for line in lines:
        wanted = Requirement(line)
        if wanted.name == project["name"] or (wanted.marker and not wanted.marker.evaluate()):
            continue
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), line


def test_torch_is_exact_and_nothing_is_local(pinned: dict[str, str]) -> None:
    assert pinned["torch"] == "2.13.0"
    assert not [name for name, version in pinned.items() if "+" in version or "@" in version or "/" in version]
    assert "torchvision" not in pinned  # it cannot be imported beside this torch, and breaks transformers


def test_model_packages_stand_apart(root: Path, pinned: dict[str, str]) -> None:
    """Their requirements are unwanted, so they must not take part in the resolution."""
    lines = (root / "requirements-models.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(wanted) >= 4
    assert all(str(item.specifier).startswith("==") for item in wanted)
    assert not {canonicalize_name(item.name) for item in wanted} & set(pinned)
