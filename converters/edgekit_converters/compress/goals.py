"""From a size or a latency to a share of parameters or MACs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import EnvironmentFault, QualityError
from edgekit.spec import Spec
from edgekit_converters.benching import NotMeasured, bench
from edgekit_converters.compress.choice import Measure
from edgekit_converters.compress.request import WEIGHT_BYTES, CompressRequest
from edgekit_converters.compress.setting import Settings
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.sources import SourceOptions

_TRIALS = 4
_SMALLEST = 0.1


@dataclass(frozen=True)
class Aim:
    """What is pruned towards.

    Attributes:
        measure: What falls.
        share: How much of it may be left, 0..1.
        words: The goal in words, with how the share was found.
    """

    measure: Measure
    share: float
    words: str


def aim_for(request: CompressRequest, settings: Settings, *, stages: Stages, scratch: Path) -> Aim:
    """Say what to prune towards.

    Raises:
        QualityError: No share reaches the goal.
    """
    if request.goal == "macs":
        return Aim("macs", request.target, f"{100 * request.target:g} % of the MACs")
    if request.goal == "size":
        return size_aim(request, settings.whole.parameters)
    trials = _Latencies(request, settings, scratch)
    with stages.stage(f"measure latency at a few sizes, {trials.artifact}"):
        share, found = largest_within(request.target, trials.measure)
    for tried, latency in found.items():
        stages.note(f"{100 * tried:.0f} % of the MACs: {latency:.2f} ms ({trials.artifact})")
    words = (
        f"{request.target:g} ms as {trials.artifact}: {found[share]:.2f} ms measured at {100 * share:.0f} % of the MACs"
    )
    return Aim("macs", share, words)


def size_aim(request: CompressRequest, parameters: int) -> Aim:
    """The share of parameters whose bytes in the chosen recipe fit. Raises QualityError below a tenth."""
    recipe = request.conversion.recipes[0]
    share = request.target / (WEIGHT_BYTES[recipe] * parameters)
    words = f"{request.target / 1e6:g} MB as {recipe}: {100 * share:.0f} % of the parameters"
    if share >= 1:
        raise QualityError(
            f"the model has {parameters:,} parameters, {WEIGHT_BYTES[recipe] * parameters / 1e6:.2f} MB as {recipe}",
            expected=f"more than {request.target / 1e6:g} MB",
            remedy="nothing has to go: convert it as it is",
        )
    if share < _SMALLEST:
        raise QualityError(f"{words}", expected="a tenth at least", remedy="a recipe with fewer bytes a weight")
    return Aim("parameters", share, words)


def largest_within(limit: float, measure: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """Find the largest share of MACs whose latency is within a limit, by bisection.

    Args:
        limit: Milliseconds.
        measure: Share to milliseconds.

    Returns:
        The share, and what was measured at each.

    Raises:
        QualityError: The whole model is fast enough already, or the smallest is not.
    """
    found = {1.0: measure(1.0)}
    if found[1.0] <= limit:
        raise QualityError(
            f"the model takes {found[1.0]:.2f} ms", expected=f"more than {limit:g} ms", remedy="convert it as it is"
        )
    low, high, best = _SMALLEST, 1.0, None
    middle = min(max(limit / found[1.0], 1.5 * _SMALLEST), 0.95)
    for _ in range(_TRIALS):
        found[middle] = measure(middle)
        if found[middle] <= limit:
            low = best = middle
        else:
            high = middle
        middle = round((low + high) / 2, 3)
    if best is None:
        fastest = min(found.items(), key=lambda item: item[1])
        raise QualityError(
            f"{fastest[1]:.2f} ms at {100 * fastest[0]:.0f} % of the MACs",
            expected=f"at most {limit:g} ms",
            remedy="a faster recipe, more threads, or a smaller input",
        )
    return best, found


class _Latencies:
    """Latency of the network at shares of its MACs: pruned without any recovery, which does not change its speed."""

    def __init__(self, request: CompressRequest, settings: Settings, scratch: Path) -> None:
        self._request, self._settings, self._scratch = request, settings, scratch
        self.artifact = f"{request.conversion.targets[0]} {request.conversion.recipes[0]}"

    def measure(self, share: float) -> float:
        """Median milliseconds of one input."""
        own, trial = self._settings.own, self._settings.own.network
        if share < 1:
            own, trial = self._settings.closest(share)
        model = self._scratch / f"trial-{share:.3f}{trial.suffix}"
        trial.save(model)
        return self._bench(self._converted(model, own.said))

    def _converted(self, model: Path, said: Spec | None) -> Path:
        from edgekit_converters.convert import convert

        asked, bundle = self._request.conversion, model.with_suffix(".bundle")
        first = replace(
            asked,
            model=model,
            output=bundle,
            spec=said,
            source=SourceOptions(),  # the saved model has its shapes and its weights in it
            targets=asked.targets[:1],
            recipes=asked.recipes[:1],
            effort="low",
            evaluation=None,
            allow_degraded=True,
        )
        convert(first, Silent())
        return bundle

    def _bench(self, bundle: Path) -> float:
        asked = self._request
        try:
            (row,) = bench(bundle, asked.conversion.recipes[0], threads=[asked.threads], device=asked.device)
        except NotMeasured as reason:
            raise EnvironmentFault(str(reason), expected="a measurement of the pruned model") from None
        return float(row["latency_ms"]["p50"])
