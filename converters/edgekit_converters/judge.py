"""Whether an artifact answers calibration data as the original does: what `mixed` is steered by.

The evaluation data decide in the end whether a bundle is published, so they must not choose what is in it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgekit.binding import BoundEngine
from edgekit.isolate import EngineProcess
from edgekit.parity import Gate, Parity
from edgekit.tasks import Task
from edgekit_converters.compare.subject import BoundFile
from edgekit_converters.measure import measure
from edgekit_converters.prepare import Prepared
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.store import SampleStore
from edgekit_converters.targets import Exported

# Points of agreement with the original that may be missing for each point of accuracy that may be lost.
_AGREEMENT_POINTS = 3.0


class CalibrationJudge:
    """Compares artifacts with the float artifact on the calibration data.

    Args:
        original: The float artifact, which answers as the original does.
        task: What the model does.
        data: With calibration data.
        folder: An empty folder, for the answers.
    """

    def __init__(self, original: BoundFile, task: Task, data: Prepared, folder: Path) -> None:
        self._task = task
        answered = SampleStore(folder)
        with EngineProcess(original.path) as engine:
            runner = BoundEngine(engine, task.spec, original.inputs, original.outputs)
            for sample in data.calibration or ():
                answered.add(replace(sample, outputs=dict(runner.run(sample.feeds))))
        self._data = replace(data, evaluation=answered)

    def accepts(self, path: Path, *, exported: Exported, max_drop: float) -> bool:
        """Whether an artifact stays within the points of accuracy that may be lost."""
        stages = Stages(Silent())
        found = measure(path, self._task, exported=exported, data=self._data, stages=stages, title="calibration data")
        return close_enough(found.parity, max_drop=max_drop)


def close_enough(parity: Parity, *, max_drop: float) -> bool:
    """The recipe's own gate, and where the task decides, at most three points of disagreement a point of drop.

    Fewer labels than answers change by the rounding, and a hundred labelled samples tell a drop of one point badly;
    agreement needs no labels and is the finer measure.
    """
    if Gate.for_recipe("mixed", max_drop=max_drop).failure(parity) is not None:
        return False
    return parity.agreement is None or 100 * (1 - parity.agreement.value) <= _AGREEMENT_POINTS * max_drop + 1e-9
