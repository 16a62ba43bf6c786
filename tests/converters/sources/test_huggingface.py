"""Folders of Hugging Face: what they say, what they answer, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from edgekit.engine import Array
from edgekit.errors import ModelRefused, UsageError
from edgekit.spec import Preprocess, Spec, TextEncoding
from edgekit_converters.sources import InputHint, SourceOptions, is_hub_model, open_source
from edgekit_converters.sources._hf_pictures import Unknown, preprocess_of
from edgekit_converters.specs import complete_spec, merged, written_spec
from tests.fixtures import hub

TEXTS = ["the quick brown fox", "an answer, doesn't it? " * 20]


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "bad", 1: "so-so", 2: "good"}
    return hub.bert(tmp_path_factory.mktemp("hub") / "sentiment", num_labels=3, id2label=names)


@pytest.fixture
def copied(sentiment: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to spoil."""
    return Path(shutil.copytree(sentiment, tmp_path / "copied"))


def change(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def tokens(folder: Path, length: int) -> dict[str, Array]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="np")
    return {name: array.astype(np.int64) for name, array in made.items()}


def test_a_folder_says_task_labels_tokenizer_and_length(sentiment: Path) -> None:
    with open_source(sentiment) as source:
        assert source.name == "sentiment"
        text = TextEncoding("tokenizer.json", 48)
        assert source.offered == Spec("text-classification", text=text, labels=("bad", "so-so", "good"))
        assert [tensor.name for tensor in source.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
        assert {tensor.shape for tensor in source.inputs} == {(None, 48)}
        assert [tensor.name for tensor in source.outputs] == ["logits"]
        assert source.path == sentiment / "model.safetensors"
        assert any("cut after 48 tokens" in note for note in source.notes)


@pytest.mark.parametrize(
    ("make", "task", "inputs", "outputs"),
    [
        (hub.distilbert, "question-answering", ["input_ids", "attention_mask"], ["start_logits", "end_logits"]),
        (hub.roberta, "token-classification", ["input_ids", "attention_mask"], ["logits"]),
    ],
    ids=["distilbert", "roberta"],
)
def test_inputs_outputs_and_answers_are_the_models_own(
    make: Callable[[Path], Path], task: str, inputs: list[str], outputs: list[str], tmp_path: Path
) -> None:
    folder = make(tmp_path / "model")
    feeds = {name: array for name, array in tokens(folder, 48).items() if name in inputs}
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    with open_source(folder) as source:
        assert source.offered is not None
        assert source.offered.task == task
        assert [tensor.name for tensor in source.inputs] == inputs
        found = source.run(feeds)
    assert list(found) == outputs
    for name, array in found.items():
        assert np.allclose(array, expected[name].numpy(), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_sentence_model_gives_its_pooled_vector(pooling: str, tmp_path: Path) -> None:
    folder = hub.sentence_model(tmp_path / "model", pooling=pooling)
    feeds = tokens(folder, 24)
    with open_source(folder) as source:
        assert source.offered == Spec(
            "text-embedding", text=TextEncoding("tokenizer.json", 24), options={"normalize": True}
        )
        (found,) = source.run(feeds).values()
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        states = model(**{name: torch.from_numpy(array) for name, array in feeds.items()}).last_hidden_state.numpy()
    # Sentence-BERT (Reimers and Gurevych 2019): the mean over the tokens that are no padding.
    real = feeds["attention_mask"].astype(bool)
    by_hand = [own[mask].mean(axis=0) if pooling == "mean" else own[0] for own, mask in zip(states, real, strict=True)]
    assert np.allclose(found, by_hand, atol=1e-5)


def test_a_bare_encoder_gives_its_states(tmp_path: Path) -> None:
    with open_source(hub.bert(tmp_path / "model", "BertModel")) as source:
        assert source.offered is not None
        assert source.offered.task == "tensors"
        assert [(one.name, one.shape) for one in source.outputs] == [("last_hidden_state", (None, 48, 32))]


def test_the_user_sets_the_length(sentiment: Path) -> None:
    for options in (SourceOptions(max_length=16), SourceOptions(inputs=(InputHint((1, 16), "input_ids", "int64"),))):
        with open_source(sentiment, options) as source:
            assert {tensor.shape for tensor in source.inputs} == {(None, 16)}
            assert source.offered is not None
            assert source.offered.text == TextEncoding("tokenizer.json", 16)
    both = SourceOptions(max_length=16, inputs=(InputHint((1, 32), "input_ids"),))
    with pytest.raises(UsageError, match=r"lengths \[16, 32\]"):
        open_source(sentiment, both)
    with pytest.raises(UsageError, match="--max-length 49; expected 3 to 48"):
        open_source(sentiment, SourceOptions(max_length=49))


def test_roberta_has_no_position_for_its_first_two(tmp_path: Path) -> None:
    folder = hub.roberta(tmp_path / "model")
    raw = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del raw["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UsageError, match="--max-length 49; expected 3 to 48"):
        open_source(folder, SourceOptions(max_length=49))


def test_a_length_is_for_hub_models_only(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"--max-length 8 for model\.onnx"):
        open_source(tmp_path / "model.onnx", SourceOptions(max_length=8))
    with pytest.raises(UsageError, match="--max-length 8 for file:factory"):
        open_source("file:factory", SourceOptions(max_length=8))


def test_a_vit_says_its_preprocessing(tmp_path: Path) -> None:
    folder = hub.vit(tmp_path / "model", image_mean=[0.4, 0.5, 0.6])
    with open_source(folder) as source:
        assert source.offered is not None
        assert source.offered.task == "image-classification"
        assert source.offered.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
        how = Preprocess("stretch", (32, 32), scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.5, 0.5, 0.5))
        assert source.offered.preprocess == how
        assert (source.inputs[0].shape, source.inputs[0].layout) == ((None, 3, 32, 32), "NCHW")


def test_what_preprocessing_cannot_say_is_told(tmp_path: Path) -> None:
    with open_source(hub.vit(tmp_path / "model", resample=5)) as source:  # Hamming
        assert source.offered is not None
        assert (source.offered.task, source.offered.preprocess) == ("tensors", None)
        assert any("resample = 5" in note and "--spec" in note for note in source.notes)


def test_processors_become_preprocessing() -> None:
    usual = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "resample": 3}
    convnext = {**usual, "size": {"shortest_edge": 224}, "crop_pct": 0.875}
    assert preprocess_of(convnext) == (
        Preprocess("short-side", (256, 256), "bicubic", crop=True, crop_floor=True, scale=1 / 255),
        (224, 224),
    )
    large = {**usual, "size": {"shortest_edge": 384}, "crop_pct": 0.875}
    assert preprocess_of(large) == (Preprocess("stretch", (384, 384), "bicubic", scale=1 / 255), (384, 384))
    free = {**usual, "size": {"shortest_edge": 224}}
    assert preprocess_of(free)[1] is None
    with pytest.raises(Unknown, match="do_pad = True"):
        preprocess_of({**usual, "size": {"shortest_edge": 224}, "do_pad": True})
    with pytest.raises(Unknown, match="longest_edge"):
        preprocess_of({**usual, "size": {"longest_edge": 224}})


def test_the_users_words_go_first() -> None:
    offered = Spec(
        "text-embedding", text=TextEncoding("tokenizer.json", 64), options={"normalize": True}, labels=("a",)
    )
    assert merged(None, offered) == offered
    assert merged(None, None) == Spec()
    assert merged(Spec("tensors"), offered).task == "tensors"
    said = Spec("text-embedding", text=TextEncoding("mine.json", 32), options={"normalize": False})
    joined = merged(said, offered)
    assert joined.text == TextEncoding("tokenizer.json", 32)
    assert joined.options == {"normalize": False}
    assert joined.labels == ("a",)
    assert merged(Spec("text-classification"), offered).options == {}  # options of another task


def test_the_tokenizer_goes_into_the_bundle(sentiment: Path, tmp_path: Path) -> None:
    with open_source(sentiment) as source:
        spec = written_spec(None, source, ("x", "y", "z"), None, tmp_path)
        assert (tmp_path / "tokenizer.json").read_bytes() == source.files["tokenizer.json"]
        assert spec.labels == ("x", "y", "z")
        assert complete_spec(Spec("tensors"), source, None).task == "tensors"


def test_several_labels_at_once_are_no_choice(tmp_path: Path) -> None:
    folder = hub.bert(tmp_path / "model", num_labels=3, problem_type="multi_label_classification")
    with open_source(folder) as source:
        assert source.offered == Spec("tensors")
        assert any("multi_label_classification" in note for note in source.notes)


def test_what_is_a_hub_model(sentiment: Path, tmp_path: Path) -> None:
    assert is_hub_model(sentiment)
    assert is_hub_model("hf:owner/name")
    assert not is_hub_model(tmp_path)
    (tmp_path / "config.json").touch()
    (tmp_path / "saved_model.pb").touch()
    assert not is_hub_model(tmp_path)


def test_pickled_weights_are_refused_unread(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelRefused, match=r"has pytorch_model\.bin, no model\.safetensors") as refused:
        open_source(copied)
    assert "save_pretrained" in str(refused.value.remedy)


def test_missing_files_are_named(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "away")
    with pytest.raises(ModelRefused, match="has no weights"):
        open_source(copied)
    (copied / "away").rename(copied / "model.safetensors")
    for name in ("tokenizer.json", "vocab.txt"):
        (copied / name).unlink(missing_ok=True)
    with pytest.raises(ModelRefused, match="copied has no tokenizer"):
        open_source(copied)
    (copied / "config.json").unlink()
    with pytest.raises(ModelRefused, match=r"copied has no config\.json"):
        open_source(copied)


def test_missing_preprocessing_is_named(tmp_path: Path) -> None:
    folder = hub.vit(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelRefused, match=r"model has no preprocessor_config\.json"):
        open_source(folder)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_cut_weights_are_refused(copied: Path, kept: int) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelRefused, match=rf"model\.safetensors \({path.stat().st_size:,} bytes\) cannot be read"):
        open_source(copied)


