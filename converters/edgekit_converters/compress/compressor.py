"""The compression from a trained model to a smaller one: prune a little, recover a little, measure after each step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.bundle import file_sha256
from edgekit.errors import DataRefused, QualityError, UsageError
from edgekit.parity import INTEGER_COSINE, Gate, Parity, ParityMeter
from edgekit.signals import Stopped
from edgekit_converters.benching import check_device
from edgekit_converters.compress.goals import Aim, aim_for
from edgekit_converters.compress.network import Network
from edgekit_converters.compress.record import Record, Step, in_millions, measured_step, record_path
from edgekit_converters.compress.recovery import recover
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.compress.setting import Setting, Settings
from edgekit_converters.compress.training import Tune, training_function
from edgekit_converters.convert import tool_versions
from edgekit_converters.measure import meter_samples
from edgekit_converters.progress import Reporter, Silent, Stages
from edgekit_converters.sources import Source, open_source

_EACH_ROUND = 0.1
"""Share of the goal that one round takes away."""
_ROUND_LEARNING = 0.08
"""Share of all learning that follows each round but the last."""
_ENOUGH = 1.01
DEGRADED = "degraded"


class DropTooLarge(QualityError):
    """The smaller model does not answer well enough, or the goal was not reached.

    Attributes:
        record: What was reached.
    """

    def __init__(self, received: str, record: Record, kept: Path) -> None:
        super().__init__(
            received,
            remedy=f"more --steps, more photos, a larger target or --max-drop; what was reached is kept as {kept}",
        )
        self.record = record


def compress(request: CompressRequest, reporter: Reporter | None = None) -> tuple[Record, Stages]:
    """Compress a model and write it with its record.

    Args:
        request: What to do.
        reporter: What the user sees meanwhile.

    Returns:
        The record, and the stages with their seconds and notes.

    Raises:
        DropTooLarge: It lost more than ``max_drop`` points, or the goal was not reached; what was reached lies beside
            the output as ``NAME.degraded.SUFFIX``, with its record.
        EdgeKitError: With the documented exit code; what was at the output is unchanged.
    """
    stages = Stages(reporter or Silent())
    tune = _checked(request)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        with stages.stage("open the model"):
            source = open_source(request.conversion.model, request.conversion.source)
        with source:
            return _Compression(request, source, stages, Path(scratch), tune).run(), stages


def _checked(request: CompressRequest) -> Tune | None:
    """Refuse what can be refused before a model is opened, and import the user's training function."""
    if request.conversion.calibration is None:
        raise DataRefused(
            "no --data",
            expected="unlabelled inputs to recover on, like those that the model will see",
            remedy="pass --data with a few hundred photos or more; labels are not needed",
        )
    if request.conversion.output.is_dir():
        raise UsageError(f"-o {request.conversion.output}: a folder", expected="a file")
    if request.device is not None:
        check_device(request.device)
    return None if request.train is None else training_function(request.train)


