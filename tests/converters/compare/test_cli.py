"""`edgekit compare` as a person uses it."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit.errors import UsageError
from edgekit_converters.compare import CompareRequest, Comparison, compare
from edgekit_converters.compare.plot import check_target, draw
from edgekit_converters.compare.table import short

Command = Callable[..., CompletedProcess[str]]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    shown = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, shown.out, shown.err


@pytest.fixture(scope="module")
def found(bundle: Bundle) -> Comparison:
    return compare(CompareRequest(bundle.path, "int8", format="tflite"))


def test_the_table_and_the_picture(edgekit_command: Command, bundle: Bundle, tmp_path: Path) -> None:
    picture = tmp_path / "error.png"
    done = edgekit_command("compare", bundle.path, "int8", "--to", "tflite", "--top", 3, "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert "tiny.int8.tflite against the original, tiny: 4 samples (golden samples of the bundle)" in done.stdout
    assert "3 of 3 with weights aligned" in done.stdout
    assert "no layer passes relative L2 0.1" in done.stdout
    assert "carried by" in done.stdout
    assert "at outputs: relative L2" in done.stdout
    assert len([line for line in done.stdout.splitlines() if " dB " in line]) == 3
    assert "INFO" not in done.stderr
    image = cv2.imread(str(picture))
    assert image is not None
    assert min(image.shape[:2]) > 600
    assert 0.01 < (image < 128).any(axis=2).mean() < 0.5  # something is drawn on white


def test_json_is_alone_on_standard_output(capsys: pytest.CaptureFixture[str], bundle: Bundle, tmp_path: Path) -> None:
    code, out, _ = run(capsys, "compare", bundle.path, "tiny.int8.onnx", "--json", "--plot", tmp_path / "error.svg")
    assert code == 0
    raw = json.loads(out)
    assert raw["artifact"] == "tiny.int8.onnx"
    assert raw["outputs"]["agreement"] == {"successes": 4, "total": 4, "name": "top-1 agreement"}
    assert (tmp_path / "error.svg").read_text().lstrip().startswith("<?xml")


def test_the_gate_exits_with_4_after_showing_the_layers(capsys: pytest.CaptureFixture[str], bundle: Bundle) -> None:
    words = ("compare", bundle.path, "int8", "--to", "onnx", "--no-diagnose", "--max-relative-l2")
    code, out, err = run(capsys, *words, 1e-6)
    assert code == 4
    assert "expected at most 1e-06" in err
    assert "carried by" in out
    assert run(capsys, *words, 0.5)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["int8"], 2, "add --to tflite"),
        (["int8", "--to", "onnx", "--preset", "unit"], 2, "--preset for a bundle"),
        (["int8", "--to", "onnx", "--plot", "error.gif"], 2, "ends in .png"),
        (["int8", "--to", "onnx", "--plot", "nowhere/error.png"], 2, "there is no folder nowhere"),
        (["missing.tflite"], 2, "no artifact 'missing.tflite'"),
        (["torn.onnx"], 3, "torn.onnx"),
    ],
)
def test_refusals_are_two_lines(
    capsys: pytest.CaptureFixture[str],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("torn.onnx").write_bytes(b"\x08\x09" * 20)
    got, _, err = run(capsys, "compare", bundle.path, *words)
    assert got == code
    errors = err[err.index("error: ") :]
    assert message in errors
    assert len(errors.strip().splitlines()) <= 2


def test_nothing_to_draw_is_said(bundle: Bundle, found: Comparison, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="no layers to draw"):
        draw(replace(found, traced=None), tmp_path / "error.png")
    assert not list(tmp_path.iterdir())
    check_target(tmp_path / "error.pdf")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("net/re_lu_1/Relu6;net/bn/add;net/conv", "re_lu_1/Relu6"),
        ("serving_default_input_layer:0", "input_layer:0"),
        (
            "edgekit_converters.targets.torch_graph.A/Sequential_model/torch.nn.modules.activation.ReLU_3",
            "Sequential_model/ReLU_3",
        ),
        ("x" * 60, "…" + "x" * 47),
    ],
)
def test_names_are_shown_short(name: str, shown: str) -> None:
    assert short(name) == shown
