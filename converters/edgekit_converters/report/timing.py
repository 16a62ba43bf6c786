"""Times of a bundle's artifacts: what `edgekit bench` says, asked in a child, on a board where one is named."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentFault
from edgekit_converters.report.findings import Benched, Timing

_PATIENCE_SECONDS = 900
_THROTTLED = 4


def bench(bundle: Path, seconds: float, device: str | None) -> Benched:
    """Measure all artifacts of a bundle.

    Args:
        bundle: The bundle.
        seconds: Timed, at least, of each artifact.
        device: Name of a board; ``None`` measures here.

    Raises:
        EnvironmentFault: No engine is installed, the board cannot be reached, or it takes too long.
    """
    words = ["bench", str(bundle), "--all", "--operators", "--roofline", "--json", "-"]
    words += ["--seconds", f"{seconds:g}", "--runs", "20", *(["--on", device] if device else [])]
    command = [sys.executable, "-m", "edgekit.cli", *words]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(
            f"edgekit bench did not end within {_PATIENCE_SECONDS} s", remedy="report it, or pass --no-measure"
        ) from error
    if done.returncode not in (0, _THROTTLED) or not done.stdout.strip():
        said = [line for line in done.stderr.splitlines() if line.strip()]
        told = next((line for line in said if line.startswith("error: ")), said[-1] if said else "no answer")
        raise EnvironmentFault(told.removeprefix("error: "), remedy="mend it, or pass --no-measure")
    return read_bench(json.loads(done.stdout), device or this_machine())


def read_bench(raw: Mapping[str, Any], where: str) -> Benched:
    """Read the JSON form of ``edgekit bench --all``."""
    timings = {item["artifact"]: Timing.from_dict(item) for item in raw["measurements"]}
    notes = [*(f"not measured: {line}" for line in raw.get("not_measured", ())), *raw.get("no_roofline", ())]
    return Benched(where, timings, raw.get("machine_peak") or {}, tuple(notes))


def this_machine(root: Path = Path("/")) -> str:
    """The processor and the system in a few words; never the machine's name."""
    return ", ".join((_processor(root / "proc/cpuinfo"), f"{platform.system()} {platform.machine()}"))


def _processor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in known.items()}
    return fields.get("Model") or fields.get("model name") or platform.processor() or "unknown processor"
