"""The processor: how many cores may be used, and what it does with 8-bit numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit_runtimes.doctor.cgroup import cpu_quota
from edgekit_runtimes.doctor.host import Host, Problem

INT8_FEATURES = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
"""Features that matter to int8, by the names of ``/proc/cpuinfo``; x86 first, then ARM."""
FAST_INT8 = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Those that multiply and add four or more 8-bit numbers in one instruction, exactly."""

_VNNI = "VNNI adds 8-bit products exactly in one instruction: int8 is fast"
_MEANINGS = {
    "amx_int8": "AMX multiplies tiles of 8-bit numbers: int8 is exact and gains most",
    "avx512_vnni": _VNNI,
    "avx_vnni": _VNNI,
    "i8mm": "i8mm multiplies matrices of 8-bit numbers: int8 is exact and gains most",
    "asimddp": "the dot product adds four 8-bit products in one instruction: int8 is fast",
    "avx2": "AVX2 without VNNI: sums of 8-bit products would saturate, ONNX Runtime takes exact, slower instructions",
    "asimd": "NEON without dot product: int8 saves memory, and gains less time than on newer cores",
}
"""Feature -> what it means for int8; the first that a processor has counts."""

_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse N1",
    ("0x41", "0xd40"): "Neoverse V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse N2",
    ("0x41", "0xd4f"): "Neoverse V2",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}


@dataclass(frozen=True)
class Cpu:
    """A processor.

    Attributes:
        model: Name of the processor or of its kinds of cores.
        present: Cores of the machine.
        usable: Cores that the scheduler lets this process use.
        quota: Processor time that a container allows, in cores; ``None`` without a limit.
        features: Those of `INT8_FEATURES` that every core has.
        int8: What they mean for int8, in a line.
    """

    model: str
    present: int
    usable: int
    quota: float | None
    features: tuple[str, ...]
    int8: str

    @property
    def fast_int8(self) -> bool:
        """Whether it multiplies 8-bit numbers faster than floats and exactly."""
        return bool(FAST_INT8 & set(self.features))


def read_cpu(host: Host) -> Cpu:
    """Read ``/proc/cpuinfo`` and the limits of this process."""
    cores = _cores(host.text("/proc/cpuinfo") or "")
    known = [set(_first(core, "flags", "Features").split()) for core in cores]
    common = set.intersection(*known) if known else set()
    features = tuple(name for name in INT8_FEATURES if name in common)
    return Cpu(
        model=_model(cores) or host.architecture,
        present=len(cores) or host.cores,
        usable=host.cores,
        quota=cpu_quota(host),
        features=features,
        int8=int8_line(features, host.architecture),
    )


def int8_line(features: tuple[str, ...], architecture: str) -> str:
    """Say in a line what features mean for int8."""
    for name, meaning in _MEANINGS.items():
        if name in features:
            return meaning
    if architecture in ("x86_64", "AMD64", "i686"):
        return "no AVX2: int8 saves memory, and hardly any time"
    return "no instructions for 8-bit products are known: measure before choosing int8 for its speed"


def cpu_problems(cpu: Cpu) -> list[Problem]:
    """Name what is wrong with how this process may use the processor."""
    if cpu.quota is not None and cpu.quota < cpu.usable:
        threads = max(1, int(cpu.quota))
        return [
            Problem(
                "hint",
                f"this container may use {cpu.quota:g} cores' time, and sees {cpu.usable} cores",
                "engines start as many threads as they see cores, and are then stopped in the middle of their work",
                f"edgekit run --threads {threads} … (or give the container more, e.g. docker run --cpus)",
            )
        ]
    return []


def _cores(text: str) -> list[dict[str, str]]:
    """Split ``/proc/cpuinfo`` into its blocks; those without a ``processor`` line describe the board."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        pairs = (line.partition(":") for line in block.splitlines())
        entries = {key.strip(): value.strip() for key, _, value in pairs}
        if entries.get("processor", "").isdigit():
            blocks.append(entries)
    return blocks


def _first(entries: dict[str, str], *keys: str) -> str:
    return next((entries[key] for key in keys if key in entries), "")


def _model(cores: list[dict[str, str]]) -> str:
    """Name the kinds of cores: big and little ones differ."""
    kinds = [_core_name(core) for core in cores]
    named = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds) if kind}
    if len(named) <= 1:
        return next(iter(named), "")
    return " + ".join(f"{count} x {kind}" for kind, count in named.items())


def _core_name(core: dict[str, str]) -> str:
    part = (core.get("CPU implementer", ""), core.get("CPU part", ""))
    named = _PARTS.get(part) or _first(core, "model name", "Model", "cpu model")
    return named or (f"ARM implementer {part[0]}, part {part[1]}" if all(part) else "")
