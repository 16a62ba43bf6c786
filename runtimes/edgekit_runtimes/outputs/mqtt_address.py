"""The address of an MQTT topic, with what to publish there and how often."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from edgekit.errors import UsageError

GRAMMAR = "mqtt[s]://[user[:password]@]host[:port]/topic[?qos=0|1&every=SECONDS&change=0|1&ca=FILE]"
PASSWORD_VARIABLE = "EDGEKIT_MQTT_PASSWORD"  # noqa: S105  its name, not its value

_OPTIONS = {"qos", "every", "change", "ca"}
_MAX_TOPIC = 1024


@dataclass(frozen=True)
class MqttAddress:
    """Where and how to publish.

    Attributes:
        host: Broker.
        topic: Results go here.
        port: TCP port.
        tls: Whether to encrypt and to check the broker's certificate.
        user: Name to log in with; empty for none.
        password: Never shown.
        qos: Quality of service of results: 0 (at most once) or 1 (at least once).
        every: Least seconds between two results; with ``change``, the most without one.
        change: Publish when the best label, or the result's text, is another than before.
        ca: Certificate authority of the broker; ``None`` for the system's.
    """

    host: str
    topic: str
    port: int = 1883
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    qos: int = 0
    every: float = 0.0
    change: bool = False
    ca: Path | None = None

    def __str__(self) -> str:
        """The address without the password."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{user}{host}:{self.port}/{self.topic}"

    @property
    def availability(self) -> str:
        """Topic that says ``online`` or ``offline``."""
        return f"{self.topic}/availability"

    @property
    def node(self) -> str:
        """The topic in letters that Home Assistant takes for an identifier."""
        return re.sub(r"[^a-zA-Z0-9_-]+", "_", self.topic)


def parse_address(text: str, environment: Mapping[str, str] = os.environ) -> MqttAddress:
    """Read an address.

    Args:
        text: As `GRAMMAR` says; letters with a meaning of their own are percent-encoded in names and passwords.
        environment: Where `PASSWORD_VARIABLE` may hold the password, which command lines show to everybody.

    Raises:
        UsageError: It is no such address; the message does not repeat it, as it may hold a password.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        _refuse("the MQTT address cannot be read")
    if parts.scheme not in ("mqtt", "mqtts") or not host:
        _refuse("the MQTT address has no host")
    if parts.fragment or set(options) - _OPTIONS:
        _refuse("the MQTT address has an unknown option or an unescaped #")
    tls = parts.scheme == "mqtts"
    user = unquote(parts.username or "")
    return MqttAddress(
        host=host,
        topic=_topic(unquote(parts.path)),
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=user,
        password=unquote(parts.password or "") or (environment.get(PASSWORD_VARIABLE, "") if user else ""),
        qos=int(_option(options, "qos", "0", "0|1")),
        every=float(_option(options, "every", "0", r"\d{1,9}(\.\d{1,6})?")),
        change=_option(options, "change", "0", "0|1") == "1",
        ca=_authority(options, tls),
    )


def _option(options: Mapping[str, list[str]], name: str, default: str, pattern: str) -> str:
    value = options.get(name, [default])[-1]
    if not re.fullmatch(pattern, value):
        _refuse(f"the MQTT option {name} has another value")
    return value


def _authority(options: Mapping[str, list[str]], tls: bool) -> Path | None:
    if "ca" not in options:
        return None
    path = Path(options["ca"][-1])
    if not tls or not path.is_file():
        _refuse(
            f"the MQTT option ca names {path}, " + ("which is no file" if tls else "but the address is not mqtts://")
        )
    return path


def _topic(path: str) -> str:
    topic = path.strip("/")
    if not topic or len(topic.encode()) > _MAX_TOPIC or any(c in "#+\0" for c in topic) or topic.startswith("$"):
        _refuse("the MQTT address names no topic to publish to (none, one with # or +, or one of the broker's own)")
    return topic


def _refuse(received: str) -> NoReturn:
    raise UsageError(
        received, expected=GRAMMAR, remedy="percent-encode letters such as / # ? @ in user, password and topic"
    ) from None
