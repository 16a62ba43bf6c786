"""Which artifact of a bundle suits this machine: each is tried on the golden samples, on every engine that works here.

Answers come before speed: an artifact that failed its gate at conversion, or that does not give the original's
answers here, is never advised. Among the others the one that is fastest here is, and of equally fast ones the smaller.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.binding import BoundEngine
from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Array
from edgekit.errors import EdgeKitError
from edgekit.isolate import EngineProcess
from edgekit_runtimes.doctor.cpu import Cpu
from edgekit_runtimes.doctor.engines import WORKS, EngineState
from edgekit_runtimes.doctor.host import Problem
from edgekit_runtimes.doctor.memory import Memory
from edgekit_runtimes.verify import difference, golden_parity

REPEATS = 9
SUITS, UNSUITED = "suits", "does not suit"
_BUILD_SECONDS = 1800.0
_EQUALLY_FAST = 1.03
_NO_ENGINE = "no engine that works here"
_EXTRAS = {"tflite": "litert", "onnx": "onnxruntime"}
_INTEGER_RECIPES = ("int8", "mixed", "int8-int16", "dynamic-int8")
_PLAIN = {"onnxruntime:cpu": "onnxruntime"}


@dataclass(frozen=True)
class Trial:
    """How an artifact fared on one engine.

    Attributes:
        artifact: The artifact.
        engine: As ``--engine`` takes it; empty when none that works here runs its format.
        latency_ms: Median milliseconds for one golden sample here; ``None`` when it did not run.
        peak_bytes: Largest memory of the process that ran it; ``None`` when unknown.
        against: Why it does not suit this machine; empty when it does.
    """

    artifact: Artifact
    engine: str = ""
    latency_ms: float | None = None
    peak_bytes: int | None = None
    against: str = ""


@dataclass(frozen=True)
class Advice:
    """What to run.

    Attributes:
        trials: All that was tried, the best first, then what does not suit.
        why: Why the first is the best; empty when none suits.
    """

    trials: tuple[Trial, ...]
    why: str = ""

    @property
    def best(self) -> Trial | None:
        """What to run; ``None`` when nothing suits."""
        return self.trials[0] if self.trials and not self.trials[0].against else None

    def command(self, bundle: Bundle) -> str:
        """Return the command that runs the best. Raises ValueError when there is none."""
        if self.best is None:
            raise ValueError("no artifact suits this machine")
        return f"edgekit run {bundle.path} --engine {self.best.engine} --recipe {self.best.artifact.recipe} INPUT"


def advise(bundle: Bundle, states: Sequence[EngineState], cpu: Cpu, memory: Memory, timeout: float) -> Advice:
    """Try every artifact on every engine that works here.

    Args:
        bundle: The bundle, checked.
        states: How the engines fared.
        cpu: The processor.
        memory: The memory.
        timeout: Seconds that opening an artifact, and each of its runs, may take.

    Raises:
        BundleRefused: The golden samples cannot be read.
    """
    golden = bundle.golden()
    trials = []
    for artifact in bundle.artifacts:
        able = [state for state in states if state.state == WORKS and artifact.format in state.formats]
        why_not = _unfit(artifact, memory, bool(able))
        if why_not:
            trials.append(Trial(artifact, against=why_not))
            continue
        trials += [_reachable(bundle, state, _tried(bundle, artifact, state, golden, timeout)) for state in able]
    ordered = _ordered(trials)
    return Advice(tuple(ordered), _why(ordered, cpu))


def advice_problems(advice: Advice) -> list[Problem]:
    """Name what keeps a bundle from running."""
    if advice.best is not None:
        return []
    reasons = "; ".join(dict.fromkeys(f"{trial.artifact.file}: {trial.against}" for trial in advice.trials))
    ran = any(trial.latency_ms is not None for trial in advice.trials)
    extras = sorted({_EXTRAS[t.artifact.format] for t in advice.trials if t.against.startswith(_NO_ENGINE)})
    convert = "convert the model again, with more or better calibration data, or with --recipe fp32 too"
    return [
        Problem(
            "warning" if ran or any(trial.artifact.degraded for trial in advice.trials) else "blocking",
            f"no artifact of the bundle suits this machine: {reasons}",
            "the bundle does not run here, or not with the original's answers",
            " and ".join(f"pip install 'edgekit-ai[{extra}]'" for extra in extras) if extras and not ran else convert,
        )
    ]


def _unfit(artifact: Artifact, memory: Memory, able: bool) -> str:
    """Say what speaks against an artifact before it is tried; empty when nothing does."""
    if artifact.degraded is not None:
        return f"missed its gate at conversion: {artifact.degraded}"
    if memory.total and artifact.bytes > memory.available:
        return f"its file has {artifact.bytes / 1e6:.0f} MB, and {memory.available / 1e6:.0f} MB are available"
    return "" if able else f"{_NO_ENGINE} runs .{artifact.format} files"


def _tried(
    bundle: Bundle,
    artifact: Artifact,
    state: EngineState,
    golden: tuple[dict[str, Array], dict[str, Array]],
    timeout: float,
) -> Trial:
    inputs, reference = golden
    engine = _PLAIN.get(state.name, state.name)
    try:
        with EngineProcess(bundle.file(artifact.file), engine, timeout=_patience(engine, timeout)) as runner:
            bound = BoundEngine(runner, bundle.spec, artifact.inputs, artifact.outputs)
            here = golden_parity(bundle.spec, bound, inputs, reference)
            feeds = bound.adapt({name: array[:1] for name, array in inputs.items()})
            seconds = statistics.median(runner.latency(feeds, REPEATS))
            return Trial(artifact, engine, 1000 * seconds, runner.peak_rss, difference(artifact, here, engine) or "")
    except EdgeKitError as error:
        return Trial(artifact, engine, against=" ".join(error.received.split()))


def _patience(engine: str, timeout: float) -> float:
    """Seconds for a step: on the first one TensorRT builds an engine, which takes minutes and no fault."""
    return max(timeout, _BUILD_SECONDS) if engine.startswith("onnxruntime:tensorrt") else timeout


def _reachable(bundle: Bundle, state: EngineState, trial: Trial) -> Trial:
    """Turn down what ``edgekit run`` does not take: of an engine's files of one recipe it takes the fastest."""
    files = [a for a in bundle.artifacts if a.recipe == trial.artifact.recipe and a.format in state.formats]
    taken = min(files, key=lambda artifact: artifact.latency_ms)
    if trial.against or taken is trial.artifact:
        return trial
    return replace(trial, against=f"with this engine and recipe, edgekit run takes {taken.file}")


