"""Fault 10: pickles that carry code."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source

# The module's class must be importable where it is unpickled, and here it must not be imported.
CODE = """
    import os, pathlib, sys
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.score = torch.nn.Linear(3, 2)

        def forward(self, rows, scale=None):
            return {"score": self.score(rows), "none": None}

    class Settings:
        rate = 0.1

    class Attack:
        def __reduce__(self):
            return os.mkdir, ("the-code-ran",)

    if __name__ == "__main__":
        sys.modules["pickled_net"] = sys.modules["__main__"]
        for kind in (Net, Settings, Attack):
            kind.__module__ = "pickled_net"
        torch.manual_seed(0)
        net = Net()
        torch.save(net, "module.pt")
        torch.save(net, "old.pth", _use_new_zipfile_serialization=False)
        torch.save({"state_dict": net.state_dict(), "settings": Settings()}, "checkpoint.ckpt")
        torch.save({"state_dict": net.state_dict(), "x": Attack()}, "attack.pt")
        torch.save(Attack(), "attack_old.pth", _use_new_zipfile_serialization=False)
        torch.save([1, Settings()], "list.pt")
        torch.save(net.score(torch.ones(1, 3)).detach(), "answer.pt")
"""
SHAPE = (InputHint((1, 3)),)
TRUSTED = SourceOptions(inputs=SHAPE, trust_pickle=True)


@pytest.fixture(scope="module")
def pickles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pickles")
    (folder / "pickled_net.py").write_text(textwrap.dedent(CODE))
    subprocess.run([sys.executable, "pickled_net.py"], cwd=folder, check=True)
    return folder


@pytest.fixture
def here(pickles: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(pickles)
    return pickles


@pytest.mark.parametrize("name", ["module.pt", "old.pth", "attack.pt", "attack_old.pth"])
def test_a_pickle_is_refused_and_its_code_never_runs(here: Path, name: str) -> None:
    with pytest.raises(ModelRefused, match=rf"{name} is a pickle that runs code") as caught:
        open_source(here / name, SourceOptions(inputs=SHAPE))
    assert caught.value.exit_code == 3
    assert "--trust-pickle" in str(caught.value.remedy)
    assert not (here / "the-code-ran").exists()
    assert "pickled_net" not in sys.modules


def test_an_attack_in_weights_is_refused(torch: Any, here: Path) -> None:
    with pytest.raises(ModelRefused, match="is a pickle that runs code"):
        open_source(torch.nn.Linear(3, 2), SourceOptions(weights=here / "attack.pt", inputs=SHAPE))
    assert not (here / "the-code-ran").exists()


def test_a_trusted_module_is_opened_in_a_child(torch: Any, here: Path) -> None:
    with open_source(here / "module.pt", TRUSTED) as source:
        assert [(item.name, item.shape) for item in source.inputs] == [("rows", (None, 3))]
        assert [(item.name, item.shape) for item in source.outputs] == [("score", (None, 2))]
        assert (source.parameters, source.name, source.path) == (8, "module", here / "module.pt")
        assert any("its code ran in a child process" in note for note in source.notes)
        answer = source.run({"rows": np.ones((4, 3), np.float32)})["score"]
    expected = torch.load(here / "answer.pt", weights_only=True).numpy()
    np.testing.assert_allclose(answer, np.repeat(expected, 4, axis=0), rtol=1e-6)
    assert "pickled_net" not in sys.modules


def test_a_trusted_checkpoint_gives_its_weights(torch: Any, here: Path) -> None:
    model = torch.nn.Sequential()
    model.score = torch.nn.Linear(3, 2)
    with open_source(model, SourceOptions(weights=here / "checkpoint.ckpt", inputs=SHAPE, trust_pickle=True)) as source:
        answer = source.run({"input": np.ones((1, 3), np.float32)})["output"]
        assert any("'state_dict'" in note for note in source.notes)
    np.testing.assert_allclose(answer, torch.load(here / "answer.pt", weights_only=True), rtol=1e-6)


def test_a_trusted_module_still_needs_its_shapes(here: Path) -> None:
    with pytest.raises(UsageError, match="does not say the shapes of its inputs: rows") as caught:
        open_source(here / "module.pt", SourceOptions(trust_pickle=True))
    assert "--input-shape" in str(caught.value.remedy)


def test_a_trusted_pickle_of_something_else_is_refused(here: Path) -> None:
    with pytest.raises(ModelRefused, match="holds a list, not a module"):
        open_source(here / "list.pt", TRUSTED)


def test_a_class_that_cannot_be_imported_is_explained(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelRefused, match="cannot be unpickled: ModuleNotFoundError") as caught:
        open_source(here / "module.pt", TRUSTED)
    assert "folder that holds the model's code" in str(caught.value.remedy)
    assert os.listdir(tmp_path) == []


class _Call:
    """A pickle that calls a function when it is opened."""

    def __init__(self, function: Callable[..., Any], argument: object) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(("function", "argument"), [(os.system, "true"), (eval, "1")], ids=["blocked", "not allowed"])
def test_the_function_that_a_pickle_names_is_told(
    torch: Any, tmp_path: Path, function: Callable[..., Any], argument: str
) -> None:
    torch.save(_Call(function, argument), tmp_path / "net.pt")
    with pytest.raises(ModelRefused, match=rf"was not opened \(.*GLOBAL (posix\.)?{function.__name__} "):
        open_source(tmp_path / "net.pt")


def test_a_child_that_dies_is_told(torch: Any, tmp_path: Path) -> None:
    torch.save(_Call(os._exit, 7), tmp_path / "net.pt")
    with pytest.raises(ModelRefused, match=r"net\.pt: the child process that opened it ended with status 7"):
        open_source(tmp_path / "net.pt", TRUSTED)
