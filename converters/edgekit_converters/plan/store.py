"""``plan.json``: what is known so far, written in one step after every variant."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.errors import EnvironmentFault, UsageError
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import Choice
from edgekit_converters.plan.variants import Variant

SCHEMA = 1
PLAN = "plan.json"
CHOSEN = "chosen.bundle"
Rounds = tuple[tuple[float, int | None], ...]


@dataclass(frozen=True)
class PlanFile:
    """A plan, finished or under way.

    Attributes:
        model: The source as it was typed.
        name: Of the model.
        budget: What the best may cost.
        device: Board that was measured on; ``None`` is this machine.
        machine: Its state, as ``edgekit bench`` says it.
        baseline: Name of the variant that one gets without a plan: int8, on its own engine.
        finished: Whether everything was tried.
        variants: All that were looked at.
        choice: What came of them.
    """

    model: str
    name: str
    budget: Budget
    device: str | None
    machine: Mapping[str, Any]
    baseline: str | None
    finished: bool
    variants: tuple[Variant, ...]
    choice: Choice = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        chosen = self.choice.chosen
        return {
            "schema": SCHEMA,
            "model": self.model,
            "name": self.name,
            "budget": self.budget.to_dict(),
            "device": self.device,
            "machine": dict(self.machine),
            "chosen": None if chosen is None else chosen.name,
            "baseline": self.baseline,
            "finished": self.finished,
            "variants": [self._variant(variant) for variant in self.variants],
        }

    def _variant(self, variant: Variant) -> dict[str, Any]:
        piece, misses = variant.piece, self.choice.misses[variant.name]
        return {
            "name": variant.name,
            "format": piece.format,
            "recipe": piece.recipe,
            "engine": variant.engine,
            "threads": variant.threads,
            "resolution": None if piece.resolution is None else list(piece.resolution),
            "bundle": variant.bundle,
            "artifact": variant.artifact,
            "latency_ms": variant.latency_ms,
            "size_bytes": variant.size_bytes,
            "memory_bytes": variant.memory_bytes,
            "agreement": variant.agreement,
            "metric": None if variant.metric is None else dict(variant.metric),
            "drop_points": variant.drop_points,
            "fits": variant.measured and variant.error is None and not misses,
            "misses": [{"axis": m.axis, "measured": m.measured, "allowed": m.allowed} for m in misses],
            "front": variant.name in self.choice.front,
            "why": self.choice.why[variant.name],
            "error": variant.error,
            "relative_l2": variant.relative_l2,
            "rounds": [{"latency_ms": ms, "memory_bytes": memory} for ms, memory in variant.rounds],
            "key": variant.key,
        }


def write_plan(folder: Path, plan: PlanFile) -> None:
    """Write ``plan.json``; a reader, or a kill at any moment, finds the old one or the new one."""
    with atomic_file(folder / PLAN) as temporary:
        text = json.dumps(plan.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else. Raises UsageError."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder}: a file", expected="a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN).is_file():
        raise UsageError(
            f"-o {folder}: a folder that is no plan and not empty",
            expected="a new folder, or that of an earlier plan, which is continued",
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder, keep other plans out of it, and remove what one that was killed left half written.

    Raises:
        EnvironmentFault: It cannot be made, or another plan is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot make {folder}: {error.strerror}", expected="a folder to write to") from error
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentFault(
                f"-o {folder}: another plan is at work in it", remedy="wait until it is done, or name another folder"
            ) from error
        except OSError:  # a file system without locks; better unguarded than unusable
            pass
        for left in (*folder.glob(".*.tmp*"), *folder.glob("*/.*.tmp*")):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        os.close(handle)


def earlier_machine(folder: Path, device: str | None) -> dict[str, Any]:
    """Return the machine's state as an earlier plan in this folder met it; empty where there is none."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        raw = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        if raw.get("device") == device:
            return dict(raw.get("machine") or {})
    return {}


class Ledger:
    """What was measured so far, by what it was measured of: kept beside the variants, whatever later plans ask for.

    Args:
        path: Its file; a damaged one counts as empty, and is measured anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, list[list[Any]]] = {}
        with suppress(OSError, ValueError, AttributeError, TypeError):
            raw = json.loads(path.read_text(encoding="utf-8"))
            self._entries = {str(key): [list(row) for row in rows] for key, rows in raw.items()}

    def rounds(self, key: str) -> Rounds:
        """Return milliseconds and bytes of each round; empty for what was never measured."""
        return tuple((float(row[0]), None if row[1] is None else int(row[1])) for row in self._entries.get(key, []))

    def add(self, key: str, milliseconds: float, memory: int | None) -> None:
        """Keep a round, at once."""
        self._entries.setdefault(key, []).append([milliseconds, memory])
        self._write()

    def forget(self) -> None:
        """Measure everything again."""
        self._entries = {}
        if self._path.exists():
            self._write()

    def by_hand(self, key: str) -> tuple[float, int] | None:
        """Return milliseconds and threads of an artifact as its engine takes it; ``None`` where it was not measured."""
        rows = self._entries.get(f"by hand: {key}")
        return (float(rows[0][0]), int(rows[0][1])) if rows else None

    def set_by_hand(self, key: str, milliseconds: float, threads: int) -> None:
        """Keep milliseconds and threads of an artifact as its engine takes it."""
        self._entries[f"by hand: {key}"] = [[milliseconds, threads]]
        self._write()

    def _write(self) -> None:
        with atomic_file(self._path) as temporary:
            temporary.write_text(json.dumps(self._entries, indent=0) + "\n", encoding="utf-8")
