"""``oci://REGISTRY/NAME:TAG`` and ``oci://REGISTRY/NAME@sha256:DIGEST``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgekit.errors import UsageError

# As the OCI distribution specification 1.1 has them.
_ADDRESS = re.compile(
    r"oci://(?P<registry>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?)"
    r"/(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class OciAddress:
    """Where an OCI artifact is.

    Attributes:
        registry: Host, with a port where it is not the usual one.
        name: Of the repository.
        tag: ``latest`` where neither tag nor digest is given.
        digest: ``sha256:…`` of the manifest, or ``None``; goes before the tag.
    """

    registry: str
    name: str
    tag: str
    digest: str | None = None

    @property
    def on_this_machine(self) -> bool:
        """Whether the registry listens on the loopback interface, which needs no TLS."""
        host = urlsplit(f"//{self.registry}").hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def api_host(self) -> str:
        """Host that answers for the registry; the Docker Hub's is another one than its name."""
        return "registry-1.docker.io" if self.registry == "docker.io" else self.registry

    @property
    def credentials(self) -> str:
        """Name of the registry in docker's configuration."""
        return "https://index.docker.io/v1/" if self.registry == "docker.io" else self.registry

    def at(self, digest: str) -> str:
        """The address of exactly one manifest."""
        return f"oci://{self.registry}/{self.name}@{digest}"

    def __str__(self) -> str:
        return self.at(self.digest) if self.digest else f"oci://{self.registry}/{self.name}:{self.tag}"


def oci_address(text: str) -> OciAddress:
    """Read an address. Raises UsageError when it is none, or carries a password."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        shown = re.sub(r"//[^/]*@", "//…@", text)
        raise UsageError(
            f"address {shown!r}",
            expected="oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:DIGEST, NAME in lower case",
            remedy="log in with docker login REGISTRY; an address carries no password" if shown != text else None,
        )
    return OciAddress(found["registry"], found["name"], found["tag"] or "latest", found["digest"])
