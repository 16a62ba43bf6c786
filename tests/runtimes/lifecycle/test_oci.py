"""Bundles in an OCI registry: a real one, and one that does harm."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle, read_checksums
from edgekit.cli import main
from edgekit.errors import BundleRefused, EnvironmentFault, UsageError
from edgekit_runtimes.lifecycle import oci_client
from edgekit_runtimes.lifecycle.oci import ARTIFACT_TYPE, push
from edgekit_runtimes.lifecycle.oci import pull as pull_into
from edgekit_runtimes.lifecycle.place import Pushed, arriving
from tests.conftest import CommandRunner
from tests.runtimes.lifecycle.conftest import (
    PASSWORD,
    Gate,
    contents,
    log_in,
    opened_gate,
    renamed,
)
from tests.runtimes.remote.conftest import free_port

TITLE = "org.opencontainers.image.title"


def pull(source: str, output: Path) -> None:
    """What `edgekit pull` does, without the command."""
    with arriving(output, source) as folder:
        pull_into(source, folder, have=output)


def ask(host: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(host, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers.items()), answer.read()
    connection.close()
    return found


def put_blob(host: str, name: str, content: bytes) -> dict[str, Any]:
    """Upload a blob without any client; returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _, headers, _ = ask(host, "POST", f"/v2/{name}/blobs/uploads/", Content_Length="0")
    path = headers["Location"].partition(host)[2]
    status, _, _ = ask(host, "PUT", f"{path}&digest={digest}", content, Content_Type="application/octet-stream")
    assert status == 201
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}


def put_manifest(host: str, name: str, tag: str, layers: list[dict[str, Any]], kind: str = ARTIFACT_TYPE) -> None:
    """Publish a manifest without any client."""
    media = "application/vnd.oci.image.manifest.v1+json"
    config = {**put_blob(host, name, b"{}"), "mediaType": kind}
    manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers}
    status, _, answer = ask(
        host, "PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), Content_Type=media
    )
    assert status == 201, answer


def get_manifest(host: str, name: str, tag: str) -> dict[str, Any]:
    accept = "application/vnd.oci.image.manifest.v1+json"
    found: dict[str, Any] = json.loads(ask(host, "GET", f"/v2/{name}/manifests/{tag}", Accept=accept)[2])
    return found


@pytest.fixture
def pushed(person_bundle: Bundle, registry: str) -> Pushed:
    """The person detector as team/person:v1."""
    return push(person_bundle, f"oci://{registry}/team/person:v1")


@pytest.fixture
def old(pushed: Pushed, own_person_bundle: Path) -> Iterator[Path]:
    """An older bundle where one is pulled to; it and its folder must be as they were when the test ends."""
    renamed(own_person_bundle, "older")
    before, around = contents(own_person_bundle), sorted(own_person_bundle.parent.iterdir())
    yield own_person_bundle
    assert contents(own_person_bundle) == before
    assert sorted(own_person_bundle.parent.iterdir()) == around


def test_the_commands_send_a_bundle_there_and_back(
    person_bundle: Bundle, registry: str, edgekit_command: CommandRunner, tmp_path: Path
) -> None:
    address = f"oci://{registry}/team/sub.group/person-detector:v1.0"
    first = edgekit_command("push", person_bundle.path, address)
    assert first.returncode == 0, first.stderr
    assert "sent 5 files, 1.34 MB" in first.stderr
    again = edgekit_command("push", person_bundle.path, address.replace("v1.0", "v1.1"))
    assert "sent 0 files, 0.00 MB, 5 there already" in again.stderr
    assert first.stdout == again.stdout
    exact = first.stdout.strip()
    assert exact.startswith(f"oci://{registry}/team/sub.group/person-detector@sha256:")
    for number, source in enumerate((address, exact)):
        output = tmp_path / f"pulled{number}"
        done = edgekit_command("pull", source, "-o", output)
        assert done.returncode == 0, done.stderr
        assert "model, every file has its hash" in done.stderr
        assert contents(output) == contents(person_bundle.path)


def test_what_lies_in_the_registry_any_client_can_read(pushed: Pushed, person_bundle: Bundle, registry: str) -> None:
    manifest = get_manifest(registry, "team/person", "v1")
    assert manifest["artifactType"] == manifest["config"]["mediaType"] == ARTIFACT_TYPE
    layers = {layer["annotations"][TITLE]: layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]}
    sums = (person_bundle.path / "SHA256SUMS").read_bytes()
    digest = hashlib.sha256(sums).hexdigest()
    assert layers == {**read_checksums(person_bundle.path), "SHA256SUMS": digest}
    assert manifest["annotations"][TITLE] == "model"
    assert manifest["annotations"]["vnd.edgekit.task"] == "image-classification"
    assert manifest["annotations"]["vnd.edgekit.bundle.sha256"] == digest


