"""MQTT, with a real Mosquitto that is stopped and started again."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.errors import DataRefused, EnvironmentFault
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes.outputs.mqtt import QUEUE, Mqtt
from edgekit_runtimes.outputs.mqtt_address import parse_address
from edgekit_runtimes.outputs.sink import Answer
from tests.runtimes.outputs.waiting import eventually

AnswerMaker = Callable[..., Answer]


class Listener:
    """Hears every topic."""

    def __init__(self, port: int, login: tuple[str, str] | None = None) -> None:
        self._heard: queue.Queue[tuple[str, str, bool]] = queue.Queue()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(1, 1)
        if login:
            self.client.username_pw_set(*login)
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: self._heard.put(("", "subscribed", False))
        self.client.on_message = lambda c, d, m: self._heard.put((m.topic, m.payload.decode(), bool(m.retain)))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.next("") == "subscribed"

    def next(self, topic: str) -> str:
        """Return the next message of a topic; others before it are passed over."""
        while True:
            heard, text, _ = self._heard.get(timeout=20)
            if heard == topic:
                return text

    def result(self, topic: str = "home/cam") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.next(topic))
        return found

    def retained(self) -> dict[str, str]:
        """Return what the broker had kept, topic -> text."""
        found: dict[str, str] = {}
        while True:
            try:
                topic, text, kept = self._heard.get(timeout=0.3)
            except queue.Empty:
                return found
            if kept:
                found[topic] = text


ListenerMaker = Callable[..., AbstractContextManager[Listener]]


@pytest.fixture
def listen() -> ListenerMaker:
    @contextmanager
    def make(port: int, login: tuple[str, str] | None = None) -> Iterator[Listener]:
        listener = Listener(port, login)
        try:
            yield listener
        finally:
            listener.client.disconnect()
            listener.client.loop_stop()
            listener.client.on_message = listener.client.on_subscribe = listener.client.on_connect = None

    return make


def opened(port: int, options: str = "", user: str = "") -> Mqtt:
    return Mqtt(parse_address(f"mqtt://{user}127.0.0.1:{port}/home/cam{options}", {}), "Front door")


@pytest.mark.parametrize("qos", [0, 1])
def test_results_and_availability(
    make_broker: Callable[..., Any], listen: ListenerMaker, make_answer: AnswerMaker, qos: int
) -> None:
    broker = make_broker()
    with listen(broker.port) as listener:
        with opened(broker.port, f"?qos={qos}") as sink:
            assert listener.next("home/cam/availability") == "online"
            for number in range(QUEUE):
                sink.answer(make_answer(f"frame {number}", captured=1.0, age=0.5, rate=9.0))
            heard = [listener.result() for _ in range(QUEUE)]
        assert [message["input"] for message in heard] == [f"frame {number}" for number in range(QUEUE)]
        assert {key: heard[0][key] for key in ("label", "score", "rate", "age")} == {
            "label": "cat",
            "score": 0.75,
            "rate": 9.0,
            "age": 0.5,
        }
        assert heard[0]["result"]["labels"][1]["name"] == "dog"
        assert listener.next("home/cam/availability") == "offline"


def test_home_assistant_finds_the_sensors(
    make_broker: Callable[..., Any], listen: ListenerMaker, make_answer: AnswerMaker
) -> None:
    broker = make_broker()
    with listen(broker.port) as first, opened(broker.port) as sink:
        sink.answer(make_answer())
        first.result()
        with listen(broker.port) as listener:
            kept = listener.retained()
    sensors = {topic.split("/")[3]: json.loads(text) for topic, text in kept.items() if topic.endswith("/config")}
    assert kept["home/cam/availability"] == "online"
    assert set(kept) - {"home/cam/availability"} == {
        f"homeassistant/sensor/home_cam/{key}/config" for key in ("label", "rate", "score")
    }
    assert len({sensor["unique_id"] for sensor in sensors.values()}) == 3
    for sensor in sensors.values():
        assert sensor["state_topic"] == "home/cam"
        assert sensor["availability_topic"] == "home/cam/availability"
        assert sensor["device"]["name"] == "Front door"
        assert sensor["device"]["identifiers"] == ["edgekit_home_cam"]
    assert sensors["score"]["unit_of_measurement"] == "%"
    assert sensors["label"]["value_template"] == "{{ value_json.label }}"


def test_results_without_classes_have_no_score(make_broker: Callable[..., Any], listen: ListenerMaker) -> None:
    broker = make_broker()
    with listen(broker.port) as listener, opened(broker.port) as sink:
        sink.answer(Answer("a", Arrays({"x": np.arange(3.0)})))
        assert json.loads(listener.next("homeassistant/sensor/home_cam/label/config"))["name"] == "Result"
        message = listener.result()
    assert message["label"] == "x [0., 1., 2.]"
    assert message["result"] == {"x": [0.0, 1.0, 2.0]}
    assert "score" not in message


@pytest.mark.parametrize(
    ("options", "heard"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("?every=10", [0, 3, 5]),
        ("?change=1", [0, 2, 5]),
        ("?change=1&every=10", [0, 2, 4, 5]),
    ],
)
def test_only_what_is_due_is_published(
    make_broker: Callable[..., Any],
    listen: ListenerMaker,
    make_answer: AnswerMaker,
    options: str,
    heard: list[int],
) -> None:
    broker = make_broker()
    now = [0.0]
    script = [(0.0, "cat"), (5.0, "cat"), (9.0, "dog"), (11.0, "dog"), (19.5, "dog"), (30.0, "cat")]
    address = parse_address(f"mqtt://127.0.0.1:{broker.port}/home/cam{options}", {})
    with listen(broker.port) as listener:
        with Mqtt(address, clock=lambda: now[0]) as sink:
            for number, (at, label) in enumerate(script):
                now[0] = at
                sink.answer(make_answer(str(number), label=label))
        assert [int(listener.result()["input"]) for _ in heard] == heard
        assert listener.next("home/cam/availability") in ("online", "offline")


@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_goes_and_comes_back(
    make_broker: Callable[..., Any], listen: ListenerMaker, make_answer: AnswerMaker, qos: int
) -> None:
    broker = make_broker()
    sink = opened(broker.port, f"?qos={qos}")
    sink.answer(make_answer("before"))
    with listen(broker.port) as listener:
        sink.answer(make_answer("before"))
        listener.result()
    broker.stop()
    eventually(lambda: not sink.connected)
    started = time.monotonic()
    for number in range(1000):
        sink.answer(make_answer(f"frame {number}"))
    assert time.monotonic() - started < 10  # nobody waits for the broker
    assert sink.dropped == 1000 - QUEUE
    broker.start()
    with listen(broker.port) as listener:
        message = listener.result()
        while message["input"] != "frame 999":
            message = listener.result()
    assert sink.connections == 2
    with listen(broker.port) as listener:
        kept = listener.retained()
        assert kept["home/cam/availability"] == "online"
        assert "homeassistant/sensor/home_cam/label/config" in kept
    if qos:
        with pytest.raises(EnvironmentFault, match=r"\d+ results did not reach mqtt://127"):
            sink.close()
    else:
        sink.close()


def test_the_end_does_not_wait_for_a_broker_that_is_away(
    make_broker: Callable[..., Any], make_answer: AnswerMaker
) -> None:
    broker = make_broker()
    sink = opened(broker.port)
    broker.stop()
    sink.answer(make_answer())
    started = time.monotonic()
    sink.close()
    assert time.monotonic() - started < 5
    assert sink.dropped == 1


CRASH = """
import os, sys
from edgekit_runtimes.outputs.mqtt import Mqtt
from edgekit_runtimes.outputs.mqtt_address import parse_address
sink = Mqtt(parse_address(sys.argv[1]))
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def test_a_crash_leaves_offline(make_broker: Callable[..., Any], listen: ListenerMaker) -> None:
    broker = make_broker()
    command = [sys.executable, "-c", CRASH, f"mqtt://127.0.0.1:{broker.port}/home/cam"]
    with listen(broker.port) as listener, subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert listener.next("home/cam/availability") == "online"
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert listener.next("home/cam/availability") == "offline"


