"""MQTT addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit_runtimes.outputs.mqtt_address import PASSWORD_VARIABLE, MqttAddress, parse_address


def test_the_whole_grammar(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    address = parse_address(
        f"mqtts://ann:p%40ss%2Fword@broker.lan:1234/home/door%20cam?qos=1&every=2.5&change=1&ca={authority}"
    )
    assert address == MqttAddress(
        host="broker.lan",
        topic="home/door cam",
        port=1234,
        tls=True,
        user="ann",
        password="p@ss/word",
        qos=1,
        every=2.5,
        change=True,
        ca=authority,
    )
    assert str(address) == "mqtts://ann@broker.lan:1234/home/door cam"
    assert "ss/word" not in repr(address)
    assert address.availability == "home/door cam/availability"
    assert address.node == "home_door_cam"


@pytest.mark.parametrize(("scheme", "port"), [("mqtt", 1883), ("mqtts", 8883)])
def test_defaults(scheme: str, port: int) -> None:
    address = parse_address(f"{scheme}://[::1]/cam", {})
    assert (address.host, address.port, address.user, address.qos, address.every) == ("::1", port, "", 0, 0)
    assert str(address) == f"{scheme}://[::1]:{port}/cam"


def test_the_password_may_come_from_the_environment() -> None:
    assert parse_address("mqtt://ann@host/cam", {PASSWORD_VARIABLE: "s3cret"}).password == "s3cret"
    assert parse_address("mqtt://host/cam", {PASSWORD_VARIABLE: "s3cret"}).password == ""


@pytest.mark.parametrize(
    "text",
    [
        "mqtt://ann:s3cret@host",
        "mqtt://ann:s3cret@host/",
        "mqtt://ann:s3cret@/topic",
        "mqtt://ann:s3cret@host/a/%23",
        "mqtt://ann:s3cret@host/a/+/b",
        "mqtt://ann:s3cret@host/$SYS/a",
        "mqtt://ann:s3cret@host:port/topic",
        "mqtt://ann:s3cret@host:99999/topic",
        "mqtt://ann:s3cret/x@host/topic",
        "mqtt://ann:s3cret#x@host/topic",
        "mqtt://ann:s3cret@[host/topic",
        "mqtt://ann:s3cret@host/topic?qos=2",
        "mqtt://ann:s3cret@host/topic?every=-1",
        "mqtt://ann:s3cret@host/topic?every=nan",
        "mqtt://ann:s3cret@host/topic?colour=red",
        "mqtt://ann:s3cret@host/topic?ca=/no/such/file",
        "http://ann:s3cret@host/topic",
    ],
)
def test_what_is_none_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected mqtt\[s\]://") as refused:
        parse_address(text, {})
    shown = str(refused.value) + repr(refused.value.__cause__)
    assert "s3cret" not in shown
    assert refused.value.__suppress_context__
