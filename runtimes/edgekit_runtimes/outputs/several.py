"""One output that is many: each gets every answer, and one that is lost takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.errors import DataRefused, EdgeKitError, EnvironmentFault
from edgekit_runtimes.outputs.sink import Answer, Sink


class Several(Sink):
    """Passes answers and failures on to all of its outputs.

    An output that raises EnvironmentFault is closed and gets nothing more; the others go on, and `close` raises the
    fault. When the last one is lost, `answer` raises.

    Args:
        sinks: The outputs; closed with this one.
        lost: Called at once with the fault of an output that is lost.
    """

    def __init__(self, sinks: Sequence[Sink], lost: Callable[[EdgeKitError], None] = lambda fault: None) -> None:
        self._sinks = list(sinks)
        self._lost = lost
        self._faults: list[EnvironmentFault] = []
        self._refused: tuple[str, list[Sink]] | None = None
        self.wants_pictures = any(sink.wants_pictures for sink in sinks)
        self.notice = "\n".join(sink.notice for sink in sinks if sink.notice)

    @property
    def stopped(self) -> bool:
        """Whether the end was asked for at any of them."""
        return any(sink.stopped for sink in self._sinks)

    def answer(self, answer: Answer) -> None:
        """Pass one answer on.

        Raises:
            DataRefused: An output cannot write it in its form; the others have it.
            EnvironmentFault: All outputs are lost.
        """
        refusal: DataRefused | None = None
        took: list[Sink] = []
        for sink in list(self._sinks):
            try:
                sink.answer(answer)
                took.append(sink)
            except EnvironmentFault as fault:  # noqa: PERF203  one lost output must not end the others
                self._retire(sink, fault)
            except DataRefused as error:
                refusal = refusal or error
        self._stop_if_none_is_left()
        if refusal is not None:
            self._refused = (answer.name, took)
            raise refusal

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Pass one failure on, but not to outputs that have the answer which another refused."""
        refused, took = self._refused or (None, [])
        self._refused = None
        for sink in list(self._sinks):
            if refused == name and any(sink is other for other in took):
                continue
            try:
                sink.failure(name, error)
            except EnvironmentFault as fault:
                self._retire(sink, fault)
        self._stop_if_none_is_left()

    def close(self) -> None:
        """Close all. Raises what was lost, now or before, when all are closed."""
        other: BaseException | None = None
        while self._sinks:
            try:
                self._sinks.pop().close()
            except EnvironmentFault as fault:  # noqa: PERF203  all have to be closed
                self._faults.append(fault)
            except Exception as error:
                other = other or error
        if other is not None:
            raise other
        if self._faults:
            raise _joined(self._faults)

    def _retire(self, sink: Sink, fault: EnvironmentFault) -> None:
        self._sinks.remove(sink)
        self._faults.append(fault)
        try:
            sink.close()
        except EnvironmentFault:
            pass  # the same, once more
        finally:
            self._lost(fault)

    def _stop_if_none_is_left(self) -> None:
        if not self._sinks and self._faults:
            faults, self._faults = self._faults, []
            raise _joined(faults)


def _joined(faults: Sequence[EnvironmentFault]) -> EnvironmentFault:
    if len(faults) == 1:
        return faults[0]
    listed = "".join(f"\n  {fault.received}" for fault in faults)
    return EnvironmentFault(f"{len(faults)} outputs were lost:{listed}", remedy=faults[0].remedy)