def test_a_log_in(make_broker: Callable[..., Any], listen: ListenerMaker, make_answer: AnswerMaker) -> None:
    broker = make_broker(login=("ann", "s3cret/?"))
    with pytest.raises(EnvironmentFault, match=r"ann@127\.0\.0\.1:\d+/home/cam refuses: Not authorized") as refused:
        opened(broker.port, user="ann:s3cretwrong@")
    assert "s3cret" not in str(refused.value)
    with (
        listen(broker.port, ("ann", "s3cret/?")) as listener,
        opened(broker.port, user="ann:s3cret%2F%3F@") as sink,
    ):
        sink.answer(make_answer())
        assert listener.result()["label"] == "cat"
        assert "s3cret" not in sink.notice


def test_a_broker_that_is_not_there(make_broker: Callable[..., Any]) -> None:
    broker = make_broker()
    broker.stop()
    with pytest.raises(EnvironmentFault, match=r"u@127(.|\n)*cannot be reached: Connection refused") as refused:
        opened(broker.port, user="u:s3cret@")
    assert "s3cret" not in str(refused.value)


def test_numbers_that_are_none_are_refused(make_broker: Callable[..., Any], make_answer: AnswerMaker) -> None:
    broker = make_broker()
    with opened(broker.port) as sink, pytest.raises(DataRefused, match="NaN"):
        sink.answer(make_answer(score=float("nan")))
