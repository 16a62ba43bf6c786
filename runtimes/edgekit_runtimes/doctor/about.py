"""The child that imports an engine for the doctor: its library may hang or crash while it is loaded.

Started by `edgekit_runtimes.doctor.engines`; not a command for people.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from edgekit.engine import engine_class
from edgekit.errors import EdgeKitError


def main() -> None:
    """Print as one line of JSON what the engine named on the command line runs, and on which providers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code that prints cannot break the line
    reply: dict[str, list[Any]]
    try:
        found = engine_class(sys.argv[1])
        reply = {"formats": list(found.formats), "providers": list(found.available_providers())}
    except EdgeKitError as error:
        reply = {"error": [type(error).__name__, error.received, error.remedy]}
    answers.write(json.dumps(reply) + "\n")
    answers.flush()
    os._exit(0)  # skips the destructors of native libraries, some of which crash
