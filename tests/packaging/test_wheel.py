"""What is published: every module of the three packages, at its import name, and nothing else."""

from __future__ import annotations

import email
from configparser import ConfigParser
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

PACKAGES = {
    "edgekit": "edgekit",
    "edgekit_converters": "converters/edgekit_converters",
    "edgekit_runtimes": "runtimes/edgekit_runtimes",
}
INFO = "edgekit_ai-0.1.0.dist-info"


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"{INFO}/METADATA"))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path, root: Path) -> None:
    """Drop the first folder of a path and you have the import name."""
    expected = {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    for package, folder in PACKAGES.items():
        files = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        expected |= {f"{package}/{path.relative_to(root / folder).as_posix()}" for path in files}
    with ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == sorted(expected)


def test_the_packages_hold_code_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.startswith(INFO)]
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    strays = [name for name in names if not name.endswith((".py", "/py.typed", ".html", ".css", ".js"))]
    assert strays == []
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert not {part for name in names for part in name.split("/")} & {"tests", "samples", "benchmarks", "conftest.py"}


def test_the_wheel_runs_on_every_python_3_from_3_10(wheel: Path, metadata: Message) -> None:
    assert wheel.name == "edgekit_ai-0.1.0-py3-none-any.whl"
    assert (metadata["Name"], metadata["Requires-Python"]) == ("edgekit-ai", ">=3.10")
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_licence_is_the_whole_text(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        text = archive.read(f"{INFO}/licenses/LICENSE").decode()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_heavy_stacks_are_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "all", "convert", "demo", "dev", "hub", "huggingface", "litert", "mlflow", "mqtt", "oci", "onnxruntime",
        "openvino", "parquet", "plot", "ray", "serve", "sound", "text", "tflite",
    }  # fmt: skip
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    always = {item.name for item in requirements if item.marker is None or "extra" not in str(item.marker)}
    assert always == {"click", "numpy", "opencv-python-headless", "rich", "tomli"}


def test_the_command_and_the_engines_are_entry_points(wheel: Path) -> None:
    parser = ConfigParser()
    with ZipFile(wheel) as archive:
        parser.read_string(archive.read(f"{INFO}/entry_points.txt").decode())
    assert dict(parser["console_scripts"]) == {"edgekit": "edgekit.cli:main"}
    assert dict(parser["edgekit.engines"]) == {
        "litert": "edgekit_runtimes.engines.litert:LiteRTEngine",
        "onnxruntime": "edgekit_runtimes.engines.onnxruntime:OnnxRuntimeEngine",
        "openvino": "edgekit_runtimes.engines.openvino:OpenVinoEngine",
    }
