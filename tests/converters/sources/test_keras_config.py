from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import ModelRefused
from edgekit_converters.sources._keras_config import refuse_code, repair


class Layer:
    def __init__(self, *, name: str | None = None, dtype: str | None = None, **kwargs: Any) -> None: ...


class DepthwiseConv2D(Layer):
    def __init__(self, kernel_size: int, strides: int = 1, **kwargs: Any) -> None: ...


class Conv2D(Layer):
    def __init__(
        self, filters: int, kernel_size: int, padding: str = "valid", data_format: str = "", **kwargs: Any
    ) -> None: ...


class GRU(Layer):
    def __init__(self, units: int, reset_after: bool = True, **kwargs: Any) -> None: ...


KNOWN: dict[str, type] = {"Conv2D": Conv2D, "DepthwiseConv2D": DepthwiseConv2D, "GRU": GRU}


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (layer("Sequential", name="s", layers=[layer("Lambda", name="double")]), "s/double"),
        (
            layer("Functional", name="f", layers=[layer("TimeDistributed", name="t", layer=layer("Lambda", name="x"))]),
            "f/t/x",
        ),
        (
            layer(
                "Sequential", name="s", layers=[layer("Dense", name="d", activation=layer("__lambda__", value="4w"))]
            ),
            "s/d",
        ),
        (
            layer("Model", name="m", layers=[layer("Functional", name="in", layers=[layer("Lambda", name="y")])]),
            "m/in/y",
        ),
    ],
)
def test_a_lambda_is_refused_wherever_it_is(config: dict[str, Any], where: str) -> None:
    with pytest.raises(ModelRefused, match=rf"m\.h5: layer '{where}' is a Keras Lambda"):
        refuse_code(config, "m.h5")


@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper"])
def test_layers_that_open_other_files_are_refused(kind: str) -> None:
    with pytest.raises(ModelRefused, match=kind):
        refuse_code(layer("Sequential", name="s", layers=[layer(kind, name="w")]), "m.keras")


def test_a_plain_model_is_accepted() -> None:
    refuse_code(layer("Sequential", name="s", layers=[layer("Dense", name="lambda")]), "m.keras")


def test_a_neutral_argument_is_left_out_and_said() -> None:
    config = layer("DepthwiseConv2D", name="d", kernel_size=3, groups=1)
    assert repair(config, KNOWN.get) == ("groups=1 left out, unknown to Keras 3 and without effect (d)",)
    assert config["config"] == {"name": "d", "kernel_size": 3}


def test_an_argument_with_an_effect_stays_for_keras_to_refuse() -> None:
    config = layer("DepthwiseConv2D", name="d", kernel_size=3, groups=2)
    assert repair(config, KNOWN.get) == ()
    assert config["config"]["groups"] == 2


def test_an_argument_that_the_layer_knows_stays() -> None:
    config = layer("DepthwiseConv2D", name="d", strides=1, dtype="float32")
    assert repair(config, KNOWN.get) == ()
    assert config["config"] == {"name": "d", "strides": 1, "dtype": "float32"}


def test_names_of_keras_1_are_read() -> None:
    config = layer(
        "Convolution2D", name="c", nb_filter=4, nb_row=3, nb_col=5, border_mode="same", dim_ordering="tf", init="he"
    )
    notes = repair(config, KNOWN.get)
    assert config == layer(
        "Conv2D", name="c", filters=4, kernel_size=[3, 5], padding="same", data_format="channels_last"
    )
    assert any("Convolution2D read as Conv2D" in note for note in notes)
    assert any("nb_filter read as filters" in note for note in notes)


def test_the_other_dimension_order_is_not_guessed() -> None:
    config = layer("Conv2D", name="c", filters=1, kernel_size=1, dim_ordering="th")
    repair(config, KNOWN.get)
    assert config["config"]["dim_ordering"] == "th"


def test_a_gru_without_reset_after_keeps_the_old_default() -> None:
    config = layer("GRU", name="g", units=2)
    assert repair(config, KNOWN.get) == ("reset_after=False, the default when the file was written (g)",)
    assert config["config"]["reset_after"] is False


def test_a_sequential_without_input_layer_gets_one() -> None:
    config: dict[str, Any] = {
        "class_name": "Sequential",
        "config": [layer("Conv2D", name="c", filters=1, kernel_size=1, batch_input_shape=[None, 8, 8, 3])],
    }
    notes = repair(config, KNOWN.get)
    layers = config["config"]["layers"]
    assert [item["class_name"] for item in layers] == ["InputLayer", "Conv2D"]
    assert layers[0]["config"]["batch_shape"] == [None, 8, 8, 3]
    assert "batch_input_shape" not in layers[1]["config"]
    assert any("bare list" in note for note in notes)


def test_many_layers_are_counted_in_one_note() -> None:
    layers = [layer("DepthwiseConv2D", name=f"d{place}", kernel_size=3, groups=1) for place in range(5)]
    (note,) = repair(layer("Functional", name="f", layers=layers), KNOWN.get)
    assert note.endswith("(d0, d1, d2 and 2 more)")
