from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.sources._quiet import import_keras, import_torch
from edgekit_converters.targets import export
from tests.converters.targets.conftest import errors


def _keras(form: str) -> Any:
    keras = import_keras()
    dense = keras.layers.Dense
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y-1")
    unnamed = keras.Input((4,))
    forms: dict[str, Callable[[], Any]] = {
        "list of one without a name": lambda: keras.Model([unnamed], [dense(3)(unnamed)]),
        "outputs by name, not sorted": lambda: keras.Model(x, {"b": dense(3)(x), "a": dense(3)(x)}),
        "inputs by name, not sorted": lambda: keras.Model({"y-1": y, "x": x}, [dense(3)(x), dense(3)(y * 2.0)]),
        "sequential": lambda: keras.Sequential([keras.Input((4,)), dense(3)]),
        "an input as output": lambda: keras.Model(x, [x, dense(4)(x)]),
        "one output twice": lambda: keras.Model(x, [shared := dense(4)(x), shared]),
    }
    return forms[form]()


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@pytest.mark.parametrize(
    "form",
    [
        "list of one without a name",
        "outputs by name, not sorted",
        "inputs by name, not sorted",
        "sequential",
        "an input as output",
        "one output twice",
    ],
)
def test_keras_models_of_every_form_are_bound(form: str, kind: str, tmp_path: Path) -> None:
    source = open_source(_keras(form))
    path = tmp_path / f"net.{kind}"
    exported = export(source, kind, path)
    assert max(errors(source, path, exported, batch=3).values()) < 1e-6


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_an_input_that_nothing_uses_keeps_its_place(kind: str, tmp_path: Path) -> None:
    torch = import_torch()

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, unused: Any, x: Any) -> Any:
            return x * 2

    hints = (InputHint((1, 3), "unused"), InputHint((1, 4), "x"))
    source = open_source(Net(), SourceOptions(inputs=hints))
    path = tmp_path / f"net.{kind}"
    exported = export(source, kind, path)
    assert len(exported.inputs) == 2
    assert max(errors(source, path, exported, batch=1).values()) < 1e-6
