"""Compile what `edgekit export --to c-array` writes, and read the program's view of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle import Bundle
from edgekit.engine import open_engine
from edgekit_converters.exporting.arena import activation_bytes
from edgekit_converters.exporting.c_array import c_string, identifier

Command = Callable[..., CompletedProcess[str]]

PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
#include "model.h"

int main(void) {
  if ((uintptr_t)colours % 16 || sizeof(colours) != COLOURS_BYTES) return 3;
  fprintf(stderr, "%.9g %d %d %.9g %d %d\n", COLOURS_INPUT_0_SCALE, COLOURS_INPUT_0_ZERO_POINT,
          COLOURS_INPUT_0_ELEMENTS, COLOURS_OUTPUT_0_SCALE, COLOURS_OUTPUT_0_ZERO_POINT, COLOURS_OUTPUT_0_ELEMENTS);
  for (int i = 0; i < COLOURS_LABEL_COUNT; i++) fprintf(stderr, "%s\n", colours_labels[i]);
  return fwrite(colours, 1, COLOURS_BYTES, stdout) != COLOURS_BYTES;
}
"""


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no {name} in CI: C source cannot be compiled")
    if found is None:
        pytest.skip(f"needs {name}, on Debian and Ubuntu: apt-get install {name}")
    return found


@pytest.mark.parametrize(("name", "standard"), [("gcc", "c11"), ("g++", "c++11")])
def test_a_program_sees_the_files_bytes_scales_and_labels(
    integer_bundle: Bundle, edgekit_command: Command, tmp_path: Path, name: str, standard: str
) -> None:
    tool = compiler(name)
    done = edgekit_command(
        "export", integer_bundle.path, "--to", "c-array", "--name", "colours", "-o", tmp_path / "model.h"
    )
    assert done.returncode == 0, done.stderr
    assert "alignas(16) const unsigned char colours[" in (tmp_path / "model.c").read_text()
    language = "c" if name == "gcc" else "c++"
    (tmp_path / "main.c").write_text(PROGRAM)
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-x", language]
    built = subprocess.run(
        [tool, *flags, "main.c", "model.c", "-o", "program"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([tmp_path / "program"], check=False, capture_output=True)
    assert ran.returncode == 0

    artifact = next(a for a in integer_bundle.artifacts if a.recipe == "int8")
    assert ran.stdout == integer_bundle.file(artifact.file).read_bytes()
    numbers, *labels = ran.stderr.decode().splitlines()
    assert tuple(labels) == integer_bundle.spec.labels
    with open_engine(integer_bundle.file(artifact.file)) as engine:
        given, answer = engine.inputs[0], engine.outputs[0]
    assert given.dtype == answer.dtype == "int8"
    found = [float(number) for number in numbers.split()]
    assert np.float32(found[0]) == np.float32(given.scale or 0)
    assert np.float32(found[3]) == np.float32(answer.scale or 0)
    assert [found[1], found[2], found[4], found[5]] == [given.zero_point, 32 * 32 * 3, answer.zero_point, 4]


def test_the_same_bundle_gives_the_same_text(integer_bundle: Bundle, edgekit_command: Command, tmp_path: Path) -> None:
    texts = []
    for place in ("one", "two"):
        done = edgekit_command("export", integer_bundle.path, "--to", "c-array", "-o", tmp_path / place / "model.h")
        assert done.returncode == 0, done.stderr
        texts.append([(tmp_path / place / name).read_bytes() for name in ("model.h", "model.c")])
    assert texts[0] == texts[1]
    artifact = integer_bundle.file("tiny.int8.tflite")
    assert hashlib.sha256(artifact.read_bytes()).hexdigest().encode() in texts[0][0]


def test_a_float_artifact_has_no_scale(integer_bundle: Bundle, edgekit_command: Command, tmp_path: Path) -> None:
    done = edgekit_command(
        "export", integer_bundle.path, "--to", "c-array", "--recipe", "fp32", "-o", tmp_path / "model.hh"
    )
    assert done.returncode == 0, done.stderr
    assert "SCALE" not in (tmp_path / "model.hh").read_text()
    assert "float32, 1 x 32 x 32 x 3" in (tmp_path / "model.hh").read_text().replace("any", "1")
    assert (tmp_path / "model.cc").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "fp16", "-o", "model.h"], "no TFLite artifact 'fp16'; expected --recipe fp32 or int8"),
        (["-o", "model.bin"], "expected a header, such as model.h"),
        (["--name", "2nd model", "-o", "model.h"], "such as model_2nd_model"),
    ],
)
def test_bad_requests_write_nothing(
    integer_bundle: Bundle, edgekit_command: Command, tmp_path: Path, options: list[str], message: str
) -> None:
    done = edgekit_command("export", integer_bundle.path, "--to", "c-array", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_activations_are_those_alive_at_once(realpack: Path) -> None:
    """The MLPerf Tiny person detector: its widest point is the first depthwise layer's input and output."""
    assert activation_bytes(realpack / "models" / "ref" / "vww_96_int8.tflite") == 48 * 48 * (8 + 16)


@given(st.text(max_size=40))
def test_any_name_becomes_an_identifier(text: str) -> None:
    name = identifier(text)
    assert name.isidentifier()
    assert name.isascii()
    assert name not in ("int", "class", "while")
    assert identifier(name) == name


@given(st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_a_literal_stands_for_its_text(text: str) -> None:
    literal = c_string(text)
    assert literal.isascii()
    assert "?" not in literal
    inside, found = literal[1:-1], bytearray()
    while inside:
        step = 4 if inside[0] == "\\" else 1
        found.append(int(inside[1:4], 8) if step == 4 else ord(inside[0]))
        inside = inside[step:]
    assert found.decode() == text
