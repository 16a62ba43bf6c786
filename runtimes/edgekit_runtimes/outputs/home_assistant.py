"""Home Assistant's discovery messages: the sensors appear there by themselves."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgekit_runtimes.outputs.mqtt_address import MqttAddress

PREFIX = "homeassistant"
MAX_STATE = 255
"""Characters of a sensor's state."""


def discovery(address: MqttAddress, title: str, scored: bool) -> dict[str, str]:
    """Return retained messages, topic -> JSON, that announce the sensors of one device.

    Args:
        address: Where the results go.
        title: Name of the device.
        scored: Whether the results have a score.

    References:
        https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
    """
    sensors = {
        "label": {"name": "Result", "icon": "mdi:eye", "value_template": "{{ value_json.label }}"},
        "rate": {
            "name": "Rate",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "1/s",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.rate }}",
        },
    }
    if scored:
        sensors["score"] = {
            "name": "Score",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": "1",
            "value_template": "{{ (value_json.score * 100) | round(1) }}",
        }
    common = _common(address, title)
    return {
        f"{PREFIX}/sensor/{address.node}/{key}/config": json.dumps(
            common | sensor | {"unique_id": f"edgekit_{address.node}_{key}", "object_id": f"{address.node}_{key}"},
            ensure_ascii=False,
        )
        for key, sensor in sensors.items()
    }


def _version() -> str:
    try:
        return version("edgekit-ai")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _common(address: MqttAddress, title: str) -> dict[str, Any]:
    return {
        "state_topic": address.topic,
        "availability_topic": address.availability,
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": [f"edgekit_{address.node}"],
            "name": title,
            "manufacturer": "edgekit",
            "sw_version": _version(),
        },
        "origin": {"name": "edgekit", "sw_version": _version()},
    }
