from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edgekit.errors import DataRefused, SpecRefused
from edgekit.images import read_image
from edgekit.preprocess import encode_image
from edgekit.spec import Preprocess, Spec, TensorSpec, TextEncoding
from edgekit.tasks import task_for
from edgekit.tasks.classification import Classification, Label, probabilities
from edgekit.tasks.image_classification import ImageClassification

IMAGE = Spec(
    "image-classification",
    inputs=(TensorSpec("image", (None, 8, 8, 3), layout="NHWC"),),
    outputs=(TensorSpec("scores", (None, 3)),),
    preprocess=Preprocess(),
    labels=("ant", "bee", "cat"),
)
TOKENS = ("input_ids", "attention_mask")
TEXT = Spec(
    "text-classification",
    inputs=tuple(TensorSpec(name, (None, 6), "int64") for name in TOKENS),
    outputs=(TensorSpec("logits", (None, 2)),),
    text=TextEncoding("tokenizer.json"),
)


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    logits = np.array([[1.0, 2.0, 3.0]], np.float32)
    shares = np.exp(logits) / np.exp(logits).sum()
    assert probabilities(logits) == pytest.approx(shares, rel=1e-6)
    assert probabilities(shares) == pytest.approx(shares, rel=1e-6)
    assert probabilities(np.array([[0.3]])) == pytest.approx(np.array([[0.7, 0.3]]))


def test_best_classes_come_first() -> None:
    results = task_for(IMAGE).decode({"scores": np.array([[0.2, 0.1, 0.7], [0.5, 0.5, 0.0]], np.float32)})
    first, tied = results
    assert isinstance(first, Classification)
    assert first.best == Label(2, "cat", pytest.approx(0.7))  # type: ignore[arg-type]
    assert [label["name"] for label in tied.to_dict()["labels"]] == ["ant", "bee", "cat"]
    assert str(first) == "cat 70.0 %, ant 20.0 %, bee 10.0 %"


def test_the_number_of_labels_must_be_the_number_of_classes() -> None:
    with pytest.raises(SpecRefused, match=r"2 labels for output 'scores' of shape \[None, 3\]"):
        task_for(IMAGE.replace(labels=("a", "b")))


def test_a_picture_of_floats_is_refused() -> None:
    with pytest.raises(DataRefused, match=r"\(height, width, 3\) uint8, RGB"):
        task_for(IMAGE).encode(np.zeros((8, 8, 3), np.float32))


def test_a_photo_is_decoded_whole_unless_fast_decode_is_asked_for(realpack: Path, tmp_path: Path) -> None:
    photo = min((realpack / "coco").glob("*.jpg"))
    pixels = read_image(photo)
    png = tmp_path / "photo.png"
    Image.fromarray(pixels).save(png)
    task = ImageClassification(IMAGE)
    exact = encode_image(pixels, IMAGE.inputs[0], Preprocess())
    assert np.array_equal(task.encode(photo)["image"], exact)
    task.fast_decode = True
    near = task.encode(photo)["image"]
    assert 0 < np.abs(near - exact).mean() < 1
    assert np.array_equal(task.encode(png)["image"], exact)
    assert np.array_equal(task.encode(pixels)["image"], exact)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_a_gray_picture_fills_all_channels(shape: tuple[int, ...]) -> None:
    values = np.arange(64, dtype=np.uint8)
    image = task_for(IMAGE).encode(values.reshape(shape))["image"]
    assert all(np.array_equal(image[0, ..., channel].ravel(), values) for channel in range(3))


def test_spec_without_tensors_has_no_task() -> None:
    with pytest.raises(SpecRefused, match="no inputs or no outputs"):
        task_for(Spec())


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "film": 4}
    made = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_sentences_are_cut_and_padded(tokenizer: Path) -> None:
    task = task_for(TEXT, tokenizer)
    short, long = task.encode("good film"), task.encode("bad " * 9)
    assert short["input_ids"].tolist() == [[2, 4, 0, 0, 0, 0]]
    assert short["attention_mask"].tolist() == [[1, 1, 0, 0, 0, 0]]
    assert long["input_ids"].tolist() == [[3] * 6]
    assert short["input_ids"].dtype == np.int64


def test_text_without_tokenizer_is_refused() -> None:
    with pytest.raises(SpecRefused, match="--tokenizer"):
        task_for(TEXT.replace(text=None))


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SpecRefused, match=r"tokenizer\.json is not a tokenizer"):
        task_for(TEXT, tmp_path)


TENSORS = Spec(
    inputs=(TensorSpec("a", (None, 2)), TensorSpec("b", (None, 3), "int64")), outputs=(TensorSpec("y", (None, 1)),)
)


def test_arrays_get_a_batch_axis_and_the_inputs_dtype() -> None:
    feeds = task_for(TENSORS).encode({"a": np.zeros(2), "b": np.zeros((1, 3), np.int32)})
    assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
        "a": ((1, 2), "float32"),
        "b": ((1, 3), "int64"),
    }


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"a": np.zeros(2)}, "expected one named 'b'"),
        ({"a": np.zeros(4), "b": np.zeros(3)}, r"input 'a' has shape \[1, 4\]; expected \[None, 2\]"),
        ({"a": np.array(["x", "y"]), "b": np.zeros(3)}, "dtype <U1"),
        (np.zeros(2), r"expected named arrays \['a', 'b'\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(item: object, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        task_for(TENSORS).encode(item)


def test_results_are_summed_up_in_a_line() -> None:
    results = task_for(TENSORS).decode({"y": np.array([[0.25], [0.5]], np.float32)})
    assert str(results[1]) == "y [0.5]"
    assert results[0].to_dict() == {"y": [0.25]}


def test_labels_make_arrays_a_classification() -> None:
    task = task_for(TENSORS.replace(outputs=(TensorSpec("y", (None, 2)),), labels=("yes", "no")))
    assert task.decides == "y"
    result = task.decode({"y": np.array([[0.0, 5.0]], np.float32)})[0]
    assert isinstance(result, Classification)
    assert result.best.name == "no"