def test_shards_outside_of_the_folder_are_not_opened(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other/model.safetensors"}}), encoding="utf-8")
    with pytest.raises(ModelRefused, match="lists no files of its own folder"):
        open_source(copied)
    index.write_text(json.dumps({"weight_map": {"a": "model-1-of-2.safetensors"}}), encoding="utf-8")
    with pytest.raises(ModelRefused, match=r"has no model-1-of-2\.safetensors"):
        open_source(copied)


def test_an_untrained_head_is_refused(copied: Path) -> None:
    state = load_file(copied / "model.safetensors")
    del state["classifier.weight"]
    save_file(state, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelRefused, match=r"lacks 1 weights: classifier\.weight"):
        open_source(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "martian"}, "model_type 'martian' is not known to transformers"),
        ({"model_type": "martian", "auto_map": {"AutoModel": "code.Model"}}, "Python code, which is never run"),
        ({"architectures": ["BertForNextSentencePrediction"]}, "architecture 'BertForNextSentencePrediction'"),
        ({"id2label": {"0": "a", "1": "b"}}, "cannot load it"),
        ({"id2label": {"0": "a", "1": "b", "5": "c"}}, r"names the classes \[0, 1, 5\], the model gives 3 scores"),
        ({"hidden_size": 64}, "cannot load it"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(copied: Path, changes: dict[str, Any], message: str) -> None:
    change(copied, **changes)
    (copied / "code.py").write_text("raise SystemExit('the code ran')\n", encoding="utf-8")
    with pytest.raises(ModelRefused, match=message) as refused:
        open_source(copied)
    assert refused.value.remedy


def test_a_configuration_that_is_no_json_is_refused(copied: Path) -> None:
    (copied / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelRefused, match=r"config\.json \(1 bytes\) cannot be read"):
        open_source(copied)
    (copied / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelRefused, match="holds a list"):
        open_source(copied)


def test_sentence_models_of_other_modules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="pooling_mode_max_tokens; expected mean or cls pooling"):
        open_source(hub.sentence_model(tmp_path / "model", pooling="max"))
    listing = tmp_path / "model" / "modules.json"
    modules = json.loads(listing.read_text(encoding="utf-8"))
    for replaced, message in (
        ({"type": "sentence_transformers.models.Dense"}, "Transformer, Dense, Normalize"),
        ({"path": "../1_Pooling"}, "leads out of the folder"),
    ):
        spoilt = [modules[0], {**modules[1], **replaced}, modules[2]]
        listing.write_text(json.dumps(spoilt), encoding="utf-8")
        with pytest.raises(ModelRefused, match=message):
            open_source(tmp_path / "model")
