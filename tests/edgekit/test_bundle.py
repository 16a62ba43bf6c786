import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.binding import Binding
from edgekit.bundle import Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.errors import BundleRefused
from edgekit.metrics import Proportion
from edgekit.parity import OutputParity, Parity
from edgekit.resources import OperatorResources, Resources
from edgekit.spec import Spec, TensorSpec

RESOURCES = Resources(12, 48, 28, 76, 0, 48, (OperatorResources("out:0", "FULLY_CONNECTED", 12, 48, 76),))
PARITY = Parity(8, (OutputParity("y", 1e-6, 1.0, 1e-5),), Proportion(8, 8))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "model.bundle"
    folder.mkdir()
    (folder / "model.fp32.tflite").write_bytes(bytes(range(256)))
    write_golden(folder, {"x": np.ones((2, 3), np.float32)}, {"y": np.zeros((2, 4), np.float32)})
    artifact = Artifact(
        file="model.fp32.tflite",
        format="tflite",
        recipe="fp32",
        bytes=256,
        inputs=(Binding("x", "in:0", (1, 3), "float32"),),
        outputs=(Binding("y", "out:0", (None, 4), "float32"),),
        parity=PARITY,
        golden=PARITY,
        latency_ms=1.5,
        notes=("ä note",),
        resources=RESOURCES,
    )
    spec = Spec(
        inputs=(TensorSpec("x", (None, 3)),), outputs=(TensorSpec("y", (None, 4)),), labels=("ä", "b", "c", "d")
    )
    write_manifest(folder, Manifest("model", spec, (artifact,), edgekit_version="9.9.9"))
    return folder


def rewrite(bundle: Path, **changes: Any) -> None:
    """Change the manifest and sign it again, as an attacker would."""
    raw = json.loads((bundle / "manifest.json").read_text())
    raw.update(changes)
    (bundle / "manifest.json").write_text(json.dumps(raw))
    names = sorted(path.name for path in bundle.iterdir() if path.name != "SHA256SUMS")
    sums = subprocess.run(["sha256sum", *names], cwd=bundle, capture_output=True, check=True)
    (bundle / "SHA256SUMS").write_bytes(sums.stdout)


def test_a_bundle_from_before_resources_were_counted_opens(bundle: Path) -> None:
    raw = json.loads((bundle / "manifest.json").read_text())
    del raw["artifacts"][0]["resources"]
    rewrite(bundle, artifacts=raw["artifacts"])
    assert Bundle(bundle).artifacts[0].resources is None


def test_resources_of_a_later_version_are_read(bundle: Path) -> None:
    raw = json.loads((bundle / "manifest.json").read_text())
    raw["artifacts"][0]["resources"]["joules"] = 1
    rewrite(bundle, artifacts=raw["artifacts"])
    assert Bundle(bundle).artifacts[0].resources == RESOURCES


def test_damaged_resources_are_refused(bundle: Path) -> None:
    raw = json.loads((bundle / "manifest.json").read_text())
    raw["artifacts"][0]["resources"] = {"macs": 1}
    rewrite(bundle, artifacts=raw["artifacts"])
    with pytest.raises(BundleRefused, match="is damaged: TypeError"):
        Bundle(bundle)


def test_a_bundle_round_trips(bundle: Path) -> None:
    opened = Bundle(bundle)
    again = Manifest.from_dict(json.loads(json.dumps(opened.manifest.to_dict())))
    assert again == opened.manifest
    assert opened.artifacts[0].outputs[0].shape == (None, 4)
    assert opened.artifacts[0].resources == RESOURCES
    inputs, outputs = opened.golden()
    assert inputs["x"].shape == (2, 3)
    assert outputs["y"].shape == (2, 4)


def test_sha256sum_itself_checks_a_bundle(bundle: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["manifest.json", "model.fp32.tflite", "golden.npz", "SHA256SUMS"])
@pytest.mark.parametrize("position", [0.0, 0.5, 0.99])
def test_one_flipped_bit_anywhere_is_refused(bundle: Path, name: str, position: float) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[int(position * len(data))] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleRefused) as caught:
        Bundle(bundle)
    assert caught.value.exit_code == 3


def test_damage_is_told_with_both_hashes(bundle: Path) -> None:
    expected = next(line[:64] for line in (bundle / "SHA256SUMS").read_text().splitlines() if "tflite" in line)
    (bundle / "model.fp32.tflite").write_bytes(bytes(255))
    with pytest.raises(
        BundleRefused, match=rf"model\.fp32\.tflite is damaged: SHA-256 [0-9a-f]{{64}}; expected {expected}"
    ):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "model.fp32.tflite", "golden.npz", "SHA256SUMS"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleRefused, match=name.replace(".", r"\.")):
        Bundle(bundle)


def test_a_file_that_is_not_listed_is_refused(bundle: Path) -> None:
    (bundle / "extra.tflite").write_bytes(b"")
    with pytest.raises(BundleRefused, match=r"extra\.tflite is not listed"):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "sub/x.tflite"])
def test_a_path_outside_is_refused(bundle: Path, name: str) -> None:
    raw = json.loads((bundle / "manifest.json").read_text())
    raw["artifacts"][0]["file"] = name
    rewrite(bundle, artifacts=raw["artifacts"])
    with pytest.raises(BundleRefused, match="expected a plain file inside the bundle"):
        Bundle(bundle)


def test_a_symbolic_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.tflite"
    os.rename(bundle / "model.fp32.tflite", target)
    (bundle / "model.fp32.tflite").symlink_to(target)
    with pytest.raises(BundleRefused, match="expected a plain file inside the bundle"):
        Bundle(bundle)


def test_a_newer_schema_says_what_reads_it(bundle: Path) -> None:
    rewrite(bundle, schema_version=2)
    with pytest.raises(
        BundleRefused, match=r"schema version 2, written by edgekit 9\.9\.9; expected at most 1"
    ) as caught:
        Bundle(bundle)
    assert caught.value.remedy == "pip install -U 'edgekit-ai>=9.9.9'"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "changes", [{"artifacts": [{}]}, {"artifacts": 3}, {"spec": None}, {"schema_version": "1"}, {"new": 1}]
)
def test_a_damaged_manifest_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(BundleRefused):
        Bundle(bundle)


def test_another_folder_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match=r"is not a bundle: it has no manifest\.json"):
        Bundle(tmp_path)


def test_golden_samples_are_never_pickled(tmp_path: Path) -> None:
    write_golden(tmp_path, {"x": np.ones((1, 2), np.float32)}, {"y": np.zeros((1, 2), np.float32)})
    with np.load(tmp_path / "golden.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["input/x", "output/y"]
    with pytest.raises(TypeError, match="input/x holds objects"):
        write_golden(tmp_path, {"x": np.array([{}])}, {})
