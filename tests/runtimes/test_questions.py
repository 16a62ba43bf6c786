"""Questions and tagged texts on the device: windows through run, predict, the pipeline, bench and serve."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

import edgekit
from edgekit.bundle import Bundle
from edgekit.errors import DataRefused, UsageError
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit_runtimes.inputs.items import items_for
from edgekit_runtimes.inputs.questions import about
from edgekit_runtimes.predictor import load
from tests.conftest import CommandRunner
from tests.runtimes.conftest import make_bundle

TOKENS = 16
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "who", "slept", "?", "rex", "anna", "the", "dog", ".")
TEXT = "the dog . " * 20 + "Rex slept . " + "the dog . " * 20
AT = TEXT.index("Rex")


def write_tokenizer(folder: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def write_lookup(path: Path, tables: dict[str, np.ndarray]) -> Path:
    """An ONNX model of a fixed batch of one that looks each token's logits up: names answer, and nothing else."""
    given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, TOKENS])
    nodes = [helper.make_node("Gather", [f"{name}_table", "input_ids"], [name]) for name in tables]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, TOKENS, *table.shape[1:]])
        for name, table in tables.items()
    ]
    weights = [numpy_helper.from_array(table, f"{name}_table") for name, table in tables.items()]
    graph = helper.make_graph(nodes, "lookup", [given], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def bundle_of(folder: Path, spec: Spec, tables: dict[str, np.ndarray]) -> Bundle:
    model = write_lookup(folder / "lookup.onnx", tables)
    golden = {"input_ids": np.full((1, TOKENS), 7, np.int64)}
    bundle = make_bundle(folder / "made.bundle", spec, {"fp32": model}, golden)
    shutil.copyfile(write_tokenizer(folder), bundle.path / "tokenizer.json")
    _seal(bundle)
    return Bundle(bundle.path)


def _seal(bundle: Bundle) -> None:
    from edgekit.bundle import write_manifest

    write_manifest(bundle.path, bundle.manifest)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Answers with the first name in the text."""
    scores = np.zeros(len(WORDS), np.float32)
    scores[WORDS.index("rex")], scores[WORDS.index("anna")] = 9, 6
    spec = Spec(
        "question-answering",
        inputs=(TensorSpec("input_ids", (None, TOKENS), "int64"),),
        outputs=tuple(TensorSpec(name, (None, TOKENS)) for name in ("start_logits", "end_logits")),
        text=TextEncoding("tokenizer.json", TOKENS),
        options={"stride": 3},
    )
    folder = tmp_path_factory.mktemp("asked")
    return bundle_of(folder, spec, {"start_logits": scores, "end_logits": scores})


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Tags names as persons."""
    scores = np.tile(np.array([4, 0], np.float32), (len(WORDS), 1))
    scores[WORDS.index("rex")] = scores[WORDS.index("anna")] = [0, 4]
    spec = Spec(
        "token-classification",
        inputs=(TensorSpec("input_ids", (None, TOKENS), "int64"),),
        outputs=(TensorSpec("logits", (None, TOKENS, 2)),),
        text=TextEncoding("tokenizer.json", TOKENS),
        labels=("O", "B-PER"),
    )
    return bundle_of(tmp_path_factory.mktemp("tagged"), spec, {"logits": scores})


def test_a_long_text_goes_window_by_window_through_an_artifact_of_batch_one(asked: Bundle) -> None:
    with load(asked.path) as predictor:
        assert predictor.runner.batch == 1
        assert predictor.task.encode(("who slept ?", TEXT))["input_ids"].shape[0] > 8
        answer = predictor.predict({"question": "who slept ?", "context": TEXT})
        assert answer.to_dict()["text"] == "Rex"
        assert answer.to_dict()["start"] == AT
        both = predictor.predict_batch([("who slept ?", TEXT), ("who slept ?", "the dog Anna .")])
        assert [one.to_dict()["text"] for one in both] == ["Rex", "Anna"]


def test_entities_of_a_long_text(tagged: Bundle) -> None:
    with edgekit.load(tagged.path) as predictor:
        (entity,) = predictor.predict(TEXT).to_dict()["entities"]
        assert (entity["label"], entity["text"], entity["start"]) == ("PER", "Rex", AT)


def test_run_answers_questions_about_a_file_and_from_a_file(
    asked: Bundle, tmp_path: Path, edgekit_command: CommandRunner
) -> None:
    text = tmp_path / "report.txt"
    text.write_text(TEXT, encoding="utf-8")
    done = edgekit_command("run", asked.path, "who slept ?", "who ?", "--context", text)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ", 1)[1].strip() for line in done.stdout.splitlines()] == [
        f'"Rex" ({AT}-{AT + 3}) {share:.1f} %' for share in (_share(done.stdout, 0), _share(done.stdout, 1))
    ]
    piped = edgekit_command("run", asked.path, "who slept ?", "--context", "-", "--format", "jsonl", input=TEXT)
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout)["result"]["start"] == AT
    lines = tmp_path / "questions.jsonl"
    rows = [{"question": "who ?", "context": TEXT}] * 9 + [{"question": "who ?"}]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    many = edgekit_command("run", asked.path, lines, "--format", "jsonl", "--batch", 3, "--top-k", 1)
    assert many.returncode == 6
    answers = [json.loads(line) for line in many.stdout.splitlines()]
    assert [answer["result"]["start"] for answer in answers[:9]] == [AT] * 9
    assert [answer["result"]["alternatives"] for answer in answers[:9]] == [[]] * 9
    assert "line 10" in answers[9]["error"]


