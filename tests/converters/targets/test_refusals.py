from __future__ import annotations

import pytest

from edgekit_converters.targets.quiet import Noise
from edgekit_converters.targets.refusals import missing_operators, one_line, refuse

MESSAGES = {
    "TF Select ops: Betainc, Igamma\nDetails: ...": ["Betainc", "Igamma"],
    "error: failed to legalize operation 'stablehlo.fft' that was explicitly marked illegal": ["stablehlo.fft"],
    "Lowering not found: aten.special_i0.default": ["aten.special_i0.default"],
    "No ONNX function found for <OpOverload(op='aten.special_bessel_j0', overload='default')>. Failure message: no": [
        "aten.special_bessel_j0"
    ],
    "ERROR:tf2onnx.tfonnx:Tensorflow op [Betainc_1: Betainc] is not supported": ["Betainc"],
    "No Op registered for Betainc with domain_version of 18": ["Betainc"],
    "nothing to see": [],
}


@pytest.mark.parametrize(("message", "operators"), MESSAGES.items())
def test_operators_are_found_in_every_librarys_message(message: str, operators: list[str]) -> None:
    assert missing_operators(message) == operators


def test_the_innermost_cause_is_shown_in_one_line() -> None:
    outer, inner = RuntimeError("a long\nwrapper"), KeyError("the real cause\nwith details")
    outer.__cause__ = inner
    found = one_line(outer)
    assert found.startswith("KeyError: ")
    assert "the real cause" in found
    assert "\n" not in found


def test_a_refusal_names_operators_the_other_format_and_the_last_lines() -> None:
    noise = Noise()
    noise.keep("lots\nof\nprints\nTensorflow op [a: Betainc] is not supported\n")
    text = str(refuse("net", "onnx", ValueError("boom"), noise))
    assert text.startswith("net cannot be converted to ONNX: no ONNX form of Betainc")
    assert "prints\n" in text
    assert "lots" not in text
    assert text.endswith("remedy: replace these operations in the model, or convert to TFLite")


def test_a_refusal_without_operators_shows_the_exception() -> None:
    text = str(refuse("net", "tflite", ValueError("boom"), Noise()))
    assert text.splitlines()[0] == "net cannot be converted to TFLite: ValueError: boom"
    assert "convert to ONNX" in text
