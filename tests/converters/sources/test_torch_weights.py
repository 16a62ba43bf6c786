from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source

SHAPE = (InputHint((1, 3)),)


@pytest.fixture
def net(torch: Any) -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).eval()


@pytest.fixture
def fresh(torch: Any) -> Any:
    """The same architecture with other weights."""
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).eval()


def opened(fresh: Any, path: Path) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    with open_source(fresh, SourceOptions(weights=path, inputs=SHAPE)) as source:
        assert source.path == path
        assert source.size_bytes == path.stat().st_size
        return source.run({"input": np.ones((2, 3), np.float32)})["output"], source.notes


@pytest.mark.parametrize(
    ("wrap", "note"),
    [
        (lambda state: state, None),
        (lambda state: {"state_dict": state, "epoch": 3}, "weights taken from 'state_dict'"),
        (lambda state: {"model": state}, "weights taken from 'model'"),
        (lambda state: {f"module.{name}": item for name, item in state.items()}, "'module.' taken off"),
        (lambda state: {f"_orig_mod.module.{name}": item for name, item in state.items()}, "'_orig_mod.' taken off"),
        (lambda state: {**state, "step": 7}, "no tensors: step"),
        (lambda state: {name: item for name, item in state.items() if "num_batches" not in name}, None),
    ],
)
def test_state_dicts_in_their_usual_wrappers_load(
    net: Any, fresh: Any, tmp_path: Path, wrap: Callable[[Mapping[str, Any]], Any], note: str | None
) -> None:
    import torch

    expected = net(torch.ones(2, 3)).detach()
    for legacy in (False, True):
        path = tmp_path / f"{legacy}.ckpt"
        torch.save(wrap(net.state_dict()), path, _use_new_zipfile_serialization=not legacy)
        answer, notes = opened(fresh, path)
        np.testing.assert_allclose(answer, expected, rtol=1e-6)
        assert any(note in line for line in notes) if note else notes == ()


def test_safetensors_load(torch: Any, net: Any, fresh: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(net.state_dict(), tmp_path / "net.safetensors")
    answer, _ = opened(fresh, tmp_path / "net.safetensors")
    np.testing.assert_allclose(answer, net(torch.ones(2, 3)).detach(), rtol=1e-6)


def test_a_tied_weight_may_be_stored_once(torch: Any, tmp_path: Path) -> None:
    class Tied(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(3, 3, bias=False)
            self.second = torch.nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    torch.save({"first.weight": torch.full((3, 3), 2.0)}, tmp_path / "tied.pth")
    with open_source(Tied(), SourceOptions(weights=tmp_path / "tied.pth", inputs=SHAPE)) as source:
        np.testing.assert_array_equal(source.run({"x": np.ones((1, 3), np.float32)})["output"], [[36, 36, 36]])


def test_weights_that_do_not_fit_are_listed_and_nothing_is_loaded(
    torch: Any, net: Any, fresh: Any, tmp_path: Path
) -> None:
    state = net.state_dict()
    del state["0.bias"]
    state["extra"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(5, 4)
    torch.save(state, tmp_path / "net.pth")
    before = fresh[0].weight.clone()
    with pytest.raises(ModelRefused) as caught:
        opened(fresh, tmp_path / "net.pth")
    text = str(caught.value)
    assert "1 missing: 0.bias" in text
    assert "1 unexpected: extra" in text
    assert "1 of another shape: 2.weight [5, 4] for [2, 4]" in text
    assert torch.equal(fresh[0].weight, before)


def test_a_damaged_file_is_refused(
    torch: Any, net: Any, fresh: Any, tmp_path: Path, cut_short: Callable[[Path], str]
) -> None:
    from safetensors.torch import save_file

    save_file(net.state_dict(), tmp_path / "net.safetensors")
    torch.save(net.state_dict(), tmp_path / "net.pt")
    # Large enough for its middle to lie in the numbers: in the middle of a class's name, it would name another.
    large = {"weight": torch.zeros(4096)}
    torch.save(large, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.iterdir()):
        pattern = cut_short(path)
        with pytest.raises(ModelRefused, match=pattern):
            opened(fresh, path)


def test_weights_without_a_model_say_what_is_missing(torch: Any, net: Any, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelRefused, match=r"net\.pth holds weights but no model") as caught:
        open_source(tmp_path / "net.pth")
    assert "--weights net.pth" in str(caught.value.remedy)


def test_a_missing_weights_file_is_a_usage_error(fresh: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        opened(fresh, tmp_path / "none.pth")


def test_a_file_without_tensors_is_refused(torch: Any, fresh: Any, tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "net.pth")
    with pytest.raises(ModelRefused, match="holds no tensors by name"):
        opened(fresh, tmp_path / "net.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_explained(torch: Any, net: Any, tmp_path: Path) -> None:
    torch.jit.trace(net, torch.ones(1, 3)).save(tmp_path / "net.pt")
    with pytest.raises(ModelRefused, match=r"net\.pt is a TorchScript archive") as caught:
        open_source(tmp_path / "net.pt", SourceOptions(inputs=SHAPE, trust_pickle=True))
    assert "torch.export.save" in str(caught.value.remedy)


def test_what_is_no_pickle_is_damaged_and_no_matter_of_trust(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"\xfd\xfe\xff" * 100)
    with pytest.raises(ModelRefused, match=r"net\.pth \(300 bytes\) cannot be read") as caught:
        open_source(tmp_path / "net.pth")
    assert "trust" not in str(caught.value)


def test_a_newer_pickle_protocol_is_a_matter_of_trust(torch: Any, net: Any, fresh: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path, pickle_protocol=4)
    with pytest.raises(ModelRefused, match="Unsupported operand") as caught:
        opened(fresh, path)
    assert "--trust-pickle" in str(caught.value.remedy)
    with open_source(fresh, SourceOptions(weights=path, inputs=SHAPE, trust_pickle=True)) as source:
        answer = source.run({"input": np.ones((1, 3), np.float32)})["output"]
    np.testing.assert_allclose(answer, net(torch.ones(1, 3)).detach(), rtol=1e-6)
