"""oras' client with bounded waiting and errors of this package; credentials are docker's, as oras reads them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgekit.errors import BundleRefused, EnvironmentFault, InputRefused
from edgekit_runtimes.lifecycle.oci_address import OciAddress

_SECONDS = (10.0, 60.0)
"""To connect, and between two pieces of an answer."""


class Registry:
    """One repository of an OCI registry.

    Args:
        address: Of the repository.
        plain_http: Without TLS; a registry on this machine always is.

    Raises:
        MissingExtra: oras is not installed (as ModuleNotFoundError, which the command line turns into it).
        EnvironmentFault: The registry cannot be reached, or wants a password that docker's config does not have.
    """

    def __init__(self, address: OciAddress, *, plain_http: bool = False) -> None:
        import oras.logger

        oras.logger.logger.set_level(100)  # it prints errors that are raised here
        self.address = address
        insecure = plain_http or address.on_this_machine
        self._host = address.api_host
        self._client, self.container = _client(self._host, address, insecure)
        with _talking(address):
            self._authenticate(insecure)

    def _authenticate(self, insecure: bool) -> None:
        """Find out which kind of credentials the registry takes, and hand oras those of docker's config."""
        scheme = "http" if insecure else "https"
        answer = self._client.session.get(f"{scheme}://{self._host}/v2/")
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code != 401:
            return
        in_clear = token_service_without_tls(challenge)
        if challenge.lower().startswith("basic"):
            self._client.use_basic(self._host)
        elif in_clear and not insecure:  # oras would send the password there
            raise EnvironmentFault(f"{self.address.registry} wants the password sent to {in_clear}, without TLS")
        configs = [str(path) for path in _docker_configs() if path.is_file()]
        self.container.registry = self.address.credentials
        self._client.auth.load_configs(self.container, configs=configs)
        self.container.registry = self._host
        if self._client.basic_host and not hasattr(self._client.auth, "_basic_auth"):
            raise _unauthorised(self.address)

    def request(self, path: str, method: str = "GET", *, accept: str = "*/*") -> Any:
        """Ask for ``/v2/NAME/PATH``; the answer is streamed, a `requests.Response` to be closed.

        Raises:
            BundleRefused: There is no such thing.
            EnvironmentFault: The registry refuses, or cannot be reached.
        """
        url = f"{self._client.prefix}://{self._host}/v2/{self.address.name}/{path}"
        with _talking(self.address):
            answer = self._client.do_request(url, method, headers={"Accept": accept}, stream=True)
        self._expect(answer, 200)
        return answer

    def pieces(self, answer: Any) -> Iterator[bytes]:
        """Yield the bytes of an answer. Raises EnvironmentFault when it breaks off."""
        with _talking(self.address):
            yield from answer.iter_content(1 << 16)

    def upload(self, path: Path, layer: dict[str, Any]) -> bool:
        """Send a blob unless it is there; return whether it was sent. Raises EnvironmentFault when it is not taken."""
        with _talking(self.address):
            if self._client.blob_exists(layer, self.container):
                return False
            self._expect(self._client.put_upload(str(path), self.container, layer), 201)
        return True

    def publish(self, manifest: dict[str, Any]) -> str:
        """Put the manifest under the tag; returns its digest. Raises EnvironmentFault when it was not taken."""
        with _talking(self.address):
            answer = self._client.upload_manifest(manifest, self.container)
        self._expect(answer, 201)
        return str(answer.headers["Docker-Content-Digest"])

    def _expect(self, answer: Any, status: int) -> None:
        if answer.status_code == status:
            return
        if answer.status_code in (401, 403):
            raise _unauthorised(self.address)
        if answer.status_code == 404:
            raise BundleRefused(
                f"{self.address} is not there", remedy="check registry, name and tag; edgekit push puts one there"
            )
        raise EnvironmentFault(
            f"{self.address.registry} answered {answer.status_code} {answer.reason}", remedy="try again later"
        )


def token_service_without_tls(challenge: str) -> str | None:
    """Return the address of the token service that a ``WWW-Authenticate`` header names, when it has no TLS."""
    realm = re.search(r'^bearer .*realm="(http:[^"]*)"', challenge, re.IGNORECASE)
    return realm[1] if realm else None


def _client(host: str, address: OciAddress, insecure: bool) -> tuple[Any, Any]:
    """Return the client of oras, and its name of the repository."""
    import oras.auth
    import oras.client
    import oras.container

    # oras retries for two minutes without a word; a registry that is not there is said to be so at once.
    send = oras.client.OrasClient.do_request.__wrapped__

    class Client(oras.client.OrasClient):  # type: ignore[misc]  # untyped
        basic_host = ""

        def use_basic(self, host: str) -> None:
            self.basic_host = host
            self.auth = oras.auth.get_auth_backend("basic", self.session, insecure)

        def do_request(self, url: str, method: str = "GET", **options: Any) -> Any:
            if urlsplit(url).netloc != host:  # a storage service that the registry names gets no credentials
                return self.session.request(method, url, **options)
            if self.basic_host:
                options["headers"] = {**(options.get("headers") or {}), **self.auth.get_auth_header()}
            return send(self, url, method, **options)

    client = Client(insecure=insecure)
    client.session.request = partial(client.session.request, timeout=_SECONDS)
    container = oras.container.Container("name")
    # oras' own parser takes a name with a dot for a registry, and a registry without one for a name.
    namespace, _, repository = address.name.rpartition("/")
    container.registry, container.namespace, container.repository = host, namespace, repository
    container.tag, container.digest = address.tag, address.digest
    return client, container


def _docker_configs() -> list[Path]:
    """The configuration that DOCKER_CONFIG names; oras itself reads the one in the home folder."""
    folder = os.environ.get("DOCKER_CONFIG")
    return [Path(folder) / "config.json"] if folder else []


@contextmanager
def _talking(address: OciAddress) -> Iterator[None]:
    """Turn what the client fails with into this package's errors."""
    import requests

    try:
        yield
    except requests.exceptions.SSLError as error:
        raise EnvironmentFault(
            f"{address.registry} does not speak TLS as expected: {_reason(error)}",
            remedy="check its certificate; --plain-http for a registry without TLS",
        ) from error
    except requests.exceptions.Timeout as error:
        raise EnvironmentFault(
            f"{address.registry} did not answer within {_SECONDS[1]:.0f} s", remedy="check the connection and try again"
        ) from error
    except requests.exceptions.RequestException as error:
        raise EnvironmentFault(
            f"{address.registry} cannot be reached, or broke off: {_reason(error)}",
            remedy="check the address and the connection, and try again; what is there already is not sent again",
        ) from error
    except ValueError as error:
        if "authentication" not in str(error):
            raise InputRefused(f"{address.registry} gave a wrong answer: {error}") from error
        raise _unauthorised(address) from error


def _unauthorised(address: OciAddress) -> EnvironmentFault:
    return EnvironmentFault(
        f"{address.registry} does not let you at {address.name}",
        expected="credentials in docker's configuration that may read it, and write it for a push",
        remedy=f"docker login {address.registry} (or podman login --authfile ~/.docker/config.json)",
    )


def _reason(error: Exception) -> str:
    """The last cause of a chain of errors, in a line."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return (str(inner) or type(inner).__name__).splitlines()[0][:200]
