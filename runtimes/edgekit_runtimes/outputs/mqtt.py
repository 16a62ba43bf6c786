"""Results to an MQTT broker, with availability and Home Assistant's discovery."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgeKitError, EnvironmentFault, MissingExtra
from edgekit_runtimes.outputs.home_assistant import MAX_STATE, discovery
from edgekit_runtimes.outputs.mqtt_address import MqttAddress
from edgekit_runtimes.outputs.records import answer_dict, finite_json
from edgekit_runtimes.outputs.sink import Answer, Sink

if TYPE_CHECKING:
    from paho.mqtt.client import Client

QUEUE = 64
"""Results that wait for a broker that is slow or away; beyond that the oldest is dropped."""

_CONNECT = 5.0  # seconds for the broker to answer
_DRAIN = 2.0  # seconds for what waits when it ends
_KEEPALIVE = 30  # seconds of silence after which the connection is tested
_LONGEST_BACK_OFF = 60  # seconds


class Mqtt(Sink):
    """Publishes each due result as JSON: that of a JSON line, and ``label`` and ``score`` of the best class.

    The topic below it, ``…/availability``, says ``online`` or, also after a crash, ``offline``. A broker that goes
    away is tried again with growing pauses while results wait in a bounded queue; the pipeline never waits.

    Args:
        address: Where and how often.
        title: Name of the device in Home Assistant.
        clock: Seconds, as :func:`time.monotonic`.

    Attributes:
        dropped: Results that were due and did not reach the broker.
        connections: Times that the broker was reached.

    Raises:
        EnvironmentFault: The broker cannot be reached now or refuses the log-in.
        MissingExtra: paho-mqtt is not installed.
    """

    def __init__(
        self, address: MqttAddress, title: str = "edgekit", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.address = address
        self.dropped = 0
        self.connections = 0
        self._title, self._clock = title, clock
        self._scored: bool | None = None
        self._last: tuple[str, float] | None = None
        self._queue: deque[str] = deque()
        self._changed = threading.Condition()
        self._connected = self._closing = False
        self._refusal = ""
        self._client = _client(address)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._connect()
        self._worker = threading.Thread(target=self._publish_all, name="mqtt-publisher", daemon=True)
        self._worker.start()
        self.notice = f"publishing to {address}"

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._connected

    def answer(self, answer: Answer) -> None:
        """Queue one result if it is due. Raises DataRefused when a number is not finite, which JSON cannot carry."""
        best = getattr(answer.result, "best", None)
        label = (best.name if best else str(answer.result))[:MAX_STATE]
        if not self._due(label):
            return
        score = {"score": best.score} if best else {}
        text = finite_json(answer.name, {"label": label, **score, "rate": answer.rate} | answer_dict(answer))
        if self._scored is None:
            self._scored = best is not None
            self._announce()
        with self._changed:
            if len(self._queue) == QUEUE:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(text)
            self._last = (label, self._clock())
            self._changed.notify_all()

    def close(self) -> None:
        """Publish what waits, for at most `_DRAIN` seconds, and say ``offline``.

        Raises:
            EnvironmentFault: With QoS 1, results did not reach the broker.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._worker.join(_DRAIN + 1)
        if self._connected:
            said = self._client.publish(self.address.availability, "offline", 1, retain=True)
            _wait(lambda: said.wait_for_publish(1.0))
        self._end()
        if self.address.qos and self.dropped:
            raise EnvironmentFault(
                f"{self.dropped} results did not reach {self.address}",
                remedy="look after the broker, or publish less with every= or change=1",
            )

    def _due(self, label: str) -> bool:
        if self._last is None:
            return True
        last, at = self._last
        waited = self._clock() - at >= self.address.every
        if self.address.change:
            return label != last or (self.address.every > 0 and waited)
        return waited

    def _connect(self) -> None:
        try:
            self._client.connect(self.address.host, self.address.port, _KEEPALIVE)
        except (OSError, ValueError) as error:
            raise self._fault(f"cannot be reached: {getattr(error, 'strerror', None) or error}") from error
        self._client.loop_start()
        with self._changed:
            answered = self._changed.wait_for(lambda: self._connected or bool(self._refusal), _CONNECT)
        if not self._connected:
            self._end()
            raise self._fault(f"refuses: {self._refusal}" if answered else f"did not answer in {_CONNECT:.0f} s")

    def _end(self) -> None:
        self._client.disconnect()
        stop = threading.Thread(target=self._client.loop_stop, daemon=True)  # it may be resolving a name
        stop.start()
        stop.join(1.0)
        # The client closes its own sockets when it is deleted, which a cycle through these would put off.
        self._client.on_connect = self._client.on_disconnect = None

    def _fault(self, what: str) -> EdgeKitError:
        return EnvironmentFault(
            f"the MQTT broker of {self.address} {what}",
            expected="a running broker that lets this user in",
            remedy="check host, port, user and password, and that the broker runs",
        )

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = not reason.is_failure
            self._refusal = str(reason) if reason.is_failure else ""
            self.connections += self._connected
            self._changed.notify_all()
        if self._connected:
            client.publish(self.address.availability, "online", 1, retain=True)
            self._announce()

    def _on_disconnect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()

    def _announce(self) -> None:
        """Publish the discovery messages, once it is known which sensors there are."""
        if self._scored is None or not self._connected:
            return
        for topic, text in discovery(self.address, self._title, self._scored).items():
            self._client.publish(topic, text, 1, retain=True)

    def _publish_all(self) -> None:
        """Publish one result after the other, each when the broker has taken the one before."""
        end = float("inf")
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._connected and self._queue))
                if self._closing:
                    end = min(end, time.monotonic() + _DRAIN)
                if self._closing and not (self._queue and self._connected and time.monotonic() < end):
                    self.dropped += len(self._queue)
                    return
                text = self._queue.popleft()
            lost = not self._publish(text)
            with self._changed:
                self.dropped += lost

    def _publish(self, text: str) -> bool:
        """Publish one result; False when it was lost with the connection or at the end."""
        info = self._client.publish(self.address.topic, text, self.address.qos)
        end = float("inf")
        while time.monotonic() < end:
            if self._closing:
                end = min(end, time.monotonic() + _DRAIN)
            if not _wait(lambda: info.wait_for_publish(0.2)):
                self._await_disconnect()
                # With QoS 1 the client keeps it and sends it when it is connected again.
                return self.address.qos > 0 and not self._closing
            if info.is_published():
                return True
        return False

    def _await_disconnect(self) -> None:
        """Wait until the lost connection is known as such; the rest of the queue would follow what was just lost."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not self._connected, 1.0)


def _wait(call: Callable[[], None]) -> bool:
    try:
        call()
    except (RuntimeError, ValueError):  # not connected, or the connection was lost meanwhile
        return False
    return True


def _client(address: MqttAddress) -> Client:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise MissingExtra(
            "MQTT needs paho-mqtt, which is not installed", remedy="pip install 'edgekit-ai[mqtt]'"
        ) from error
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect_timeout = _CONNECT
    client.reconnect_delay_set(1, _LONGEST_BACK_OFF)
    client.will_set(address.availability, "offline", 1, retain=True)
    if address.user:
        client.username_pw_set(address.user, address.password or None)
    if address.tls:
        client.tls_set(str(address.ca) if address.ca else None)
    return client
