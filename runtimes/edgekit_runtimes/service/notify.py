"""What a service tells systemd: that it is ready, that it advances, that it ends (sd_notify(3)).

Outside of a service nothing is told. The watchdog is fed by answers alone: a run whose camera has frozen, or whose
engine hangs, is one that systemd starts anew.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_LEAST_SECONDS = 1.0


class Notifier:
    """Tells systemd of answers.

    Args:
        environment: With ``NOTIFY_SOCKET``, where the process is a service that tells.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ready = False
        self._told = 0.0

    def answered(self, count: int, rate: float) -> None:
        """Take note of an answer; the first one is when the service is ready.

        Args:
            count: Answers so far.
            rate: Answers a second of late.
        """
        now = time.monotonic()
        if not self._address or (self._ready and now - self._told < _LEAST_SECONDS):
            return
        ready = "" if self._ready else "READY=1\n"
        self._send(f"{ready}WATCHDOG=1\nSTATUS={count} answers, {rate:.1f} a second")
        self._ready, self._told = True, now

    def stopping(self) -> None:
        """Tell that the end has begun."""
        if self._address:
            self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        # A service manager that does not listen is no reason to stop answering.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.sendto(text.encode(), self._address)
