"""Rows as calibration and evaluation data, and a whole conversion of a model on rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.errors import DataRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit.tasks import task_for
from edgekit_converters.data import open_dataset
from edgekit_converters.spec_file import write_spec
from edgekit_converters.synthetic import synthetic_feeds
from edgekit_runtimes.predictor import load
from tests.conftest import CommandRunner

TABLE = TableEncoding((Column("a"), Column("b", "categorical", vocabulary=("x", "y"))), target="t")
SPEC = Spec(
    "tabular-classification", (TensorSpec("row", (None, 3)),), (TensorSpec("p", (None, 1)),), table=TABLE,
    labels=("no", "yes"),
)  # fmt: skip
FACTORY = """
import torch

class Dot(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.user = torch.nn.Embedding(4, 8)
        self.hidden = torch.nn.Linear(8, 16)
        self.scores = torch.nn.Linear(16, 20)

    def forward(self, user):
        return self.scores(torch.relu(self.hidden(self.user(user)[:, 0])))

def build():
    torch.manual_seed(0)
    return Dot()
"""


def test_the_target_column_is_the_truth(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffid;t;a;b\n1;yes;2;x\n2;;3;"y"\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"a": 2, "b": "x", "t": 1}\n{"a": 3, "b": "y"}\n')
    for name, lines in (("a.csv", (2, 3)), ("a.jsonl", (1, 2))):
        data = open_dataset(tmp_path / name, SPEC)
        assert [(item.name, item.label) for item in data] == [
            (f"{name} line {lines[0]}", 1),
            (f"{name} line {lines[1]}", None),
        ]
        assert [sample.feeds["row"].tolist() for sample in data.encoded(task_for(SPEC))] == [[[2, 1, 0]], [[3, 0, 1]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "holds no samples"),
        ("a,c\n1,2\n", "has the columns a, c; expected also b"),
        ("a,b\n1\n", r"line 2 has 1 values; expected 2"),
        ("a,b\n1,x\n2,z\n", r"a\.csv line 3: 'z' in column 'b'; expected one of 'x', 'y'"),
        ("a,b\n,x\n", r"a\.csv line 2: no value in column 'a'"),
        ("a,b,t\n1,x,perhaps\n", r"a\.csv line 2: label 'perhaps'; expected a class number 0\.\.1"),
    ],
)
def test_data_that_cannot_be_used_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataRefused, match=message):
        list(open_dataset(tmp_path / "a.csv", SPEC).encoded(task_for(SPEC)))


def test_made_up_rows_stay_within_the_vocabulary() -> None:
    column = Column("user", "categorical", vocabulary=("p", "q", "r"), encoding="index")
    spec = Spec("ranking", (TensorSpec("user", (None, 1), "int32"),), table=TableEncoding((column,)))
    numbers = [int(feeds["user"][0, 0]) for feeds in synthetic_feeds(spec, 40)]
    assert set(numbers) == {0, 1, 2}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, edgekit_command: CommandRunner) -> Path:
    """A small PyTorch recommender with random weights, whose spec names a file in a folder below it."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "net.py").write_text(FACTORY)
    items = tuple(f"item {number}" for number in range(20))
    user = Column("user", "categorical", vocabulary=("u0", "u1", "u2", "u3"), encoding="index")
    options = {"seen_file": "more/seen.json", "top_n": 5}
    inputs = (TensorSpec("user", (None, 1), "int32"),)
    write_spec(
        folder / "net.toml", Spec("ranking", inputs, table=TableEncoding((user,)), options=options, labels=items)
    )
    (folder / "more").mkdir()
    (folder / "more" / "seen.json").write_text(json.dumps({"u0": list(items[:18]), "u1": list(items)}))
    done = edgekit_command(
        "convert", folder / "net.py:build", "--spec", folder / "net.toml", "--to", "onnx", "-o", folder / "net.bundle"
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_files_that_options_name_travel_in_the_bundle(converted: Path) -> None:
    bundle = Bundle(converted / "net.bundle")
    assert bundle.spec.options["seen_file"] == "seen.json"
    assert bundle.file("seen.json").read_bytes() == (converted / "more" / "seen.json").read_bytes()
    with load(bundle.path) as predictor:
        few, none, all_of = predictor.predict_batch(["u0", "u1", "u2"])
    assert sorted(item["name"] for item in few.to_dict()["items"]) == ["item 18", "item 19"]
    assert none.to_dict() == {"items": []}
    assert len(all_of.to_dict()["items"]) == 5


def test_a_changed_file_is_refused_before_it_is_used(converted: Path, tmp_path: Path) -> None:
    import shutil

    from edgekit.errors import BundleRefused

    shutil.copytree(converted / "net.bundle", tmp_path / "net.bundle")
    (tmp_path / "net.bundle" / "seen.json").write_text("{}")
    with pytest.raises(BundleRefused, match=r"seen\.json is damaged"):
        load(tmp_path / "net.bundle")


def test_an_unknown_user_fails_alone(converted: Path, edgekit_command: CommandRunner) -> None:
    done = edgekit_command("run", converted / "net.bundle", "u0", "user=nobody", "u1")
    assert done.returncode == 6
    assert "'nobody' in column 'user'" in done.stderr
    assert "nothing that was not seen" in done.stdout
    assert "item 1" in done.stdout


def test_a_file_that_is_not_there_is_refused(converted: Path, edgekit_command: CommandRunner) -> None:
    text = (converted / "net.toml").read_text().replace("more/seen.json", "more/none.json")
    (converted / "none.toml").write_text(text)
    done = edgekit_command(
        "convert", converted / "net.py:build", "--spec", converted / "none.toml", "-o", converted / "none.bundle"
    )
    assert done.returncode == 3
    assert "options.seen_file = 'more/none.json': no such file" in done.stderr
    assert not (converted / "none.bundle").exists()


def test_golden_inputs_are_the_encoded_rows(converted: Path) -> None:
    inputs, _ = Bundle(converted / "net.bundle").golden()
    assert inputs["user"].dtype == np.int32
    assert set(inputs["user"].ravel().tolist()) <= {0, 1, 2, 3}
