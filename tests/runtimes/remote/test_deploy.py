"""Bundles to a board: only what changed, whole or not at all."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import Bundle, file_sha256
from edgekit.errors import BundleRefused, EnvironmentFault
from edgekit_runtimes.remote import transfer
from edgekit_runtimes.remote.devices import Device
from edgekit_runtimes.remote.transfer import deploy
from tests.runtimes.remote.conftest import Cable

Maker = Callable[..., Bundle]
UNCHANGED_BYTES = 10_000
CUTS = 20


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(transfer, "_PAUSE_SECONDS", 0.0)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in folder.iterdir()}


def test_a_bundle_arrives_as_it_is(board: Device, person_bundle: Bundle) -> None:
    sent = deploy(person_bundle.path, board)
    assert contents(Path(sent.path)) == contents(person_bundle.path)
    assert sent.bytes == sum(path.stat().st_size for path in person_bundle.path.iterdir())
    assert not list((Path(board.home) / "parts").iterdir())


def test_what_did_not_change_is_not_sent(far_board: Device, cable: Cable, person_bundle: Bundle) -> None:
    deploy(person_bundle.path, far_board)
    before = cable.carried
    sent = deploy(person_bundle.path, far_board)
    assert sent.bytes == 0
    assert cable.carried - before < UNCHANGED_BYTES


def test_one_file_that_changed_is_sent_alone(board: Device, own_person_bundle: Path, person_maker: Maker) -> None:
    deploy(own_person_bundle, board)
    shutil.rmtree(own_person_bundle)
    changed = person_maker(own_person_bundle, latency_ms=[5.0, 6.0])
    sent = deploy(changed.path, board)
    text = sum((changed.path / name).stat().st_size for name in ("manifest.json", "SHA256SUMS"))
    assert sent.bytes == text
    assert contents(Path(sent.path)) == contents(changed.path)


def test_a_file_damaged_there_is_sent_again(board: Device, person_bundle: Bundle) -> None:
    there = Path(deploy(person_bundle.path, board).path)
    artifact = next(there.glob("*.tflite"))
    content = bytearray(artifact.read_bytes())
    content[5000] ^= 1
    artifact.write_bytes(content)
    assert deploy(person_bundle.path, board).bytes == len(content)
    Bundle(there)


def test_a_bundle_damaged_here_is_never_sent(board: Device, own_person_bundle: Path) -> None:
    next(own_person_bundle.glob("*.tflite")).write_bytes(b"damaged")
    with pytest.raises(BundleRefused, match="is damaged"):
        deploy(own_person_bundle, board)
    assert not Path(board.home).exists()


def test_a_cut_anywhere_leaves_the_old_bundle_and_goes_on_where_it_was(
    far_board: Device, cable: Cable, own_person_bundle: Path, person_maker: Maker, tmp_path: Path
) -> None:
    there = Path(deploy(own_person_bundle, far_board).path)
    old = contents(there)
    (tmp_path / "new").mkdir()
    new = person_maker(tmp_path / "new" / own_person_bundle.name)
    ballast = np.random.default_rng(0).bytes(400_000)  # does not compress
    artifact = new.path / new.artifacts[0].file
    artifact.write_bytes(artifact.read_bytes() + ballast)
    (new.path / "SHA256SUMS").write_text(
        "".join(f"{digest}  {name}\n" for name, digest in contents(new.path).items() if name != "SHA256SUMS")
    )
    chance = random.Random(1)
    for _ in range(CUTS):
        cable.cut_after = chance.randrange(1000, 600_000)
        attempt = replace(far_board, name="once")
        with pytest.MonkeyPatch.context() as once:
            once.setattr(transfer, "ATTEMPTS", 1)
            try:
                deploy(new.path, attempt)
            except EnvironmentFault:
                assert contents(there) == old
            else:
                assert contents(there) == contents(new.path)
                shutil.rmtree(there)
                deploy(own_person_bundle, far_board)
                shutil.rmtree(Path(far_board.home) / "parts")
        cable.cut_after = None
    assert cable.cuts >= CUTS // 2
    cable.cut_after = 200_000
    sent = deploy(new.path, far_board)
    assert contents(there) == contents(new.path)
    size = artifact.stat().st_size + 20_000
    assert sent.bytes < 1.6 * size  # what had arrived before the cut was not sent again


def test_progress_ends_at_the_whole(board: Device, person_bundle: Bundle) -> None:
    told: list[tuple[int, int]] = []
    sent = deploy(person_bundle.path, board, lambda done, total: told.append((done, total)))
    assert told[-1] == (sent.bytes, sent.bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("change", "said", "remedy"),
    [
        ({"port": 1}, "onnection refused", "switch SSH on"),
        ({"options": ("IdentityFile=/dev/null", "IdentitiesOnly=yes", "StrictHostKeyChecking=no",
                      "UserKnownHostsFile=/dev/null")}, "ermission denied", "ssh-copy-id"),
        ({"options": ("UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null")},
         "Host key verification failed", "look at the key once by hand"),
        ({"python": "/no/such/python"}, "has no edgekit in /no/such/python", "edgekit device install"),
    ],
)  # fmt: skip
def test_each_broken_connection_has_a_remedy(
    board: Device, person_bundle: Bundle, change: dict[str, object], said: str, remedy: str
) -> None:
    with pytest.raises(EnvironmentFault, match=said) as caught:
        deploy(person_bundle.path, replace(board, **change))  # type: ignore[arg-type]
    assert remedy in (caught.value.remedy or "")
