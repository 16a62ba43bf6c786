"""Bundles in a repository of a hub, and in a folder that looks like one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from edgekit.bundle import Bundle, read_checksums
from edgekit.errors import BundleRefused, EnvironmentFault, UsageError
from edgekit_runtimes.lifecycle.card import MARK
from edgekit_runtimes.lifecycle.hub import pull as pull_into
from edgekit_runtimes.lifecycle.hub import push
from edgekit_runtimes.lifecycle.place import arriving
from tests.conftest import CommandRunner
from tests.fixtures.model_hub import TOKEN, ModelHub, running_hub
from tests.runtimes.lifecycle.conftest import contents, renamed
from tests.runtimes.remote.conftest import free_port

# The hub's client hands bytes to its HTTP library in the older of two ways.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def pull(source: str, output: Path) -> None:
    """What `edgekit pull` does, without the command."""
    with arriving(output, source) as folder:
        pull_into(source, folder)


def point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """The hub of this process, with an empty cache and a token that opens it."""
    with running_hub() as server:
        point_to(server.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def test_the_commands_send_a_bundle_there_and_back(
    person_bundle: Bundle, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    with running_hub() as server:
        own = {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        env = {**os.environ, **own}
        sent = edgekit_command("push", person_bundle.path, "hf:team/person", env=env)
        assert sent.returncode == 0, sent.stderr
        assert sent.stdout == f"hf:team/person@{server.branches['team/person']['main']}\n"
        assert "sent 5 files, 1.34 MB" in sent.stderr
        assert server.visibility["team/person"] == "private"
        done = edgekit_command("pull", sent.stdout.strip(), "-o", tmp_path / "pulled", env=env)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)
    assert TOKEN not in sent.stderr + done.stderr


def test_the_card_says_what_it_is_and_how_to_run_it(person_bundle: Bundle, hub: ModelHub) -> None:
    push(person_bundle, "hf:team/person")
    card = hub.files("team/person")["README.md"].decode()
    front, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: edgekit" in front
    assert "pipeline_tag: image-classification" in front
    assert "edgekit pull hf:team/person -o model\n" in text
    assert "pip install 'edgekit-ai[litert,hub]'" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    for artifact, row in zip(person_bundle.artifacts, rows[2:], strict=True):
        error = f"{artifact.parity.worst.relative_l2:.3g}"
        assert row == [artifact.file, artifact.recipe, row[2], str(artifact.parity.agreement), error]


def test_only_what_changed_is_sent(own_person_bundle: Path, hub: ModelHub) -> None:
    push(Bundle(own_person_bundle), "hf:team/person")
    first = hub.branches["team/person"]["main"]
    again = push(Bundle(own_person_bundle), "hf:team/person")
    assert (again.files, again.kept, again.address) == (0, 5, f"hf:team/person@{first}")
    assert hub.branches["team/person"]["main"] == first
    hub.sent.clear()
    push(renamed(own_person_bundle, "newer"), "hf:team/person")
    assert sorted(hub.sent) == ["README.md", "SHA256SUMS", "manifest.json"]


def test_what_the_new_bundle_lacks_is_removed_and_the_rest_stays(
    own_person_bundle: Path, person_bundle: Bundle, hub: ModelHub, tmp_path: Path
) -> None:
    (own_person_bundle / "report.html").write_text("a report")
    push(renamed(own_person_bundle, "older"), "hf:team/person")
    mine = {**hub.files("team/person"), "README.md": b"# My own words", "photo.jpg": b"mine"}
    hub.commit("team/person", mine)
    push(person_bundle, "hf:team/person")
    files = hub.files("team/person")
    assert set(files) == {*contents(person_bundle.path), "README.md", "photo.jpg", ".gitattributes"}
    assert files["README.md"] == b"# My own words"
    pull("hf:team/person", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)


def test_a_branch_of_its_own(own_person_bundle: Path, hub: ModelHub, tmp_path: Path) -> None:
    push(Bundle(own_person_bundle), "hf:team/person")
    push(renamed(own_person_bundle, "trial"), "hf:team/person@trial")
    for source, name in (("hf:team/person", "model"), ("hf:team/person@trial", "trial")):
        pull(source, tmp_path / "pulled")
        assert Bundle(tmp_path / "pulled").manifest.name == name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:team/nobody", "hf:team/nobody: the hub knows no such repository"),
        ("hf:team/person@v9", "hf:team/person@v9: the hub knows no such revision"),
        ("hf:team/other", "hf:team/other has no SHA256SUMS"),
    ],
)
def test_what_is_not_there_is_said_so(
    person_bundle: Bundle, hub: ModelHub, tmp_path: Path, source: str, message: str
) -> None:
    push(person_bundle, "hf:team/person")
    hub.commit("team/other", {"config.json": b"{}", "pytorch_model.bin": b"a pickle"})
    with pytest.raises(BundleRefused, match=message):
        pull(source, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "sub/file", ".."])
def test_a_listing_that_names_other_places_is_refused(hub: ModelHub, tmp_path: Path, name: str) -> None:
    hub.commit("team/evil", {"SHA256SUMS": f"{'0' * 64}  {name}\n".encode(), "sub/file": b"content"})
    with pytest.raises(BundleRefused, match="names the file"):
        pull("hf:team/evil", tmp_path / "pulled")
    assert not (tmp_path / "escaped").exists()


def test_a_file_that_breaks_off_leaves_the_old_bundle(person_bundle: Bundle, hub: ModelHub, tmp_path: Path) -> None:
    push(person_bundle, "hf:team/person")
    old = Path(shutil.copytree(person_bundle.path, tmp_path / "here"))
    renamed(old, "older")
    before = contents(old)
    content = hub.files("team/person")
    hub.commit("team/person", {**content, "model.int8.tflite": content["model.int8.tflite"][:-1]})
    with pytest.raises(BundleRefused, match=r"^hf:team/person/model\.int8\.tflite is damaged"):
        pull("hf:team/person", old)
    assert contents(old) == before
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_a_push_in_the_middle_does_not_mix_two_bundles(
    person_bundle: Bundle, own_person_bundle: Path, hub: ModelHub, tmp_path: Path
) -> None:
    push(person_bundle, "hf:team/person")
    renamed(own_person_bundle, "newer")
    hub.then["SHA256SUMS"] = lambda: hub.commit("team/person", contents(own_person_bundle))
    pull("hf:team/person", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)
    pull("hf:team/person", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(own_person_bundle)


def test_a_token_that_is_missing_is_asked_for(
    person_bundle: Bundle, hub: ModelHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(EnvironmentFault, match=r"does not let you at hf:team/person[\s\S]*hf auth login"):
        push(person_bundle, "hf:team/person")


def test_a_hub_that_cannot_be_reached_is_said_so(
    person_bundle: Bundle, hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(f"http://127.0.0.1:{free_port()}", monkeypatch)
    with pytest.raises(EnvironmentFault, match=r"the hub cannot be reached: .*Connection refused"):
        push(person_bundle, "hf:team/person")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault, match="hf:team/person: the hub cannot be reached"):
        pull("hf:team/person", tmp_path / "pulled")


@pytest.mark.parametrize("address", ["hf:", "hf:person", "hf:a/b/c", "hf:team/person@", "hf:team/"])
def test_what_is_no_address_is_refused(person_bundle: Bundle, address: str) -> None:
    with pytest.raises(UsageError, match="expected hf:OWNER/NAME"):
        push(person_bundle, address)


def test_a_folder_needs_no_hub(
    own_person_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: ModelHub
) -> None:
    monkeypatch.chdir(tmp_path)
    push(Bundle(own_person_bundle), "hf:./models/person")
    folder = tmp_path / "models" / "person"
    assert set(contents(folder)) == {*contents(own_person_bundle), "README.md"}
    assert "edgekit pull hf:./models/person" in (folder / "README.md").read_text(encoding="utf-8")
    push(renamed(own_person_bundle, "newer"), "hf:./models/person")
    assert "# newer" in (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text("# My own words", encoding="utf-8")
    push(Bundle(own_person_bundle), f"hf:{folder}")
    assert MARK not in (folder / "README.md").read_text(encoding="utf-8")
    pull("hf:./models/person", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(own_person_bundle)
    assert hub.branches == {}


def test_a_clone_of_a_repository_keeps_what_is_not_of_the_bundle(
    own_person_bundle: Path, person_bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "clone"
    (own_person_bundle / "report.html").write_text("a report")
    push(renamed(own_person_bundle, "older"), f"hf:{folder}")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (folder / "LICENSE").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    push(person_bundle, f"hf:{folder}")
    names = {path.name for path in folder.iterdir()}
    assert names == {*contents(person_bundle.path), "README.md", ".git", "LICENSE", "link"}
    assert (folder / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert (folder / "LICENSE").read_text() == "mine"


def test_a_folder_with_something_else_is_neither_written_nor_read(person_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="photos is not a bundle"):
        push(person_bundle, f"hf:{tmp_path}/photos")
    with pytest.raises(BundleRefused, match="has no file SHA256SUMS"):
        pull(f"hf:{tmp_path}/photos", tmp_path / "pulled")
    assert contents(tmp_path / "photos") == {"one.jpg": b"precious"}


def test_a_link_in_a_folder_is_not_followed(own_person_bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    shutil.move(own_person_bundle / "golden.npz", secret)
    (own_person_bundle / "golden.npz").symlink_to(secret)
    assert "golden.npz" in read_checksums(own_person_bundle)
    with pytest.raises(BundleRefused, match=r"has no file golden\.npz"):
        pull(f"hf:{own_person_bundle}", tmp_path / "pulled")
