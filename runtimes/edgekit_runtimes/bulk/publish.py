"""From parts to what the user asked for: one Parquet file, or a folder of them; and the list of what failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.atomic import atomic_file, remove_leftovers
from edgekit.errors import UsageError
from edgekit.spec import Spec
from edgekit_runtimes.bulk import table
from edgekit_runtimes.bulk.ledger import LINES, Ledger, refuse_another

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 << 20
_KEY = b"edgekit"
SUCCESS = "_SUCCESS"
_OWN = "_edgekit"


@dataclass(frozen=True)
class Output:
    """Where results go.

    Attributes:
        path: The file, or the folder.
        folder: Whether the parts stay, in a folder.
    """

    path: Path
    folder: bool

    @classmethod
    def of(cls, word: str) -> Output | None:
        """What a word of the command line says: ``results.parquet``, or ``results.parquet/``; ``None`` otherwise."""
        path = Path(word)
        if path.suffix.lower() != ".parquet" or "://" in word:
            return None
        return cls(path, word.endswith("/") or path.is_dir())

    @property
    def ledger(self) -> Path:
        """Folder of the ledger."""
        return self.path / _OWN if self.folder else self.parts

    @property
    def parts(self) -> Path:
        """Folder of the parts."""
        return self.path if self.folder else self.path.with_name(f"{self.path.name}.parts")

    @property
    def errors(self) -> Path:
        """The list of what failed."""
        return self.path.with_suffix(".errors.jsonl")

    def refuse_foreign(self) -> None:
        """Raise UsageError when there is something else where results, parts or ledger go."""
        if self.folder:
            ours = not self.path.exists() or (
                self.path.is_dir() and (not any(self.path.iterdir()) or (self.path / _OWN).is_dir())
            )
        else:
            ours = not self.path.exists() or _about_of(self.path) is not None
        if not ours:
            raise UsageError(f"{self.path} exists and is not the output of a run", expected="another output")
        if self.ledger.is_dir() and any(self.ledger.iterdir()) and not (self.ledger / LINES).is_file():
            raise UsageError(f"{self.ledger} exists and is not the ledger of a run", expected="another output")

    def begin(self, *, restart: bool) -> None:
        """Make way, under the ledger's lock: a folder is not complete until it is again.

        Args:
            restart: Remove what an earlier run has published.
        """
        remove_leftovers(self.path)
        remove_leftovers(self.errors)
        if self.folder:
            (self.path / SUCCESS).unlink(missing_ok=True)
        elif restart:
            self.path.unlink(missing_ok=True)
        if restart:
            self.errors.unlink(missing_ok=True)

    def published(self) -> Mapping[str, Any] | None:
        """What a finished file says of its run; ``None`` where there is none, and of a folder, which can grow."""
        return None if self.folder else _about_of(self.path)


def _about_of(path: Path) -> Mapping[str, Any] | None:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        found: Mapping[str, Any] = json.loads((read_schema(path).metadata or {})[_KEY])
    except (OSError, ArrowException, KeyError, ValueError):
        return None
    return found


def finished(output: Output, about: Mapping[str, Any], job: Mapping[str, Any], order: Sequence[str]) -> tuple[int, int]:
    """Return rows and failures of a file that an earlier run has finished.

    Raises:
        UsageError: It was made with another bundle, other options or other inputs.
    """
    refuse_another(str(output.path), about.get("job"), job)
    if about.get("inputs") != digest_of(order):
        raise UsageError(
            f"the inputs of {output.path} have changed since it was finished",
            expected="the same inputs",
            remedy=f"choose another output, or begin again with --restart; {output.path}/ would have kept its parts",
        )
    return int(about["rows"]), int(about["failed"])


def digest_of(order: Sequence[str]) -> str:
    """SHA-256 over the chunks of all inputs, in order."""
    return hashlib.sha256("\n".join(order).encode()).hexdigest()


def damaged(ledger: Ledger, order: Sequence[str]) -> list[str]:
    """Return the chunks whose parts are not what was written; they are no longer done."""
    return [chunk for chunk in dict.fromkeys(order) if not ledger.intact(chunk)]


def publish(output: Output, ledger: Ledger, order: Sequence[str], job: Mapping[str, Any], spec: Spec) -> None:
    """Put finished results in place: the list of failures first, then the results, by one rename.

    Args:
        output: Where.
        ledger: All of its chunks are done.
        order: Their digests, in the order of the inputs; one may come twice.
        job: What the results depend on.
        spec: For the schema.
    """
    ledger.forget_others(frozenset(order))
    write_errors(output, ledger, order)
    if output.folder:
        with atomic_file(output.path / SUCCESS):
            pass
        return
    rows = [ledger.done[chunk] for chunk in order]
    about = {
        "job": job,
        "answered_by": ledger.about,
        "inputs": digest_of(order),
        "rows": sum(line.rows for line in rows),
        "failed": sum(line.failed for line in rows),
    }
    schema = table.schema(spec).with_metadata({_KEY: json.dumps(about)})
    with atomic_file(output.path) as temporary:
        _join(temporary, (table.decode(ledger.part(chunk)) for chunk in order), schema)
    ledger.remove()


def _join(path: Path, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
    """Write parts as one file; a row group is held in memory at a time, whatever the number of rows."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(path, schema, compression=table.COMPRESSION) as writer:
        held: list[pa.Table] = []

        def flush() -> None:
            if held:
                joined = pa.concat_tables(held).replace_schema_metadata(schema.metadata)
                writer.write_table(joined, row_group_size=max(1, len(joined)))
                held.clear()

        for one in tables:
            held.append(one)
            if sum(map(len, held)) >= ROW_GROUP_ROWS or sum(part.nbytes for part in held) >= ROW_GROUP_BYTES:
                flush()
        flush()


def write_errors(output: Output, ledger: Ledger, order: Sequence[str]) -> None:
    """Write the failures of the chunks that are done as JSON lines, in the order of the inputs; none leaves no file."""
    failing = [chunk for chunk in order if chunk in ledger.done and ledger.done[chunk].failed]
    if not failing:
        output.errors.unlink(missing_ok=True)
        return
    with atomic_file(output.errors) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for chunk in failing:
            for row in table.decode(ledger.part(chunk)).to_pylist():
                if row["status"] == "failed":
                    line = {key: row[key] for key in ("input", "input_sha256", "error")}
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
