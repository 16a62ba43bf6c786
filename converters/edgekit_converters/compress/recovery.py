"""Learning from the original: at which rate, for how long, and which weights are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgekit.signals import Stopped
from edgekit_converters.compress.network import Network
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.compress.setting import Setting
from edgekit_converters.progress import Stages

_RATES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
_TRIAL_STEPS, _TRIAL_TIME = 12, 0.5
_WAYS_BACK = (0.75, 0.5)
_LOOK_EVERY = 0.05
"""Share of a recovery after which it is judged on the samples kept aside, and the best is remembered."""


@dataclass(frozen=True)
class Recovery:
    """What came of learning.

    Attributes:
        steps: That were taken, those of the trials of a rate aside.
        rate: Largest learning rate; ``None`` where none was found.
        distance: Of the answers to the original's on the samples kept aside, with the weights that were kept.
        interrupted: Whether Ctrl-C ended it.
    """

    steps: int
    rate: float | None
    distance: float
    interrupted: bool


def recover(
    network: Network, setting: Setting, request: CompressRequest, share: float, *, stages: Stages, which: str
) -> Recovery:
    """Learn from the original; the network ends with the weights that were best on the samples kept aside.

    Args:
        network: The network.
        setting: The samples.
        request: Steps, minutes, rate and seed of all learning.
        share: Of all learning that belongs to this recovery.
        stages: Progress.
        which: Of all recoveries, in words.
    """
    learner = _Learner(network, setting, request)
    planned = round(request.steps * share)
    limit = None if request.minutes is None else 60 * request.minutes * share
    rate, count, interrupted = request.rate, 0, True
    with _until_ctrl_c():
        progress = _Progress(planned, limit)
        if rate is None:
            with stages.stage(f"find a learning rate, {which}"):
                rate = learner.best_rate(min(_TRIAL_STEPS, planned), limit)
        with stages.stage(f"recover, {which}", planned):
            for _ in stages.each(learner.learn(rate, progress, seed=request.seed + planned)):
                count += 1
        learner.look_back()
        interrupted = False
    if interrupted:
        stages.note("interrupted: the best so far is kept")
    network.restore(learner.weights)
    return Recovery(count, rate, learner.distance, interrupted)


@contextmanager
def _until_ctrl_c() -> Iterator[None]:
    """End the learning at Ctrl-C, whose user wants what there is; SIGTERM is for the whole command."""
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt:
        return


class _Learner:
    """Learns, and remembers the weights that were best.

    Attributes:
        weights: The best so far.
        distance: Theirs.
    """

    def __init__(self, network: Network, setting: Setting, request: CompressRequest) -> None:
        self._network, self._setting, self._seed = network, setting, request.seed
        self.weights, self.distance = network.snapshot(), network.distance(setting.watched)
        self._first = self.weights

    def _look(self) -> float:
        distance = self._network.distance(self._setting.watched)
        if distance < self.distance:
            self.weights, self.distance = self._network.snapshot(), distance
        return distance

    def learn(self, rate: float, progress: _Progress, *, seed: int) -> Iterator[float]:
        """Take steps, with a look at the samples kept aside now and then."""
        looks = 1
        for count, loss in enumerate(self._network.learn(self._setting.learned, progress, rate=rate, seed=seed), 1):
            done = progress(count)
            if done >= min(1.0, looks * _LOOK_EVERY):
                looks = int(done / _LOOK_EVERY) + 1
                self._look()
            yield loss

    def look_back(self) -> None:
        """Look at weights between those at the start and the best, which few samples did not teach too much.

        As in Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models" (CVPR 2022, arXiv:2109.01903).
        """
        last = self.weights
        for share in _WAYS_BACK if last is not self._first else ():
            self._network.restore(self._network.between(self._first, last, share))
            self._look()

    def best_rate(self, steps: int, limit: float | None) -> float:
        """The rate at which a short learning of its own comes closest; the network goes on from the closest.

        A network whose channels were refitted lies in a narrow valley: too large a rate throws it out of it, and
        a thousand steps do not bring it back. How narrow it is differs from network to network.

        Args:
            steps: Of each trial.
            limit: Seconds of all learning, of which the trials take a part at most; ``None`` for no limit.
        """
        start, begun, found = self.weights, self.distance, dict[float, float]()
        seconds = None if limit is None else _TRIAL_TIME * limit / len(_RATES)
        for rate in _RATES:
            self._network.restore(start)
            trial = _Progress(steps, seconds)
            for _ in self._network.learn(self._setting.learned, trial, rate=rate, seed=self._seed):
                pass
            found[rate] = self._look()
            if found[rate] > min(found.values()) < begun:
                break  # smaller rates only learn less
        self._network.restore(self.weights)
        return min(found, key=lambda rate: found[rate])


class _Progress:
    """How much of a recovery is over, by its steps or by its time, whichever is further."""

    def __init__(self, steps: int, seconds: float | None) -> None:
        self._steps, self._seconds, self._start = steps, seconds, time.monotonic()

    def __call__(self, step: int) -> float:
        by_time = 0.0 if self._seconds is None else (time.monotonic() - self._start) / self._seconds
        return max(step / self._steps, by_time)
