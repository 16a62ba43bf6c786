"""What pip installs on each board, and how many megabytes that is.

    python -m tests.benchmarks.targets [--wheel FILE] [--write docs/device.md]

Asks pip's own resolver for the wheels of another machine: its Python, its architecture and the newest C library that
its system has. pip evaluates environment markers (``python_version < '3.11'``) for the Python that runs it, so they are
evaluated here again for the target, and what they bring is added until nothing is missing. ``edgekit-ai`` itself is
built from this folder. Megabytes are of the wheels, as downloaded, and of the files in them.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks.document import rewrite, table
from tests.benchmarks.footprint import ROOT, built

HEADINGS = ("target", "extra", "packages", "wheels, MB", "unpacked, MB", "resolved to (MB unpacked, where at least 1)")
_ROUNDS = 5


@dataclass(frozen=True)
class Target:
    """A kind of board.

    Attributes:
        name: Its system.
        python: Its Python, e.g. ``3.11``.
        machine: Architecture as in the names of wheels.
        glibc: Minor version of its C library: 36 for 2.36.
        extras: What is installed there.
    """

    name: str
    python: str
    machine: str
    glibc: int
    extras: tuple[str, ...] = ("litert", "onnxruntime")

    @property
    def platforms(self) -> list[str]:
        """Tags of wheels that run there, the newest first."""
        return [
            *(f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 16, -1)),
            f"manylinux2014_{self.machine}",
            f"linux_{self.machine}",
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What environment markers see there."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }


TARGETS = (
    Target("Raspberry Pi OS bookworm", "3.11", "aarch64", 36),
    Target("Raspberry Pi OS trixie", "3.13", "aarch64", 41),
    Target("Debian or Ubuntu 24.04 on ARM", "3.12", "aarch64", 39),
    Target("JetPack 6", "3.10", "aarch64", 35),
    Target("JetPack 7", "3.12", "aarch64", 39),
    Target("64-bit ARM through tflite-runtime", "3.11", "aarch64", 36, ("tflite",)),
    Target("32-bit Raspberry Pi OS bookworm", "3.11", "armv7l", 36, ("tflite",)),
)


class Unresolved(RuntimeError):
    """pip found no wheels for a target; the text says of which packages."""


def resolve(target: Target, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Return pip's report on each package that it would install on a target.

    Args:
        target: The target.
        wanted: Requirements; files of wheels with their extras.

    Raises:
        Unresolved: A package has no wheel for the target.
    """
    words = list(wanted)
    for _ in range(_ROUNDS):
        items = _ask(target, words)
        missing = sorted(set(_missing(target, items, wanted)))
        if not missing:
            return _reachable(target, items, wanted)
        words += missing
    raise Unresolved(f"markers bring ever more packages: {', '.join(words)}")


def _ask(target: Target, words: Sequence[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"),
            *("--ignore-installed", "--report", str(report), "--target", folder, "--only-binary=:all:"),
            *("--python-version", target.python),
            *(word for platform in target.platforms for word in ("--platform", platform)),
        ]
        done = subprocess.run([*command, *words], check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: No matching")]
            raise Unresolved("; ".join(line.removeprefix("ERROR: ") for line in errors) or done.stderr[-2000:])
        items: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return items


def _needs(target: Target, item: Mapping[str, Any], extras: Sequence[str]) -> Iterator[Requirement]:
    """Yield what a package requires on a target."""
    for text in item["metadata"].get("requires_dist", ()):
        need = Requirement(text)
        contexts = [{**target.environment, "extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(need.marker.evaluate(context) for context in contexts):
            yield need


def _walk(
    target: Target, items: Sequence[Mapping[str, Any]], wanted: Sequence[str]
) -> tuple[dict[str, Mapping[str, Any]], list[Requirement]]:
    """Go from what was wanted to everything it requires; return what was found, and what is not there."""
    named = {canonicalize_name(item["metadata"]["name"]): item for item in items}
    roots = [(canonicalize_name("edgekit-ai"), word.rpartition("[")[2].rstrip("]").split(",")) for word in wanted]
    found: dict[str, Mapping[str, Any]] = {}
    absent = []
    queue: list[tuple[str, list[str]]] = [*roots]
    while queue:
        name, extras = queue.pop()
        found[name] = named[canonicalize_name(name)]
        for need in _needs(target, found[name], extras):
            other = canonicalize_name(need.name)
            if other not in named:
                absent.append(need)
            elif other not in found or need.extras:
                queue.append((other, sorted(need.extras)))
    return found, absent


def _missing(target: Target, items: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[str]:
    return [f"{need.name}{need.specifier}" for need in _walk(target, items, wanted)[1]]


def _reachable(target: Target, items: list[dict[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Leave out what only the markers of the Python that runs pip brought."""
    found, _ = _walk(target, items, wanted)
    return [item for item in items if canonicalize_name(item["metadata"]["name"]) in found]


@cache
def sizes(url: str) -> tuple[int, int]:
    """Return the bytes of a wheel, and of the files in it."""
    if url.startswith("file:"):
        data = Path(url.removeprefix("file://")).read_bytes()
    else:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310  # pip named it
            data = answer.read()
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        return len(data), sum(entry.file_size for entry in wheel.infolist())


def row(target: Target, extra: str, wheel: Path) -> list[str]:
    """One line of the table."""
    about = [f"{target.name} ({target.machine}, Python {target.python})", f"`{extra}`"]
    try:
        items = resolve(target, [f"{wheel}[{extra}]"])
    except Unresolved as error:
        return [*about, "", "", "", f"{error} on the usual index"]
    found = [(item["metadata"], *sizes(item["download_info"]["url"])) for item in items]
    found.sort(key=lambda entry: -entry[2])
    listed = ", ".join(_told(metadata, unpacked) for metadata, _, unpacked in found)
    packed, unpacked = (sum(entry[at] for entry in found) / 1e6 for at in (1, 2))
    return [*about, str(len(found)), f"{packed:.0f}", f"{unpacked:.0f}", listed]


def _told(metadata: Mapping[str, Any], unpacked: int) -> str:
    megabytes = f" ({unpacked / 1e6:.0f})" if unpacked >= 1e6 else ""
    return f"{metadata['name']} {metadata['version']}{megabytes}"


def main() -> None:
    """Resolve every target and print the table, or put it into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="of edgekit; built here by default")
    parser.add_argument("--write", type=Path, help="document whose table is replaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or built(Path(folder))
        text = table(HEADINGS, [row(target, extra, wheel) for target in TARGETS for extra in target.extras])
    if options.write is None:
        print(text)
    else:
        rewrite(ROOT / options.write, "targets", text)


if __name__ == "__main__":
    main()