class _Compression:
    """One compression."""

    def __init__(
        self, request: CompressRequest, source: Source, stages: Stages, scratch: Path, tune: Tune | None
    ) -> None:
        self.request, self.source, self.stages, self.tune = request, source, stages, tune
        self.settings = Settings(request, source, stages, scratch)
        self.network: Network = self.settings.network
        self._refuse_output()
        if request.steps or tune is not None:  # nothing is learned in vain that cannot be written at the end
            with stages.stage("try to export it"):
                trial = scratch / f"trial{self.network.suffix}"
                self.network.save(trial)
                open_source(trial).close()
        self.scratch = scratch
        self.steps: list[Step] = []
        self.interrupted = False

    def _refuse_output(self) -> None:
        output, suffix = self.request.conversion.output, self.network.suffix
        if output.suffix != suffix:
            raise UsageError(f"-o {output.name}", expected=f"a file that ends in {suffix} for this model")

    def run(self) -> Record:
        for note in (*self.source.notes, *self.network.notes):
            self.stages.note(note)
        self._work_in(self.settings.read())
        aim = aim_for(self.request, self.settings, stages=self.stages, scratch=self.scratch)
        if aim.measure == "macs":
            self._resize(aim)
        self._rounds(aim)
        if self.tune is not None and not self.interrupted:
            self._train(self.tune)
        return self._publish(aim)

    def _work_in(self, setting: Setting) -> None:
        self.setting, self.network = setting, setting.network
        self.evaluation = self.settings.evaluation(setting)

    def _resize(self, aim: Aim) -> None:
        """Take smaller photos where that costs less of the answers than smaller layers do."""
        start = time.perf_counter()
        setting, _ = self.settings.closest(aim.share)
        if setting.size is not None:
            self._work_in(setting)
            self._note("resize", start, loss=round(self.network.distance(setting.watched), 5))

    def _rounds(self, aim: Aim) -> None:
        start = getattr(self.network, aim.measure)
        target = getattr(self.settings.whole, aim.measure) * aim.share
        left = min(1.0, target / start)
        shares = list(_learning_shares(self.request.rounds or max(1, round((1 - left) / _EACH_ROUND))))
        for number, share in enumerate(shares, 1):
            which = f"{number} of {len(shares)}"
            if left < 1:
                self._prune(aim, start * left ** (number / len(shares)), which)
            self._recover(share, which)
            if self.interrupted:
                return

    def _prune(self, aim: Aim, target: float, which: str) -> None:
        start = time.perf_counter()
        with self.stages.stage(f"remove channels, {which}"):
            removed = self.network.prune(self.setting.learned, measure=aim.measure, target=target)
        self._note("prune", start, removed=removed, loss=round(self.network.distance(self.setting.watched), 5))

    def _recover(self, share: float, which: str) -> None:
        if round(self.request.steps * share) == 0:
            return
        start = time.perf_counter()
        found = recover(self.network, self.setting, self.request, share, stages=self.stages, which=which)
        self.interrupted = found.interrupted
        self._note("recover", start, steps=found.steps, rate=found.rate, loss=round(found.distance, 5))

    def _train(self, tune: Tune) -> None:
        start, before = time.perf_counter(), self.network.snapshot()
        try:
            with self.stages.stage(f"train quantization-aware with {self.request.train}"):
                self.network.train(tune, self.request.train_steps)
        except Stopped:
            raise
        except KeyboardInterrupt:
            self.interrupted = True
            self.network.restore(before)
            self.stages.note(f"interrupted: the network is kept as it was before {self.request.train}")
            return
        self._note("train-quantized", start, steps=self.request.train_steps)

    def _note(self, kind: str, start: float, **more: object) -> None:
        """Measure parity and remember the step."""
        self.parity = self._measured()
        sizes = self.network.macs, self.network.parameters
        step = measured_step(kind, sizes, self.parity, time.perf_counter() - start, **more)
        self.steps.append(step)
        self.stages.note(_in_words(step, self.parity))

    def _measured(self) -> Parity:
        meter = ParityMeter(self.setting.task.scorer())
        with self.stages.stage("against the original", len(self.evaluation)):
            meter_samples(meter, self.stages.each(self.evaluation), self.network)
        return meter.result()

    def _publish(self, aim: Aim) -> Record:
        request = self.request.conversion
        start, end = getattr(self.settings.whole, aim.measure), getattr(self.network, aim.measure)
        reached = end <= start * aim.share * _ENOUGH
        gate = Gate(max_drop=request.max_drop, min_cosine=INTEGER_COSINE)
        missed = gate.failure(self.parity)
        if not reached:
            short = f"{100 * end / start:.0f} % of the {aim.measure} left, {100 * aim.share:.0f} % wanted"
            missed = short if missed is None else f"{short}; {missed}"
        record = self._record(aim, reached, missed)
        output = request.output
        if missed is not None and not request.allow_degraded:
            kept = output.with_name(f"{output.stem}.{DEGRADED}{output.suffix}")
            self._write(record, kept)
            raise DropTooLarge(missed, record, kept)
        self._write(record, output)
        return record

    def _write(self, record: Record, model: Path) -> None:
        with self.stages.stage("write the model"), atomic_file(model) as temporary:
            self.network.save(temporary, self.setting.meant)
        record.write(record_path(model))

    def _record(self, aim: Aim, reached: bool, missed: str | None) -> Record:
        source, parity, whole, setting = self.source, self.parity, self.settings.whole, self.setting
        own = self.settings.own_size
        metric = None
        if parity.metric is not None and parity.reference_metric is not None:
            name, value = parity.metric.name, parity.metric.value
            metric = {"name": name, "original": parity.reference_metric.value, "value": value}
        return Record(
            original=source.path.name if source.path else source.name,
            sha256=file_sha256(source.path) if source.path is not None and source.path.is_file() else None,
            macs=(whole.macs, self.network.macs),
            parameters=(whole.parameters, self.network.parameters),
            photo=None if setting.size is None or own is None else (own, setting.size),
            goal=aim.words,
            reached=reached,
            steps=tuple(self.steps),
            samples=len(setting.learned),
            held_out=len(self.evaluation),
            origin=self.settings.data.origin,
            metric=metric,
            drop_allowed=self.request.conversion.max_drop,
            missed=missed,
            interrupted=self.interrupted,
            notes=tuple(self.stages.notes),
            tools=tool_versions(),
        )


def _learning_shares(rounds: int) -> Iterator[float]:
    """Share of all learning after each round: most of it when all channels are gone."""
    early = min(_ROUND_LEARNING, 1 / rounds)
    yield from [early] * (rounds - 1)
    yield 1 - early * (rounds - 1)


def _in_words(step: Step, parity: Parity) -> str:
    parts = [f"{step.kind}: {in_millions(step.macs)} million MACs, {in_millions(step.parameters)} million parameters"]
    if parity.agreement is not None:
        parts.append(f"{parity.agreement.name} {100 * parity.agreement.value:.1f} %")
    if parity.metric is not None:
        parts.append(f"{parity.metric.name} {parity.metric.value:.4g}")
    parts.append(f"relative L2 {parity.worst.relative_l2:.3f}")
    return ", ".join(parts)
