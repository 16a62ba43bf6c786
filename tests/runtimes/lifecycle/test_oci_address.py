"""What is an address of an OCI registry, and what is none."""

from __future__ import annotations

import pytest

from edgekit.errors import UsageError
from edgekit_runtimes.lifecycle.oci_address import OciAddress, oci_address
from edgekit_runtimes.lifecycle.oci_client import token_service_without_tls
from edgekit_runtimes.lifecycle.place import kind_of

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("oci://ghcr.io/team/person:v1", OciAddress("ghcr.io", "team/person", "v1")),
        ("oci://ghcr.io/a.b/c_d/e--f:1.0-rc_1", OciAddress("ghcr.io", "a.b/c_d/e--f", "1.0-rc_1")),
        ("oci://registry:5000/person", OciAddress("registry:5000", "person", "latest")),
        (f"oci://[::1]:5000/person@{DIGEST}", OciAddress("[::1]:5000", "person", "latest", DIGEST)),
        (f"oci://localhost/person:v1@{DIGEST}", OciAddress("localhost", "person", "v1", DIGEST)),
    ],
)
def test_an_address_is_read(text: str, address: OciAddress) -> None:
    assert oci_address(text) == address
    assert oci_address(str(address)).at(DIGEST) == address.at(DIGEST)


@pytest.mark.parametrize(
    "text",
    [
        "oci://ghcr.io", "oci://ghcr.io/", "oci://ghcr.io/Team/Person", "oci:///person", "oci://ghcr.io/a//b",
        "oci://ghcr.io/../person", "oci://ghcr.io/person:", "oci://ghcr.io/person@sha256:12", "oci://ghcr.io/p?x=1",
        "oci://ghcr.io/person:v1#part", "oci://gh cr.io/person", "oci://ghcr.io/person:v1\n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:DIGEST"):
        oci_address(text)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="docker login") as refused:
        oci_address("oci://me:hunter2@ghcr.io/team/person:v1")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("registry", "here"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.8.8.8", True),
        ("[::1]:5000", True), ("ghcr.io", False), ("localhost.example.org", False), ("10.0.0.1:5000", False),
    ],
)  # fmt: skip
def test_only_this_machine_needs_no_tls(registry: str, here: bool) -> None:
    assert OciAddress(registry, "person", "v1").on_this_machine is here


def test_a_token_service_without_tls_is_noticed() -> None:
    challenge = 'Bearer realm="http://auth.example.org/token",service="registry"'
    assert token_service_without_tls(challenge) == "http://auth.example.org/token"
    assert token_service_without_tls(challenge.replace("http:", "https:")) is None
    assert token_service_without_tls('Basic realm="http://a.name"') is None
    assert token_service_without_tls("") is None


def test_the_docker_hub_has_three_names() -> None:
    hub, other = oci_address("oci://docker.io/team/person:v1"), oci_address("oci://ghcr.io/team/person:v1")
    assert (hub.registry, hub.api_host, hub.credentials) == (
        "docker.io",
        "registry-1.docker.io",
        "https://index.docker.io/v1/",
    )
    assert (other.registry, other.api_host, other.credentials) == ("ghcr.io",) * 3


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("oci://ghcr.io/team/person:v1", "oci"), ("hf:team/person", "hf"), ("hf:./folder", "hf"),
        ("mlflow:", "mlflow"), ("models:/person/1", "mlflow"), ("runs:/1/model", "mlflow"),
    ],
)  # fmt: skip
def test_the_kind_of_an_address(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize("address", ["person", "./person", "https://ghcr.io/team/person", "s3://bucket/person", ""])
def test_another_kind_of_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected oci://REGISTRY/NAME:TAG, hf:OWNER/NAME"):
        kind_of(address)