def _share(table: str, line: int) -> float:
    return float(table.splitlines()[line].split()[-2])


def test_a_question_without_a_text_says_how_to_give_one(asked: Bundle, edgekit_command: CommandRunner) -> None:
    done = edgekit_command("run", asked.path, "who slept ?")
    assert done.returncode == 3
    assert "--context FILE" in done.stderr


def test_context_is_only_for_questions(tagged: Bundle, asked: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--context for task 'token-classification'"):
        list(about(["who ?"], tagged.spec, tmp_path / "a.txt"))
    with pytest.raises(DataRefused, match="--context"):
        list(about(["who ?"], asked.spec, tmp_path / "missing.txt"))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataRefused, match=r"binary\.txt"):
        list(about(["who ?"], asked.spec, tmp_path / "binary.txt"))
    with (tmp_path / "huge.txt").open("wb") as stream:
        stream.truncate(10_000_000)
    with pytest.raises(DataRefused, match="more than 4000000 bytes"):
        list(about(["who ?"], asked.spec, tmp_path / "huge.txt"))


def test_a_file_of_questions_is_one_a_line(asked: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Rex slept .", encoding="utf-8")
    (tmp_path / "asked.txt").write_text("who ?\n\nwho slept ?\n", encoding="utf-8")
    found = list(about([str(tmp_path / "asked.txt")], asked.spec, tmp_path / "text.txt"))
    assert [item.load()["question"] for item in found] == ["who ?", "who slept ?"]
    (missing,) = items_for(asked.spec, ["missing.jsonl"])
    with pytest.raises(DataRefused, match=r"missing\.jsonl cannot be read"):
        missing.load()


def test_bench_measures_a_question_with_its_windows(
    asked: Bundle, tmp_path: Path, edgekit_command: CommandRunner
) -> None:
    lines = tmp_path / "one.jsonl"
    lines.write_text(json.dumps({"question": "who ?", "context": TEXT}) + "\n", encoding="utf-8")
    done = edgekit_command("bench", asked.path, lines, "--seconds", 0, "--runs", 3, "--warmup", 1, "--json", "-")
    assert done.returncode in (0, 4), done.stderr  # 4: the machine was throttled
    assert "encode" in done.stdout


@pytest.fixture
def served(asked: Bundle) -> Iterator[str]:
    from tests.runtimes.serve.servers import serving

    with serving(asked.path) as server:
        yield f"http://127.0.0.1:{server.port}/v1/models/model/predict"


def ask(url: str, body: object) -> dict[str, object]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  a loopback address
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        found: dict[str, object] = json.loads(answer.read())["result"]
    return found


def test_serve_answers_a_question_about_a_long_text(served: str) -> None:
    assert ask(served, {"question": "who slept ?", "context": TEXT})["start"] == AT
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(served, {"question": "who slept ?"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(served, {"question": "who slept ?", "context": "half \ud83d pair"})
