"""The boards that can be emulated: what their processors can do, which decides the kernels that an engine takes."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UsageError

PREFIX = "emulated:"


@dataclass(frozen=True)
class Board:
    """A board under emulation.

    Attributes:
        name: After ``emulated:``.
        title: For people.
        cpu: QEMU's name of its processor.
        part: Number of the processor, as ``/proc/cpuinfo`` has it (Arm's MIDR part number).
        features: Instruction sets, as ``/proc/cpuinfo`` names them.
        cores: Number of cores.
    """

    name: str
    title: str
    cpu: str
    part: str
    features: str
    cores: int = 4

    @property
    def cpuinfo(self) -> str:
        """Contents of ``/proc/cpuinfo``: ONNX Runtime and others read it, and crash without."""
        core = (
            "processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
            "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
        )
        cores = (core.format(number=n, features=self.features, part=self.part) for n in range(self.cores))
        return "".join(cores) + f"Model\t\t: {self.title} (emulated)\n"


_BASE = "fp asimd evtstrm crc32 cpuid"
BOARDS = {
    board.name: board
    for board in (
        Board(
            "pi5", "Raspberry Pi 5", "cortex-a76", "0xd0b",
            f"{_BASE} aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
        ),
        Board("pi4", "Raspberry Pi 4", "cortex-a72", "0xd08", _BASE),
    )
}  # fmt: skip


def board_named(word: str) -> Board:
    """Return the board that ``emulated:NAME`` names. Raises UsageError for an unknown one."""
    name = word.removeprefix(PREFIX)
    if name not in BOARDS:
        raise UsageError(f"--on {word}", expected=" or ".join(PREFIX + known for known in BOARDS))
    return BOARDS[name]