def test_only_what_changed_is_sent_and_fetched(
    pushed: Pushed, own_person_bundle: Path, person_bundle: Bundle, gate: Gate, tmp_path: Path
) -> None:
    done = push(renamed(own_person_bundle, "newer"), f"oci://{gate.host}/team/person:v2")
    assert (done.files, done.kept) == (2, 3)
    output = Path(shutil.copytree(person_bundle.path, tmp_path / "here"))
    pull(f"oci://{gate.host}/team/person:v2", output)
    assert gate.blobs() == 2
    assert contents(output) == contents(own_person_bundle)


def test_a_file_that_was_changed_here_is_not_taken_for_the_registrys(
    pushed: Pushed, own_person_bundle: Path, person_bundle: Bundle, registry: str
) -> None:
    (own_person_bundle / "model.int8.tflite").write_bytes(b"something else")
    pull(f"oci://{registry}/team/person:v1", own_person_bundle)
    assert contents(own_person_bundle) == contents(person_bundle.path)


@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_a_connection_that_is_cut_leaves_the_old_bundle(old: Path, gate: Gate, count: int) -> None:
    gate.cut["/blobs/"] = count
    refused = pytest.raises((EnvironmentFault, BundleRefused), match=r"broke off|came with")
    with refused, arriving(old, "here") as folder:
        pull_into(f"oci://{gate.host}/team/person:v1", folder)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 2_000_000])
def test_a_file_with_another_content_is_refused(old: Path, gate: Gate, content: bytes) -> None:
    manifest = get_manifest(gate.host, "team/person", "v1")
    layer = next(layer for layer in manifest["layers"] if layer["annotations"][TITLE] == "model.int8.tflite")
    gate.falsify[layer["digest"]] = content
    refused = pytest.raises(BundleRefused, match=rf"model\.int8\.tflite came with .*expected {layer['size']} bytes")
    with refused, arriving(old, "here") as folder:
        pull_into(f"oci://{gate.host}/team/person:v1", folder)


def test_an_address_with_a_digest_takes_no_other_manifest(old: Path, pushed: Pushed, gate: Gate) -> None:
    gate.falsify["/manifests/"] = json.dumps(get_manifest(gate.host, "team/person", "v1"), indent=1).encode()
    with pytest.raises(BundleRefused, match="sent a manifest with sha256:"):
        pull(f"oci://{gate.host}/team/person@{pushed.address.partition('@')[2]}", old)


@pytest.mark.parametrize(
    "title", ["../escaped", "/escaped", "sub/file", "..", ".", "", "a\\..\\b", "line\nbreak", None, 7]
)
def test_a_name_that_could_leave_the_folder_is_refused(old: Path, registry: str, title: object) -> None:
    layer = {**put_blob(registry, "team/evil", b"content"), "annotations": {TITLE: title}}
    # The registry takes texts alone.
    if not isinstance(title, str):
        del layer["annotations"]
    put_manifest(registry, "team/evil", "v1", [layer])
    with pytest.raises(BundleRefused, match=r"names the file|damaged layer"):
        pull(f"oci://{registry}/team/evil:v1", old)
    assert not (old.parent / "escaped").exists()


def test_something_else_than_a_bundle_is_refused(old: Path, registry: str) -> None:
    layer = {**put_blob(registry, "library/debian", b"tar"), "annotations": {TITLE: "layer.tar"}}
    kind = "application/vnd.oci.image.config.v1+json"
    put_manifest(registry, "library/debian", "v1", [layer], kind)
    with pytest.raises(BundleRefused, match=rf"debian:v1 is {kind.replace('+', '.')}; expected a bundle"):
        pull(f"oci://{registry}/library/debian:v1", old)


def test_files_that_are_no_bundle_are_refused_under_the_name_they_were_asked_by(old: Path, registry: str) -> None:
    layer = {**put_blob(registry, "team/odd", b"content"), "annotations": {TITLE: "notes.txt"}}
    put_manifest(registry, "team/odd", "v1", [layer])
    with pytest.raises(BundleRefused, match=f"^oci://{registry}/team/odd:v1 is not a bundle"):
        pull(f"oci://{registry}/team/odd:v1", old)


@pytest.mark.parametrize("name", ["team/person:v9", "team/nobody:v1", f"team/person@sha256:{'0' * 64}"])
def test_what_is_not_there_is_said_so(old: Path, registry: str, name: str) -> None:
    with pytest.raises(BundleRefused, match=f"^oci://{registry}/{name} is not there"):
        pull(f"oci://{registry}/{name}", old)


