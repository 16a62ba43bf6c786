"""Peak memory of this process."""

from __future__ import annotations

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_megabytes() -> float:
    """Largest resident memory so far, this process and the largest of its finished children together.

    Linux tells it of this program alone (``VmHWM``). ``getrusage`` counts what was resident before the ``exec`` as
    well, which would be the parent's memory: it is asked only where there is no ``/proc``, and for the children.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if not STATUS.is_file():
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + children) / 1024
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return (int(line.split()[1]) + children) / 1024
