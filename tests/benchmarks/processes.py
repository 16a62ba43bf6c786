"""What a command and the processes that it starts take, as Linux counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reading:
    """A process at one moment.

    Attributes:
        resident: Bytes.
        descriptors: Open files, sockets and pipes.
        threads: Threads.
    """

    resident: int
    descriptors: int
    threads: int


def family(root: int) -> Iterator[int]:
    """The process and its descendants, whichever of their threads started them."""
    yield root
    try:
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))
    except OSError:
        return


def reading(pid: int) -> Reading | None:
    """Read a process; ``None`` when it has ended."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Reading(int(fields["VmRSS"].split()[0]) << 10, descriptors, int(fields["Threads"]))
    except (OSError, KeyError):
        return None
