"""Causal language models from Hugging Face folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.data.dataset import Dataset, Item
from edgekit_converters.sources import InputHint, SourceOptions, open_source
from edgekit_converters.sources.causal_lm import geometry_of, is_causal_lm, step_source
from tests.fixtures import tiny_causal_lm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal_lm.save(tmp_path_factory.mktemp("decoder") / "tiny", "llama")


def options(**shapes: tuple[int, ...]) -> SourceOptions:
    return SourceOptions(inputs=tuple(InputHint(shape, name) for name, shape in shapes.items()))


def test_a_folder_becomes_a_step_with_a_cache(folder: Path) -> None:
    with open_source(folder, options(input_ids=(1, 4), past=(1, 32))) as source:
        assert (source.framework, source.name) == ("pytorch", "tiny")
        shapes = {tensor.name: tensor.shape for tensor in (*source.inputs, *source.outputs)}
        assert list(shapes)[:4] == ["input_ids", "position", "past_key_0", "past_value_0"]
        assert shapes["past_value_1"] == (None, 2, 32, 8)
        assert shapes["logits"] == (None, 4, 300)
        assert shapes["present_key_1"] == (None, 2, 4, 8)
        # Two or four heads would be channels of a picture.
        assert not any(tensor.layout for tensor in source.inputs)
        assert source.task_options == {"text-generation": {"end_ids": [0], "start_id": 0}}


def test_what_lies_beyond_the_cache_and_in_the_padding_does_not_matter(folder: Path) -> None:
    random = np.random.default_rng(0)
    with open_source(folder, options(input_ids=(1, 4), past=(1, 16))) as source:
        caches = [tensor.name for tensor in source.inputs[2:]]
        past = {name: random.normal(size=(1, 2, 16, 8)).astype(np.float32) for name in caches}
        feeds = {"input_ids": np.array([[5, 6, 0, 0]]), "position": np.array([[9]]), **past}
        want = source.run(feeds)
        for name in caches:
            feeds[name] = past[name].copy()
            feeds[name][:, :, 9:] = 1e3
        feeds["input_ids"] = np.array([[5, 6, 77, 88]])
        got = source.run(feeds)
    np.testing.assert_allclose(got["logits"][:, :2], want["logits"][:, :2], atol=1e-5)
    assert not np.allclose(got["logits"][:, 2:], want["logits"][:, 2:], atol=1e-3)


def test_it_answers_batches(folder: Path) -> None:
    with open_source(folder, options(input_ids=(1, 2), past=(1, 8))) as source:
        shapes = {tensor.name: (2, *(size or 1 for size in tensor.shape[1:])) for tensor in source.inputs[2:]}
        zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        ids, position = np.array([[3, 4], [5, 6]]), np.zeros((2, 1), np.int64)
        both = source.run({"input_ids": ids, "position": position, **zeros})["logits"]
        first = {name: array[:1] for name, array in zeros.items()}
        alone = source.run({"input_ids": ids[:1], "position": position[:1], **first})["logits"]
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"input_ids": (1, 0)}, "input shape"),
        ({"past_key_0": (1, 2, 8, 8)}, "input shape .* for past_key_0"),
        ({"input_ids": (1, 40), "past": (1, 32)}, "40 tokens a step and a context of 32"),
        ({"past": (1, 64)}, "a context of 64; expected .* <= 48"),
    ],
)
def test_sizes_that_cannot_be_are_refused(folder: Path, shapes: dict[str, tuple[int, ...]], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_source(folder, options(**shapes))


def config(**values: Any) -> Any:
    found = SimpleNamespace(
        model_type="net",
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=64,
        **values,
    )
    found.get_text_config = lambda decoder: found
    return found


def small(kind: str, **values: Any) -> Any:
    made = transformers.AutoConfig.for_model(
        kind, vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=48, pad_token_id=0,
        bos_token_id=0, eos_token_id=0, **values,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return model


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "smollm3"])
def test_shared_keys_and_values_are_not_repeated(kind: str) -> None:
    model = small(kind)
    step_source(model, options(input_ids=(1, 4)), name=kind)
    assert model.config._attn_implementation == "edgekit-grouped"


def test_attention_of_its_own_kind_is_kept() -> None:
    model = small("gemma2", attn_logit_softcapping=0.5, sliding_window=48)
    step_source(model, options(input_ids=(1, 4)), name="gemma2")
    assert model.config._attn_implementation == "eager"


def test_a_model_that_no_step_answers_for_is_refused() -> None:
    model = small("llama")
    model.model.register_forward_pre_hook(
        lambda _, args, kwargs: (
            args,
            {**kwargs, "position_ids": None if kwargs["use_cache"] else torch.zeros(1, 8, dtype=torch.int64)},
        ),
        with_kwargs=True,
    )
    with pytest.raises(ModelRefused, match="llama with a cache answers otherwise than without"):
        step_source(model, options(input_ids=(1, 4)), name="llama")


def test_layers_that_forget_need_a_context_that_they_remember() -> None:
    sliding = config(layer_types=["full_attention", "sliding_attention"], sliding_window=16)
    with pytest.raises(ModelRefused, match="attend to the last 16 tokens only"):
        geometry_of(sliding, options(past=(1, 32)))
    assert geometry_of(sliding, options(past=(1, 16))).slots == 16
    with pytest.raises(ModelRefused, match="layers of linear_attention"):
        geometry_of(config(layer_types=["linear_attention"]), options())
    with pytest.raises(ModelRefused, match="has an encoder"):
        geometry_of(config(is_encoder_decoder=True), options())


def test_damaged_and_foreign_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    torn = Path(shutil.copytree(folder, tmp_path / "torn"))
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelRefused, match="torn cannot be loaded"):
        open_source(torn)
    (torn / "config.json").write_text("{")
    with pytest.raises(ModelRefused, match=r"config\.json \(1 bytes\) cannot be read"):
        open_source(torn)
    (torn / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    assert not is_causal_lm(torn)
    with pytest.raises(ModelRefused, match=r"cannot be read|holds"):
        open_source(torn)


def test_pickled_weights_and_code_in_the_folder_never_run(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    copy = Path(shutil.copytree(folder, tmp_path / "trap"))
    (copy / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, copy / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match="trap cannot be loaded"):
        open_source(copy)
    assert not (tmp_path / "ran").exists()


def test_samples_of_a_text_carry_the_cache_that_the_original_filled(folder: Path) -> None:
    from edgekit.spec import Spec, TextEncoding
    from edgekit.tasks import task_for

    with open_source(folder, options(input_ids=(1, 4), past=(1, 24))) as source:
        spec = Spec(
            "text-generation", inputs=source.inputs, outputs=source.outputs, text=TextEncoding("tokenizer.json")
        )
        task = task_for(spec, folder)
        text = tiny_causal_lm.TEXTS[0]
        data = Dataset(lambda: iter([Item("a text", text)]), 1, "here")
        steps = list(data.encoded(task, source.run))
        with torch.no_grad():
            ids = torch.tensor([steps[0].context.ids])
            past = tiny_causal_lm.model("llama")(ids, use_cache=True).past_key_values
    assert [step.feeds["position"].item() for step in steps] == [0, 4, 8, 12, 16, 20]
    assert [step.windows for step in steps] == [6, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(
        steps[-1].feeds["past_key_1"][0, :, :20], past.layers[1].keys[0, :, :20].numpy(), atol=1e-5
    )
    assert not steps[0].feeds["past_key_1"].any()
