from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, UsageError
from edgekit_converters.sources import InputHint, SourceOptions, open_source

Rewrite = Callable[[str, bytes], bytes]


@pytest.fixture(scope="module")
def program(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.score = torch.nn.Linear(3, 2)

        def forward(self, rows: Any, scale: Any) -> Any:
            return {"score": self.score(rows) * scale.view(-1, 1), "parts": [rows, None]}

    torch.manual_seed(0)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(
        Net().eval(),
        (torch.ones(2, 3),),
        {"scale": torch.ones(2)},
        dynamic_shapes={"rows": {0: batch}, "scale": {0: batch}},
    )
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    torch.export.save(exported, path)
    return path


def rewritten(path: Path, target: Path, change: Rewrite, *more: tuple[str, bytes]) -> Path:
    """Copy an archive with its members changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, content in more:
            new.writestr(name, content)
    return target


def replaced(old: bytes, new: bytes) -> Rewrite:
    return lambda name, content: content.replace(old, new, 1) if name.endswith("models/model.json") else content


def test_a_program_answers_as_it_did(program: Path, torch: Any) -> None:
    with open_source(program) as source:
        assert [(item.name, item.shape) for item in source.inputs] == [("rows", (None, 3)), ("scale", (None,))]
        assert [item.name for item in source.outputs] == ["score", "parts_0"]
        assert source.parameters == 8
        rows, scale = np.random.default_rng(0).random((5, 3), np.float32), np.arange(5, dtype=np.float32)
        answer = source.run({"rows": rows, "scale": scale})
    expected = torch.export.load(program).module()(torch.from_numpy(rows), scale=torch.from_numpy(scale))
    np.testing.assert_allclose(answer["score"], expected["score"].detach(), rtol=1e-6)


def test_the_bitwise_operators_of_masks_are_plain_ones(torch: Any, tmp_path: Path) -> None:
    """Hugging Face's attention masks are joined with ``&``, which PyTorch exports under Python's name for it."""

    class Masked(torch.nn.Module):  # type: ignore[misc]
        def forward(self, rows: Any) -> Any:
            return torch.where((rows > 0).__and__(rows < 1), rows, 0.0)

    torch.export.save(torch.export.export(Masked(), (torch.ones(2, 3),)), tmp_path / "net.pt2")
    assert b"__and__" in zipfile.ZipFile(tmp_path / "net.pt2").read("net/models/model.json")
    with open_source(tmp_path / "net.pt2") as source:
        (answer,) = source.run({"rows": np.array([[-1, 0.5, 2]] * 2, np.float32)}).values()
    assert answer.tolist() == [[0, 0.5, 0]] * 2


def test_a_shape_that_contradicts_the_program_is_refused(program: Path) -> None:
    with pytest.raises(UsageError, match="'rows'"):
        open_source(program, SourceOptions(inputs=(InputHint((1, 4)),)))


def test_a_program_under_another_suffix_is_known(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(program.read_bytes())
    with open_source(path) as source:
        assert source.parameters == 8


def test_a_damaged_file_is_refused(program: Path, tmp_path: Path, cut_short: Callable[[Path], str]) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(program.read_bytes())
    pattern = cut_short(path)
    with pytest.raises(ModelRefused, match=pattern):
        open_source(path)


@pytest.mark.parametrize("member", ["../slipped", "net/../../slipped"])
def test_a_member_outside_is_refused(program: Path, elsewhere: Path, member: str) -> None:
    path = rewritten(program, elsewhere / "net.pt2", lambda _, content: content, (member, b"x"))
    with pytest.raises(ModelRefused, match="outside"):
        open_source(path)
    assert [item.name for item in elsewhere.iterdir()] == ["net.pt2"]


@pytest.mark.parametrize("attack", ["link", "bomb"])
def test_archive_attacks_are_refused(program: Path, elsewhere: Path, attack: str) -> None:
    """Fault 13."""
    path = rewritten(program, elsewhere / "net.pt2", lambda _, content: content)
    member = zipfile.ZipInfo("net/data/weights/weight_9")
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = (0o120777 if attack == "link" else 0o100644) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"/etc/passwd" if attack == "link" else bytes(65 << 20))
    with pytest.raises(ModelRefused, match=r"weight_9' (is a symbolic link|.*a decompression bomb)") as caught:
        open_source(path)
    assert caught.value.exit_code == 3
    assert [item.name for item in elsewhere.iterdir()] == ["net.pt2"]


SYMBOL = b"Symbol('"
ATTACKS: dict[str, tuple[Rewrite, str]] = {
    "size expression": (
        replaced(SYMBOL, b"__import__('os').mkdir('the-code-ran') or Symbol('"),
        "the size expression",
    ),
    "operator under torch": (replaced(b"torch.ops.aten.linear.default", b"torch.os.mkdir"), "the operator 'torch.os"),
    "operator.call": (replaced(b"torch.ops.aten.linear.default", b"_operator.call"), "the operator '_operator.call'"),
    "dunder": (replaced(b"torch.ops.aten.linear.default", b"torch.ops.aten.__init__.Tensor"), "__init__"),
    "load_library": (replaced(b"torch.ops.aten.linear.default", b"torch.ops.load_library.__call__"), "load_library"),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_code_in_the_graph_is_refused_and_never_runs(program: Path, elsewhere: Path, attack: str) -> None:
    change, text = ATTACKS[attack]
    path = rewritten(program, elsewhere / "net.pt2", change)
    assert path.read_bytes() != program.read_bytes()
    with pytest.raises(ModelRefused, match=text) as caught:
        open_source(path)
    assert caught.value.exit_code == 3
    assert not (elsewhere / "the-code-ran").exists()


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("the-code-ran",)


def pickled(torch: Any) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    torch.save(Attack(), buffer)
    return buffer.getvalue()


def attacks_by_pickle(torch: Any, program: Path, folder: Path) -> Iterator[Path]:
    """Sample inputs, an opaque constant and a weight that are pickles with code, and a compiled library."""
    code = pickled(torch)
    sample = lambda name, content: code if "sample_inputs" in name else content  # noqa: E731
    yield rewritten(program, folder / "sample.pt2", sample)
    constants = (
        b'{"config": {"c": {"path_name": "opaque_obj_0", "is_param": false, "use_pickle": true, "tensor_meta": null}}}'
    )
    opaque = lambda name, content: constants if "constants_config" in name else content  # noqa: E731
    yield rewritten(program, folder / "opaque.pt2", opaque, ("net/data/constants/opaque_obj_0", code))
    yield rewritten(
        program, folder / "library.pt2", lambda _, content: content, ("net/data/aotinductor/model/a.so", b"\x7fELF")
    )

    def pickled_weight(name: str, content: bytes) -> bytes:
        if name.endswith("weights/weight_0"):
            return code
        return (
            content.replace(b'"use_pickle": false', b'"use_pickle": true', 1) if "weights_config" in name else content
        )

    yield rewritten(program, folder / "weight.pt2", pickled_weight)


def test_pickles_and_libraries_inside_are_refused_and_never_run(torch: Any, program: Path, elsewhere: Path) -> None:
    for path in attacks_by_pickle(torch, program, elsewhere):
        with pytest.raises(ModelRefused) as caught:
            open_source(path)
        assert caught.value.exit_code == 3
        assert not (elsewhere / "the-code-ran").exists(), path.name
