"""Bring the thin runtime onto a board: an environment of its own, and edgekit of this version in it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.remote.devices import Device
from edgekit_runtimes.remote.ssh import output_of, shell_path

PACKAGE = "edgekit-ai"
EXTRAS = ("litert", "onnxruntime", "openvino", "text", "mqtt", "serve", "sound")
_OLDEST = (3, 10)
_ASK = (
    "import sys, platform, json, importlib.util as u; "
    "print(json.dumps([list(sys.version_info[:2]), platform.machine(), bool(u.find_spec('ensurepip'))]))"
)
_COUNT = (
    "import importlib.metadata as m, json; "
    "found = {d.name: d for d in m.distributions()}; "
    "size = sum(f.locate().stat().st_size for d in found.values() for f in d.files or () if f.locate().is_file()); "
    "print(json.dumps([{n: d.version for n, d in found.items()}, size]))"
)


@dataclass(frozen=True)
class Installed:
    """What a board has now.

    Attributes:
        python: Version of its Python.
        machine: Its processor, e.g. ``aarch64``.
        packages: Name -> version.
        bytes: Size of their files.
    """

    python: str
    machine: str
    packages: dict[str, str]
    bytes: int


def install(device: Device, extras: tuple[str, ...], tell: Callable[[str], None]) -> Installed:
    """Install edgekit of this version and the engines asked for.

    Args:
        device: The board; its Python must be 3.10 or newer.
        extras: Extras of the package, such as ``litert``.
        tell: Told of each step.

    Raises:
        UsageError: An unknown extra, or a board with an interpreter of its own.
        EnvironmentFault: The board cannot be reached, has no suitable Python or no network.
    """
    if device.python is not None:
        raise UsageError(
            f"{device.name} runs edgekit with {device.python}, which was there before",
            remedy=f"edgekit device add {device.name} {device.host}, without --python",
        )
    unknown = [extra for extra in extras if extra not in EXTRAS]
    if unknown:
        raise UsageError(f"--with {unknown[0]}", expected=" or ".join(EXTRAS))
    version, machine, venv = json.loads(output_of(device, f"python3 -c {shlex.quote(_ASK)}"))
    if tuple(version) < _OLDEST:
        raise EnvironmentFault(f"{device.name} has Python {version[0]}.{version[1]}", expected="3.10 or newer")
    if not venv:
        raise EnvironmentFault(
            f"{device.name} cannot make environments", remedy=f"ssh {device.host} sudo apt install python3-venv"
        )
    tell(f"{device.name}: Python {version[0]}.{version[1]} on {machine}")
    home = shell_path(device.home)
    output_of(device, f"mkdir -p {home} && python3 -m venv {home}/venv")
    requirement = _requirement(device, tell)
    tell(f"install {PACKAGE}[{','.join(extras)}] there")
    pip = f"{home}/venv/bin/python -m pip install --quiet --disable-pip-version-check"
    quoted = f"{requirement}{shlex.quote('[' + ','.join(extras) + ']')}" if extras else requirement
    output_of(device, f"{pip} --upgrade {quoted}", timeout=1800)
    packages, size = json.loads(output_of(device, f"{home}/venv/bin/python -c {shlex.quote(_COUNT)}"))
    return Installed(f"{version[0]}.{version[1]}", machine, packages, size)


def _requirement(device: Device, tell: Callable[[str], None]) -> str:
    """What pip installs there: the released version, or the wheel of a working copy, sent over."""
    source = working_copy()
    if source is None:
        return shlex.quote(f"{PACKAGE}=={distribution(PACKAGE).version}")
    with tempfile.TemporaryDirectory() as folder:
        tell(f"build the wheel of {source}")
        wheel = built(source, Path(folder))
        place = f"{shell_path(device.home)}/{wheel.name}"
        tell(f"send it: {wheel.stat().st_size / 1e3:.0f} kB")
        output_of(device, f"cat > {place}.part && mv {place}.part {place}", stdin=wheel.read_bytes())
    return place


def working_copy() -> Path | None:
    """Folder of the source that edgekit runs from here; ``None`` for an installed release."""
    text = distribution(PACKAGE).read_text("direct_url.json")
    if not text:
        return None
    url = urlparse(json.loads(text)["url"])
    folder = Path(url2pathname(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


def built(source: Path, folder: Path) -> Path:
    """Build a wheel. Raises EnvironmentFault when that fails."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise EnvironmentFault(f"the wheel of {source} cannot be built: {done.stderr.strip()[-300:]}")
    return wheels[0]
