"""NVIDIA's libraries as the dynamic linker finds them: small ones are compiled here with the same entry points."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_runtimes.engines.nvidia import Gpu, gpu, is_jetson, library_in, missing_libraries, tensorrt_version

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return flags ? 1 : STATUS; }
int cuDeviceGet(int *device, int index) { if (index > 0) return 101; *device = index + 7; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 7 ? "Orin" : "?", size); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 7 : -1; return 0;
}
"""
Compile = Callable[..., Path]
pytestmark = pytest.mark.skipif(not shutil.which("gcc") and not os.environ.get("CI"), reason="needs a C compiler, gcc")


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compile a shared library."""

    def make(name: str, code: str, *options: str) -> Path:
        source, path = tmp_path / "source.c", tmp_path / name
        source.write_text(code)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(path), str(source), *options], check=True, timeout=60)
        return path

    return make


def only(**libraries: Path) -> Callable[[str], Any]:
    """Load these by name, and nothing else."""

    def load(name: str) -> Any:
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return ctypes.CDLL(str(libraries[name]))

    return load


def test_the_driver_tells_its_device(compiled: Compile) -> None:
    load = only(**{"libcuda.so.1": compiled("libcuda.so.1", DRIVER, "-DSTATUS=0")})
    assert gpu(0, load) == Gpu("Orin", "8.7")
    assert gpu(1, load) is None


def test_no_driver_or_none_that_starts(compiled: Compile) -> None:
    assert gpu(0, only()) is None
    assert gpu(0, only(**{"libcuda.so.1": compiled("libcuda.so.1", DRIVER, "-DSTATUS=100")})) is None
    assert gpu(0, only(**{"libcuda.so.1": compiled("libother.so", "int nothing;")})) is None


@pytest.mark.parametrize(
    ("library", "number", "version"),
    [
        ("libnvinfer.so.8", 8601, "8.6.1"),
        ("libnvinfer.so.8", 8502, "8.5.2"),
        ("libnvinfer.so.10", 100300, "10.3.0"),
        ("libnvinfer.so.10", 101302, "10.13.2"),
    ],
)
def test_tensorrt_tells_its_version(compiled: Compile, library: str, number: int, version: str) -> None:
    code = f"int getInferLibVersion(void) {{ return {number}; }}"
    assert tensorrt_version(only(**{library: compiled(library, code)})) == version
    assert tensorrt_version(only()) is None


def test_what_a_provider_misses_is_the_linkers_word(compiled: Compile, tmp_path: Path) -> None:
    needed = compiled("libcublasLt.so.12", "int cublas(void) { return 0; }", "-Wl,-soname,libcublasLt.so.12")
    code = "int cublas(void); int use(void) { return cublas(); }"
    compiled("libonnxruntime_providers_cuda.so", code, str(needed))
    needed.unlink()
    (said,) = missing_libraries(tmp_path, "cuda")
    assert library_in(said) == "libcublasLt.so.12"
    assert missing_libraries(tmp_path, "tensorrt") == ()  # a build without it
    compiled("libonnxruntime_providers_tensorrt.so", "int use(void) { return 0; }")
    assert missing_libraries(tmp_path, "tensorrt") == ()


def test_a_jetson_is_known_by_its_release_or_its_device_tree(tmp_path: Path) -> None:
    assert not is_jetson(tmp_path)
    model = tmp_path / "proc" / "device-tree" / "model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert not is_jetson(tmp_path)
    model.write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    assert is_jetson(tmp_path)
    model.unlink()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.3\n")
    assert is_jetson(tmp_path)
