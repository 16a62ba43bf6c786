"""A plan from beginning to end: make what is promising, measure it in turn, keep what is known after every step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import EdgeKitError
from edgekit_converters.benching import NotMeasured, bench
from edgekit_converters.input_size import Size
from edgekit_converters.plan.agenda import Agenda, Workshop
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import Choice, choose, missed, with_rounds
from edgekit_converters.plan.here import Here
from edgekit_converters.plan.making import Maker, copy_as_chosen
from edgekit_converters.plan.measuring import Target, engines_for
from edgekit_converters.plan.quality import drop_points, metric_entry, quality_miss
from edgekit_converters.plan.stock import PIECES, Stock
from edgekit_converters.plan.store import (
    CHOSEN,
    Ledger,
    PlanFile,
    check_folder,
    earlier_machine,
    held,
    write_plan,
)
from edgekit_converters.plan.variants import ORDER, Piece, Variant, unpromising
from edgekit_converters.progress import Stages
from edgekit_converters.request import Request

_HOPELESS = 1.3
"""Beyond this many times an allowed latency or memory the first round decides: others' work on the machine may have
slowed it down, but not by so much."""
_CLOSE = 1.5
"""Beyond this many times the best on the preferred axis, one round is enough to know that a variant is not the best."""
_MEASURED = Path(PIECES, "measured.json")
_FORMAT_ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Cluster:
    """Who makes the artifacts of a plan.

    Attributes:
        address: ``auto``, ``local`` or ``HOST:PORT``, see `edgekit.cluster.connected`.
        cpus: CPUs that Ray sets aside for each artifact.
    """

    address: str
    cpus: int = 1


@dataclass(frozen=True)
class Job:
    """What a plan is asked for.

    Attributes:
        request: What to convert; its recipes and targets are those to try, its output is the plan's folder.
        budget: What the best may cost.
        prefer: Axis by which the best of those that fit is picked.
        target: Where to measure.
        rounds: How often each variant is measured, in turn with the others.
        sizes: Input sizes to try beside the model's own.
        vary: Whether smaller inputs are tried unasked.
        again: Whether earlier measurements are forgotten.
        ray: Cluster that makes the artifacts; ``None`` makes them in this process.
    """

    request: Request
    budget: Budget
    prefer: str
    target: Target
    rounds: int = 3
    sizes: tuple[Size, ...] = ()
    vary: bool = True
    again: bool = False
    ray: Cluster | None = None


class Planner:
    """Carries out a plan.

    Args:
        job: What is asked for.
        stages: Progress.

    Raises:
        UsageError: The folder holds something else.
    """

    def __init__(self, job: Job, stages: Stages) -> None:
        self._job, self._stages = job, stages
        self._folder = job.request.output
        check_folder(self._folder)
        self._ledger = Ledger(self._folder / _MEASURED)
        self._machine: dict[str, Any] = {}
        self._holding = ExitStack()
        self._held = False
        self._rows: dict[str, Variant] = {}
        self._made: dict[Piece, Bundle] = {}
        self._keys: dict[Piece, str] = {}
        self._failures: list[EdgeKitError] = []
        self._baseline: str | None = None
        self._measuring = False

    @property
    def progress(self) -> str:
        """What is there so far, for people."""
        if self._measuring:
            measured = sum(variant.measured for variant in self._rows.values())
            return f"{measured} of {len(self._rows)} variants so far are measured and kept in {self._folder}"
        made = len(list((self._folder / PIECES).glob(f"*.bundle/{MANIFEST}")))
        if not made:
            return "nothing is made yet"
        return f"{made} artifact{'s' * (made != 1)} made so far and kept in {self._folder}"

    def run(self) -> PlanFile:
        """Do it; the chosen bundle is in place at the end, if anything fits.

        Raises:
            EdgeKitError: The model or the data are refused, and nothing is written; or another plan is at work there.
        """
        with self._holding:
            if self._folder.is_dir():
                self._hold()
            return self._carry_out()

    def _hold(self) -> None:
        """Keep other plans out; what one of them has found meanwhile is known from here on."""
        if self._held:
            return
        self._holding.enter_context(held(self._folder))
        self._held = True
        self._ledger = Ledger(self._folder / _MEASURED)
        if self._job.again:
            self._ledger.forget()
        else:
            self._machine = earlier_machine(self._folder, self._job.target.device)

    def _carry_out(self) -> PlanFile:
        self._stock = Stock(self._job.request, self._folder, self._stages)
        self._make_all(self._stock)
        if not self._made and self._failures:
            raise self._failures[0]
        self._measure_all()
        plan = self._plan(finished=True)
        chosen = plan.choice.chosen
        if chosen is not None:
            copy_as_chosen(self._made[chosen.piece], self._folder / CHOSEN)
        write_plan(self._folder, plan)
        return plan

    def _write(self) -> None:
        self._hold()
        write_plan(self._folder, self._plan(finished=False))

    def _plan(self, *, finished: bool) -> PlanFile:
        job, variants = self._job, tuple(self._rows.values())
        return PlanFile(
            model=str(job.request.model),
            name=self._name(),
            budget=job.budget,
            device=job.target.device,
            machine=self._machine,
            baseline=self._baseline,
            finished=finished,
            variants=variants,
            choice=choose(variants, job.budget, job.prefer),
        )

    def _name(self) -> str:
        native = [bundle.manifest.name for piece, bundle in self._made.items() if piece.resolution is None]
        return self._job.request.name or (native[0] if native else Path(str(self._job.request.model)).stem)

    # Making

    def _make_all(self, stock: Stock) -> None:
        job = self._job
        with self._workshop(stock) as shop:
            agenda = Agenda(
                job.request, job.sizes, vary=job.vary, sized=job.budget.size_mb is not None,
                stock=stock, shop=shop, planned=self,
            )  # fmt: skip
            agenda.run()
        self._rows = dict(sorted(self._rows.items(), key=lambda item: self._place(item[1].piece)))

    @contextmanager
    def _workshop(self, stock: Stock) -> Iterator[Workshop]:
        job, begin = self._job, self._write
        if job.ray is not None:
            from edgekit_converters.plan.on_ray import Workers

            with Workers(job.request, job.ray, stock, self._stages, begin) as workers:
                yield workers
            return
        with (
            tempfile.TemporaryDirectory(prefix="edgekit-") as scratch,
            Maker(job.request, stock, self._stages, Path(scratch)) as maker,
        ):
            yield Here(maker, begin)

    def _place(self, piece: Piece) -> tuple[int, ...]:
        """Where a piece stands in the plan, whenever it was made."""
        height, width = piece.resolution or (0, 0)
        largest_first = (piece.resolution is not None, -height, -width)
        return (*largest_first, self._job.request.targets.index(piece.format), ORDER.index(piece.recipe))

    def made(self, piece: Piece, bundle: Bundle) -> None:
        """Take an artifact."""
        self._made[piece] = bundle
        self._keys[piece] = self._stock.fingerprints.of_piece(piece)
        for variant in self._variants_of(piece, bundle):
            self._rows[variant.name] = variant
        self._write()

    def unpromising(self, piece: Piece) -> str | None:
        """Return why an artifact need not be made."""
        as_float = self._made.get(replace(piece, recipe="fp32"))
        int8 = next((v for v in self._rows.values() if v.piece == replace(piece, recipe="int8")), None)
        size = None if as_float is None else as_float.artifacts[0].bytes
        return unpromising(piece.recipe, size, int8, self._job.budget)

    def left_out(self, piece: Piece, reason: str, error: EdgeKitError | None = None) -> None:
        """Take that there is no such artifact, and the error where making it was tried."""
        if error is not None:
            self._failures.append(error)
        variant = Variant(
            piece, engines_for(piece.format, self._job.target.engines)[0], self._job.target.threads[0], error=reason
        )
        self._rows[variant.name] = variant
        self._write()

    def _variants_of(self, piece: Piece, bundle: Bundle) -> Iterator[Variant]:
        artifact = bundle.artifacts[0]
        parity = artifact.parity
        for engine in engines_for(piece.format, self._job.target.engines):
            for threads in self._job.target.threads:
                variant = Variant(
                    piece,
                    engine,
                    threads,
                    bundle=str(bundle.path.relative_to(self._folder)),
                    artifact=artifact.file,
                    size_bytes=artifact.bytes,
                    agreement=None if parity.agreement is None else parity.agreement.value,
                    metric=metric_entry(parity),
                    drop_points=drop_points(parity),
                    relative_l2=parity.worst.relative_l2,
                    quality=quality_miss(piece, parity, self._job.request.max_drop),
                )
                yield self._with_known_rounds(replace(variant, key=self._key(variant)))

    def _key(self, variant: Variant) -> str:
        words = (self._keys[variant.piece], variant.engine, str(variant.threads), self._job.target.identity)
        return " | ".join(words)

    def _with_known_rounds(self, variant: Variant) -> Variant:
        rounds = self._ledger.rounds(variant.key or "")
        return with_rounds(variant, rounds) if rounds else variant

    # Measuring

    def _measure_all(self) -> None:
        self._measuring = True
        self._measure_baseline()
        for number in range(self._job.rounds):
            groups = self._groups(number)
            if number % 2:  # there and back again: what drifts on the machine meets each variant alike
                groups = groups[::-1]
            if groups:
                with self._stages.stage(f"measure, round {number + 1} of {self._job.rounds}", len(groups)):
                    for group in self._stages.each(groups):
                        self._measure(group)

    def _measure_baseline(self) -> None:
        """Find which variant one gets without a plan: int8 as ``edgekit run`` would take it."""
        pieces = [piece for piece in self._made if piece.recipe == "int8" and piece.resolution is None]
        usable = [piece for piece in pieces if _FORMAT_ENGINES[piece.format] in self._job.target.engines]
        if not usable:
            return
        taken = {piece: known for piece in usable if (known := self._by_hand(piece)) is not None}
        if not taken:
            return
        piece = min(taken, key=lambda one: taken[one][0])
        engine, threads = _FORMAT_ENGINES[piece.format], taken[piece][1]
        found = [v for v in self._variants_of(piece, self._made[piece]) if v.engine == engine]
        variant = next((v for v in found if v.threads == threads), None)
        if variant is None:
            variant = replace(found[0], threads=threads, latency_ms=None, memory_bytes=None, rounds=())
            variant = self._with_known_rounds(replace(variant, key=self._key(variant)))
        self._rows.setdefault(variant.name, variant)
        self._baseline = variant.name

    def _by_hand(self, piece: Piece) -> tuple[float, int] | None:
        """Milliseconds and threads of an artifact as its engine takes it by itself.

        The time in its manifest may be that of another machine, with others at work on it.
        """
        key = f"{self._keys[piece]} | {_FORMAT_ENGINES[piece.format]} | {self._job.target.identity}"
        known = self._ledger.by_hand(key)
        if known is None:
            try:
                row = self._bench(piece)[0]
            except NotMeasured as reason:
                self._stages.note(f"int8 by hand: {reason}")
                return None
            known = row["latency_ms"]["p50"], int(row["threads"])
            self._ledger.set_by_hand(key, *known)
        return known

    def _groups(self, number: int) -> list[list[Variant]]:
        """Variants that lack this round, those of one artifact on one engine together."""
        choice = choose(tuple(self._rows.values()), self._job.budget, self._job.prefer)
        groups: dict[tuple[Piece, str], list[Variant]] = {}
        for variant in self._rows.values():
            due = variant.bundle is not None and variant.error is None and len(variant.rounds) <= number
            if due and (variant.name == self._baseline or self._may_fit(variant)) and self._open(variant, choice):
                groups.setdefault((variant.piece, variant.engine), []).append(variant)
        return list(groups.values())

    def _open(self, variant: Variant, choice: Choice) -> bool:
        """Whether another round could change what becomes of a variant."""
        if not variant.measured or choice.chosen is None or variant.name in (self._baseline, *choice.front):
            return True
        prefer = self._job.prefer
        return variant.cost(prefer) <= _CLOSE * choice.chosen.cost(prefer)

    def _may_fit(self, variant: Variant) -> bool:
        """Whether it is within the budget on what is known before it is measured, or nearly so after."""
        return all(
            miss.axis in ("latency", "memory") and miss.excess <= _HOPELESS
            for miss in missed(variant, self._job.budget)
        )

    def _bench(self, piece: Piece, engine: str | None = None, threads: Sequence[int] = ()) -> list[dict[str, Any]]:
        target = self._job.target
        return bench(
            self._made[piece].path,
            piece.recipe,
            engine=engine,
            threads=threads,
            seconds=target.seconds,
            device=target.device,
        )

    def _measure(self, group: Sequence[Variant]) -> None:
        first = group[0]
        try:
            rows = self._bench(first.piece, first.engine, [variant.threads for variant in group])
        except NotMeasured as reason:
            for variant in group:
                self._rows[variant.name] = replace(variant, error=None if variant.rounds else str(reason))
        else:
            self._machine = self._machine or _machine_of(rows[0])
            for variant, row in zip(group, rows, strict=True):
                memory = row["memory_bytes"]["peak"]
                self._ledger.add(variant.key or "", row["latency_ms"]["p50"], memory)
                rounds = (*variant.rounds, (row["latency_ms"]["p50"], memory))
                self._rows[variant.name] = with_rounds(variant, rounds)
        self._write()


def _machine_of(row: dict[str, Any]) -> dict[str, Any]:
    """The machine's state as the first measurement met it, and what ``edgekit bench`` knows of its peak."""
    peak = {"peak": row["machine_peak"]} if "machine_peak" in row else {}
    return {**row["machine"]["before"], "others_share": row["machine"]["others_share"], **peak}