def _ordered(trials: Sequence[Trial]) -> list[Trial]:
    """Sort what suits by speed; where the first are equally fast, the smallest of them leads."""
    suited = sorted((trial for trial in trials if not trial.against), key=_milliseconds)
    if suited:
        close = [trial for trial in suited if _milliseconds(trial) <= _EQUALLY_FAST * _milliseconds(suited[0])]
        best = min(close, key=lambda trial: trial.artifact.bytes)
        suited = [best, *(trial for trial in suited if trial is not best)]
    return suited + [trial for trial in trials if trial.against]


def _milliseconds(trial: Trial) -> float:
    return trial.latency_ms if trial.latency_ms is not None else float("inf")


def _why(ordered: Sequence[Trial], cpu: Cpu) -> str:
    suited = [trial for trial in ordered if not trial.against]
    if not suited:
        return ""
    best, others = suited[0], suited[1:]
    reasons = ["it passed its gate", "gives the original's answers here"]
    if others:
        equal = _milliseconds(best) > min(map(_milliseconds, others))
        reasons.append("is the smallest of the fastest here" if equal else "is the fastest here")
    else:
        reasons.append("is the only one that suits")
    text = f"{', '.join(reasons[:-1])} and {reasons[-1]}"
    return f"{text}; {cpu.int8}" if best.artifact.recipe in _INTEGER_RECIPES else text