def test_a_folder_that_is_no_bundle_is_not_replaced(pushed: Pushed, registry: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="photos is not a bundle"):
        pull(f"oci://{registry}/team/person:v1", photos)
    assert contents(photos) == {"one.jpg": b"precious"}


def test_a_registry_that_is_not_there_is_said_so_at_once(old: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"cannot be reached, or broke off: .*Connection refused"):
        pull(f"oci://127.0.0.1:{free_port()}/team/person:v1", old)


def test_a_registry_that_is_silent_is_given_up(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_client, "_SECONDS", (0.2, 0.2))
    refused = pytest.raises(EnvironmentFault, match="did not answer within")
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        pull(f"oci://127.0.0.1:{silent.getsockname()[1]}/team/person:v1", old)


def test_a_registry_that_hangs_up_is_said_so(person_bundle: Bundle, gate: Gate) -> None:
    gate.registry = f"127.0.0.1:{free_port()}"
    with pytest.raises(EnvironmentFault, match="broke off"):
        push(person_bundle, f"oci://{gate.host}/team/person:v1")


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_password_that_is_missing_or_wrong(
    person_bundle: Bundle, locked_registry: str, docker_config: Path, password: str | None
) -> None:
    if password:
        log_in(docker_config, locked_registry, password)
    with pytest.raises(EnvironmentFault, match=f"does not let you at team/person.*\n.*docker login {locked_registry}"):
        push(person_bundle, f"oci://{locked_registry}/team/person:v1")


def test_the_password_of_dockers_configuration_opens_and_is_never_shown(
    person_bundle: Bundle,
    locked_registry: str,
    docker_config: Path,
    edgekit_command: CommandRunner,
    tmp_path: Path,
) -> None:
    log_in(docker_config, locked_registry)
    address = f"oci://{locked_registry}/team/person:v1"
    done = [
        edgekit_command("push", person_bundle.path, address),
        edgekit_command("pull", address, "-o", tmp_path / "pulled"),
        edgekit_command("--debug", "pull", address.replace("v1", "v9"), "-o", tmp_path / "none"),
    ]
    assert [one.returncode for one in done] == [0, 0, 1], [one.stderr for one in done]
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)
    secret = json.loads((docker_config / "config.json").read_text())["auths"][locked_registry]["auth"]
    for one in done:
        assert PASSWORD not in one.stdout + one.stderr
        assert secret not in one.stdout + one.stderr


def test_a_token_service_gets_the_password_and_the_registry_the_token(
    person_bundle: Bundle, gate: Gate, docker_config: Path, tmp_path: Path
) -> None:
    gate.wants_token = True
    with pytest.raises(EnvironmentFault, match="does not let you at team/person"):
        push(person_bundle, f"oci://{gate.host}/team/person:v3")
    log_in(docker_config, gate.host)
    push(person_bundle, f"oci://{gate.host}/team/person:v3")
    pull(f"oci://{gate.host}/team/person:v3", tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == contents(person_bundle.path)


def test_another_host_that_takes_the_files_gets_no_password(
    person_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, locked_registry: str, docker_config: Path
) -> None:
    with opened_gate(locked_registry) as front, opened_gate(locked_registry) as storage:
        front.redirect = storage.host
        log_in(docker_config, front.host)
        with pytest.raises(EnvironmentFault):  # the storage passes on to a registry that is locked too
            push(person_bundle, f"oci://{front.host}/team/elsewhere:v1")
        assert storage.seen == [None]
        assert front.seen == []


def test_a_name_that_is_pushed_again_is_another_bundle(
    pushed: Pushed, own_person_bundle: Path, registry: str, tmp_path: Path
) -> None:
    address = f"oci://{registry}/team/moving:latest"
    for name in ("one", "two"):
        push(renamed(own_person_bundle, name), address)
    pull(address.removesuffix(":latest"), tmp_path / "pulled")
    assert Bundle(tmp_path / "pulled").manifest.name == "two"


def test_a_bundle_that_is_damaged_is_not_pushed(
    own_person_bundle: Path, registry: str, edgekit_command: CommandRunner
) -> None:
    (own_person_bundle / "golden.npz").write_bytes(b"damaged")
    done = edgekit_command("push", own_person_bundle, f"oci://{registry}/team/damaged:v1")
    assert done.returncode == 3
    assert "golden.npz is damaged" in done.stderr
    assert ask(registry, "GET", "/v2/team/damaged/tags/list")[0] == 404


def test_a_registry_without_oras_names_the_extra(
    person_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "oras", None)
    with pytest.raises(SystemExit) as left:
        main(["push", str(person_bundle.path), "oci://127.0.0.1:9/team/person:v1"])
    assert left.value.code == 5
    assert "pip install 'edgekit-ai[oci]'" in capsys.readouterr().err
