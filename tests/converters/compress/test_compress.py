"""The compression end to end on a small network: what is written, what is refused, what is kept."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgekit
from edgekit.errors import DataRefused, EnvironmentFault, InputRefused, ModelRefused, UsageError
from edgekit_converters.compress.compressor import DropTooLarge, compress
from edgekit_converters.compress.record import Record, record_path
from edgekit_converters.compress.torch_fake_quantization import fake_quantized
from edgekit_converters.compress.torch_network import TorchNetwork
from edgekit_converters.convert import GateMissed
from edgekit_converters.sources import open_source
from tests.converters.compress.conftest import TINY, request


def test_the_macs_that_were_asked_for_are_left_in_multiples(small: tuple[Path, Record]) -> None:
    record = small[1]
    assert record.macs[1] <= 0.3 * record.macs[0]
    with open_source(small[0]) as source:
        weights = [tuple(weight.shape) for weight in source.exportable.parameters()]  # type: ignore[attr-defined]
    assert source.parameters == record.parameters[1] < record.parameters[0]
    assert all(shape[0] % 2 == 0 for shape in weights)


def test_the_answers_are_the_originals(small: tuple[Path, Record], colour_photos: list[Path]) -> None:
    assert small[1].steps[-1].agreement == 1.0
    photo = np.random.default_rng(0).random((4, 3, 32, 32)).astype(np.float32)
    with open_source(small[0]) as source:
        assert source.inputs[0].shape[0] is None
        assert np.isfinite(source.run({"input": photo})["output"]).all()


def test_the_record_tells_every_step(small: tuple[Path, Record]) -> None:
    raw = json.loads(record_path(small[0]).read_text())
    assert record_path(small[0]).name == "small.compression.json"  # another compression into the folder has its own
    assert raw["schema"] == 1
    assert raw["original"] == "tiny"
    assert [step["kind"] for step in raw["steps"]] == ["prune", "recover"]
    assert raw["macs"][0] == 8 * 27 * 256 + 8 * 72 * 64 + 32
    assert raw["steps"][-1]["macs"] == raw["macs"][1]
    assert raw["steps"][0]["removed"].keys() <= {"model.0", "model.2"}
    assert raw["steps"][1]["steps"] == 12
    assert raw["held_out"] == 5
    assert raw["origin"] == "calibration data kept aside"
    assert all(0 <= step["agreement"] <= 1 and step["relative_l2"] >= 0 for step in raw["steps"])


def test_artifacts_are_judged_against_the_original(
    small: tuple[Path, Record], colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"to": ("onnx",), "preset": "unit", "evaluation": colour_photos[0].parent}
    own = edgekit.convert(small[0], tmp_path / "own.bundle", **arguments)
    judged = edgekit.convert(small[0], tmp_path / "judged.bundle", original=TINY, **arguments)
    assert own.artifacts[0].parity.worst.relative_l2 < 1e-4
    assert judged.artifacts[0].parity.worst.relative_l2 > 1e-4
    assert judged.artifacts[0].degraded is None
    assert "original" not in own.manifest.source
    assert judged.manifest.source["file"] == "small.pt2"
    assert judged.manifest.source["original"]["parameters"] == small[1].parameters[0]
    golden, answers = judged.golden()
    with open_source(TINY, own_options()) as original:
        assert np.allclose(original.run({"input": golden["input"]})["output"], answers["output"], atol=1e-5)


def own_options() -> Any:
    from edgekit_converters.sources import InputHint, SourceOptions

    return SourceOptions(inputs=(InputHint((1, 3, 32, 32)),))


def test_another_model_as_the_original_misses_the_gate_or_is_refused(
    small: tuple[Path, Record], colour_photos: list[Path], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"to": ("onnx",), "preset": "unit", "evaluation": colour_photos[0].parent}
    other = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with pytest.raises(GateMissed, match="agreement is"):
        edgekit.convert(small[0], tmp_path / "b", original=other, **arguments)
    with pytest.raises(UsageError, match=r"--original with outputs \[\[7\]\], batch aside"):
        edgekit.convert(small[0], tmp_path / "b", original=nn.Sequential(nn.Flatten(), nn.Linear(3072, 7)), **arguments)
    assert not (tmp_path / "b").exists()


def test_too_large_a_drop_is_set_aside_and_the_old_file_stays(
    colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit_converters.compress.torch_network.repair", _ruin)
    output = tmp_path / "small.pt2"
    output.write_bytes(b"the old model")
    with pytest.raises(DropTooLarge, match=r"(?s)agreement is .*small\.degraded\.pt2") as caught:
        compress(request(colour_photos[0].parent, output, steps=0, max_drop=0.0))
    assert caught.value.exit_code == 4
    assert caught.value.record.missed is not None
    assert output.read_bytes() == b"the old model"
    assert {path.name for path in tmp_path.iterdir()} == {
        "small.pt2", "small.degraded.pt2", "small.degraded.compression.json"
    }  # fmt: skip


def _ruin(model: Any, *_: Any, **__: Any) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.neg_()


def test_a_target_that_cannot_be_reached_is_said(colour_photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DropTooLarge, match=r"% of the macs left, 1 % wanted"):
        compress(request(colour_photos[0].parent, tmp_path / "small.pt2", steps=0, target=0.01))


def test_an_interrupt_keeps_the_best_so_far(
    colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TorchNetwork.learn

    def until_interrupted(network: TorchNetwork, *arguments: Any, **options: Any) -> Iterator[float]:
        for number, loss in enumerate(real(network, *arguments, **options)):
            if number == 6:
                _ruin(network.model)
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(TorchNetwork, "learn", until_interrupted)
    record, _ = compress(request(colour_photos[0].parent, tmp_path / "small.pt2", steps=100, rounds=1, rate=1e-4))
    assert record.interrupted
    assert record.steps[-1].steps == 6
    assert record.steps[-1].agreement == 1.0


def test_learning_brings_the_network_closer(colour_photos: list[Path], tmp_path: Path) -> None:
    record, _ = compress(request(colour_photos[0].parent, tmp_path / "small.pt2", target=0.3, steps=40, rate=0.01))
    pruned, recovered = record.steps
    assert pruned.loss is not None
    assert recovered.loss is not None
    assert recovered.loss < 0.9 * pruned.loss


def test_users_train_on_rounded_weights_and_the_float_ones_are_kept(colour_photos: list[Path], tmp_path: Path) -> None:
    tuning = tmp_path / "tuning.py"
    tuning.write_text(
        "import torch\n"
        "def tune(model, steps):\n"
        "    x = torch.rand(8, 3, 32, 32)\n"
        "    with torch.no_grad():\n"
        "        target = model(x)[0] * 1.1\n"
        "    made = torch.optim.SGD(model.parameters(), 0.01)\n"
        "    for _ in range(steps):\n"
        "        made.zero_grad()\n"
        "        (model(x)[0] - target).square().mean().backward()\n"
        "        made.step()\n"
        "def fail(model, steps):\n"
        "    raise ValueError('no data')\n"
    )
    output = tmp_path / "small.pt2"
    record, _ = compress(request(colour_photos[0].parent, output, steps=0, train=f"{tuning}:tune", train_steps=3))
    assert [step.kind for step in record.steps] == ["prune", "train-quantized"]
    assert record.steps[1].steps == 3
    assert record.steps[1].relative_l2 != record.steps[0].relative_l2
    with pytest.raises(InputRefused, match=r"tuning\.py:fail failed: ValueError: no data"):
        compress(request(colour_photos[0].parent, output, steps=0, train=f"{tuning}:fail"))


def test_an_interrupt_of_the_users_training_keeps_what_was_there_before(
    colour_photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "tuning.py").write_text(
        "import torch\n"
        "def tune(model, steps):\n"
        "    model.train()\n"
        "    with torch.no_grad():\n"
        "        for weight in model.parameters():\n"
        "            weight.neg_()\n"
        "    raise KeyboardInterrupt\n"
    )
    asked = request(colour_photos[0].parent, tmp_path / "small.pt2", steps=0, train=f"{tmp_path}/tuning.py:tune")
    record, _ = compress(asked)
    assert record.interrupted
    assert [step.kind for step in record.steps] == ["prune"]
    with open_source(tmp_path / "small.pt2") as source:
        photos = np.full((3, 3, 32, 32), 0.1, np.float32)
        photos[range(3), range(3)] += 0.6
        assert source.run({"input": photos})["output"].argmax(1).tolist() == [0, 1, 2]


def test_what_would_end_in_vain_is_refused_before_anything_is_learned(
    colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(*_: object, **__: object) -> Iterator[float]:
        raise AssertionError("it learned")

    monkeypatch.setattr(TorchNetwork, "learn", learn)
    asked = request(colour_photos[0].parent, tmp_path / "small.pt2", train=f"{TINY.partition(':')[0]}:nothing")
    with pytest.raises(InputRefused, match=r"tiny\.py has no 'nothing'"):
        compress(asked)

    def trace(*_: object, **__: object) -> None:
        raise RuntimeError("data-dependent branch")

    monkeypatch.setattr(torch.export, "export", trace)
    with pytest.raises(ModelRefused, match=r"torch\.export cannot trace the pruned module: .*data-dependent branch"):
        compress(request(colour_photos[0].parent, tmp_path / "small.pt2"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_fault_of_the_environment(
    colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "small.pt2"
    output.write_bytes(b"the old model")
    monkeypatch.setattr(Path, "write_bytes", _full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        compress(request(colour_photos[0].parent, output, steps=0))
    assert output.read_bytes() == b"the old model"
    assert list(tmp_path.iterdir()) == [output]


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_fake_quantized_forward_has_256_levels_and_leaves_no_trace() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 4, bias=False)
    model, before = nn.Sequential(layer), layer.weight.detach().clone()
    ones = torch.eye(64)
    with fake_quantized(model):
        rounded = layer.weight.detach()
        steps = rounded / (rounded.abs().amax(1, keepdim=True) / 127)
        assert torch.allclose(steps, steps.round(), atol=1e-3)
        assert not torch.equal(rounded, before)
        model(torch.rand(64, 64)).sum().backward()
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is not None
    assert torch.allclose(model(ones), before.T)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"calibration": None}, DataRefused, "no --data"),
        ({"output": "small.onnx"}, UsageError, r"a file that ends in \.pt2"),
        ({"output": "."}, UsageError, r"-o .*: a folder; expected a file"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(3072, 4))}, ModelRefused, "no channels that can be removed"),
    ],
    ids=["no data", "another suffix", "a folder", "nothing to remove"],
)
def test_what_cannot_be_done_is_refused(
    colour_photos: list[Path], tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    from dataclasses import replace

    asked = request(colour_photos[0].parent, tmp_path / changed.pop("output", "small.pt2"))
    with pytest.raises(error, match=message):
        compress(replace(asked, conversion=replace(asked.conversion, **changed)))
    assert list(tmp_path.iterdir()) == []


def test_an_exported_model_has_no_modules_to_prune(
    small: tuple[Path, Record], colour_photos: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match="an exported program, which has lost its modules"):
        compress(request(colour_photos[0].parent, tmp_path / "smaller.pt2", model=small[0]))
