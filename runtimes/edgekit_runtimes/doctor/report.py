"""The doctor's report: everything that was read, and the problems found in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.bundle import Bundle
from edgekit_runtimes.doctor.advice import SUITS, UNSUITED, Advice, Trial, advice_problems, advise
from edgekit_runtimes.doctor.board import Board, board_problems, read_board
from edgekit_runtimes.doctor.cameras import Cameras, camera_problems, read_cameras
from edgekit_runtimes.doctor.cpu import Cpu, cpu_problems, read_cpu
from edgekit_runtimes.doctor.engines import EngineState, engine_problems, gpu_problems, try_engines
from edgekit_runtimes.doctor.heat import Heat, heat_problems, read_heat
from edgekit_runtimes.doctor.host import Host, Problem
from edgekit_runtimes.doctor.memory import Memory, memory_problems, read_memory
from edgekit_runtimes.doctor.software import Software, read_software, software_problems

_ORDER = ("blocking", "warning", "hint")


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Attributes:
        board: Board and system.
        cpu: Processor.
        memory: Memory and temporary disk space.
        heat: Temperature and clock.
        cameras: Video devices.
        software: Packages.
        engines: Engines and execution providers.
        bundle: The bundle that was given; ``None`` without one.
        advice: Which of its artifacts suits this machine; ``None`` without a bundle.
        problems: What is wrong, the worst first.
    """

    board: Board
    cpu: Cpu
    memory: Memory
    heat: Heat
    cameras: Cameras
    software: Software
    engines: tuple[EngineState, ...]
    bundle: Bundle | None = None
    advice: Advice | None = None
    problems: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        parts = {
            name: asdict(getattr(self, name)) for name in ("board", "cpu", "memory", "heat", "cameras", "software")
        }
        return {
            **parts,
            "engines": [asdict(state) for state in self.engines],
            "advice": _advice_dict(self.bundle, self.advice) if self.bundle and self.advice else None,
            "problems": [asdict(problem) for problem in self.problems],
        }


def examine(
    host: Host, bundle: Bundle | None = None, *, timeout: float, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Examine a machine, and how a bundle fares on it.

    Args:
        host: The machine.
        bundle: A bundle, checked.
        timeout: Seconds that each step of an engine's trial may take.
        progress: Told what is being done.
    """
    progress("reading the machine")
    board = read_board(host)
    cpu, memory, heat, cameras = read_cpu(host), read_memory(host), read_heat(host, board), read_cameras(host)
    software = read_software()
    engines = []
    progress("trying engines")
    for state in try_engines(timeout):
        engines.append(state)
        progress(f"tried {state.name}")
    advice = None
    if bundle is not None:
        progress(f"trying the artifacts of {bundle.path}")
        advice = advise(bundle, engines, cpu, memory, timeout)
    problems = [
        *engine_problems(engines),
        *gpu_problems(engines, board),
        *(advice_problems(advice) if advice else []),
        *software_problems(software),
        *board_problems(board, host),
        *cpu_problems(cpu),
        *memory_problems(memory),
        *camera_problems(cameras, board),
        *heat_problems(heat, board),
    ]
    problems.sort(key=lambda problem: _ORDER.index(problem.severity))
    return Report(board, cpu, memory, heat, cameras, software, tuple(engines), bundle, advice, tuple(problems))


def _advice_dict(bundle: Bundle, advice: Advice) -> dict[str, Any]:
    best = advice.best
    return {
        "bundle": str(bundle.path),
        "run": {"file": best.artifact.file, "recipe": best.artifact.recipe, "engine": best.engine} if best else None,
        "command": advice.command(bundle) if best else None,
        "why": advice.why or None,
        "trials": [_trial_dict(trial) for trial in advice.trials],
    }


def _trial_dict(trial: Trial) -> dict[str, Any]:
    return {
        "file": trial.artifact.file,
        "recipe": trial.artifact.recipe,
        "bytes": trial.artifact.bytes,
        "engine": trial.engine or None,
        "latency_ms": trial.latency_ms,
        "latency_ms_at_conversion": trial.artifact.latency_ms,
        "peak_bytes": trial.peak_bytes,
        "verdict": UNSUITED if trial.against else SUITS,
        "against": trial.against or None,
    }
