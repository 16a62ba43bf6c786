"""Bodies of the predict endpoint, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edgekit.errors import DataRefused
from edgekit.spec import Preprocess, Spec, TensorSpec, TextEncoding
from edgekit.tasks import Task, task_for
from edgekit_runtimes.serve.answers import Refusal
from edgekit_runtimes.serve.images import encode_body

PICTURE = Spec(
    task="image-classification",
    inputs=(TensorSpec("image", (None, 8, 8, 3), layout="NHWC"),),
    outputs=(TensorSpec("scores", (None, 2)),),
    preprocess=Preprocess(),
)
FORM = "multipart/form-data; boundary=xyz"


@pytest.fixture
def pictures() -> Task:
    return task_for(PICTURE)


@pytest.fixture
def sentences(tmp_path: Path) -> Task:
    made = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}, unk_token="[UNK]"))  # a word
    made.pre_tokenizer = Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    spec = Spec(
        task="text-classification",
        inputs=(TensorSpec("input_ids", (None, 4), "int64"),),
        outputs=(TensorSpec("logits", (None, 2)),),
        text=TextEncoding("tokenizer.json"),
    )
    return task_for(spec, tmp_path)


def form(*parts: bytes, end: bytes = b"--xyz--\r\n") -> bytes:
    head = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
    return b"".join(head + part + b"\r\n" for part in parts) + end


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "", "application/x-www-form-urlencoded"])
def test_a_picture_is_what_its_bytes_say(pictures: Task, photos: Sequence[Path], kind: str) -> None:
    feeds = encode_body(pictures, photos[0].read_bytes(), kind, 10**8)
    np.testing.assert_array_equal(feeds["image"], pictures.encode(photos[0])["image"])


def test_a_picture_in_a_form(pictures: Task, photos: Sequence[Path]) -> None:
    feeds = encode_body(pictures, form(photos[0].read_bytes()), FORM, 10**8)
    np.testing.assert_array_equal(feeds["image"], pictures.encode(photos[0])["image"])


@pytest.mark.parametrize(
    ("body", "kind", "cause"),
    [
        (b"", "image/jpeg", "not a JPEG"),
        (b"just text", "image/jpeg", "not a JPEG"),
        (form(), FORM, "a form with 0 parts|damaged form"),
        (form(b"a", b"b"), FORM, "a form with 2 parts"),
        (form(b"a", end=b""), FORM, "a form with 1 parts"),
        (b"no form at all", FORM, "damaged form"),
        (form(b"a"), "multipart/form-data", "without a boundary"),
    ],
)
def test_other_bodies_are_refused(pictures: Task, body: bytes, kind: str, cause: str) -> None:
    with pytest.raises(DataRefused, match=cause):
        encode_body(pictures, body, kind, 10**8)


def test_a_picture_of_too_many_pixels_is_refused(pictures: Task, photos: Sequence[Path]) -> None:
    with pytest.raises(DataRefused, match="would decode to"):
        encode_body(pictures, photos[0].read_bytes(), "image/jpeg", 1000)


def test_a_sentence_and_a_pair(sentences: Task) -> None:
    def ids(body: bytes) -> list[int]:
        found: list[int] = encode_body(sentences, body, "application/json; charset=utf-8", 1)["input_ids"][0].tolist()
        return found

    assert ids(b'{"text": "good bad"}') == [2, 3, 0, 0]
    assert ids(b'{"text": "good", "text_pair": "bad"}') == [2, 3, 0, 0]


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"text": 5}', b'{"text": "a", "txt": "b"}', b'{"text": "a"', b"\xff"])
def test_other_json_is_refused(sentences: Task, body: bytes) -> None:
    with pytest.raises(DataRefused, match="JSON"):
        encode_body(sentences, body, "application/json", 1)


def test_the_wrong_kind_of_body_is_named(pictures: Task, sentences: Task) -> None:
    for task, kind in ((pictures, "application/json"), (sentences, "text/plain")):
        with pytest.raises(Refusal, match=kind) as refused:
            encode_body(task, b"{}", kind, 1)
        assert refused.value.status == 415
