"""The commands of the device side: ``edgekit run`` and ``edgekit verify``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import QualityError, UsageError
from edgekit_runtimes.bulk.options import BulkOptions, bulk_options
from edgekit_runtimes.outputs.records import FORMATS
from edgekit_runtimes.remote.command import RemoteCommand

if TYPE_CHECKING:
    from rich.table import Table

    from edgekit_runtimes.inputs.frames import FrameSource, SourceStatus
    from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile
    from edgekit_runtimes.outputs.sink import Sink
    from edgekit_runtimes.predictor import Predictor
    from edgekit_runtimes.run import Run
    from edgekit_runtimes.verify import Verdict

_BUNDLE = click.Path(path_type=Path)
_PIPE_WIDTH = 240
_TIMEOUT = 5.0


@click.command(cls=RemoteCommand)
@click.argument("bundle", type=_BUNDLE)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "--engine", help="litert, onnxruntime[:PROVIDER[:DEVICE]] or a third party's; by default the artifact's own."
)
@click.option("--recipe", help="Precision; by default the fastest artifact that passed its gate.")
@click.option(
    "--with", "others", multiple=True, type=_BUNDLE, help="Another bundle that answers the same inputs; repeatable."
)
@click.option("--threads", type=int, help="Threads of an engine; many inputs run on several engines of one thread.")
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Inputs given to the engine at once.")
@click.option("--top-k", type=click.IntRange(min=1), help="Classes or answers in a result; 5 by default.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the bundle's task, e.g. temperature=0.8; repeatable.",
)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Of standard output; table by default.")
@click.option("-o", "--output", "outputs", multiple=True, metavar="WHERE", help="See above; repeatable; - by default.")
@click.option("--draw", type=_BUNDLE, help="Folder for copies of the photos with the result written in.")
@click.option(
    "--fast-decode", is_flag=True, help="Decode large JPEGs at a fraction of their size; see above for the error."
)
@click.option("--wait", is_flag=True, help="Wait for a camera or stream that is not there yet.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    help="Open a camera or network stream again after so many seconds without a frame: 5. Standard input never is.",
)
@click.option("--context", type=_BUNDLE, help="Text that the questions are about; - is standard input.")
@click.option("--limit", type=click.IntRange(min=1), help="End a camera or stream after so many frames.")
@bulk_options
def run(
    *,
    bundle: Path,
    inputs: tuple[str, ...],
    engine: str | None,
    recipe: str | None,
    others: tuple[Path, ...],
    threads: int | None,
    batch: int,
    top_k: int | None,
    options: tuple[str, ...],
    kind: str | None,
    outputs: tuple[str, ...],
    draw: Path | None,
    fast_decode: bool,
    wait: bool,
    timeout: float | None,
    context: Path | None,
    limit: int | None,
    bulk: BulkOptions,
) -> None:
    """Run a BUNDLE on photos, videos, cameras, streams, sentences, rows or arrays.

    \b
    INPUT for a bundle that takes photos:
      photo.jpg  folder/  'photos/*.jpg'       each photo, in order
      clip.mp4                                 each frame, in order
      camera:0  csi:0                          USB camera; Raspberry Pi or Jetson camera
      rtsp://HOST/PATH  http://HOST/x.mjpeg    streams; opened again when they are lost
      -                                        JPEGs on standard input, or raw RGB: -- '-?raw=640x480'
    For sound: .wav (.flac, .mp3, .ogg with the extra "sound") files and folders; mic or mic:DEVICE, live;
    raw 16-bit samples on standard input: -- '-?pcm=16000'.
    For text: sentences, .txt, .tsv or .jsonl files. For rows: name=value,name=value, .csv or .jsonl files.
    For questions: .jsonl or SQuAD .json files; with --context FILE questions about that text, or .txt files of them.
    For arrays: .npz or .npy.
    A bundle that generates text prints it while it comes, unless --format or -o is given.

    \b
    WHERE:
      -                             standard output
      results.jsonl                 a line at once; an interrupted run goes on where it stopped
      results.csv  results.txt      in place when the run is over
      results.parquet               millions of inputs: resumable, --workers N, --ray; see docs/bulk.md
      annotated.jpg                 one photo with its result written in
      copies/  clip.mp4             pictures or a video with the results written in
      window  page[:PORT]           on the screen; on a live page (page://0.0.0.0:8080 for the network)
      mqtt://HOST/TOPIC             an MQTT broker, with discovery by Home Assistant

    A camera or stream gives its newest frame: what comes while one is inferred is dropped and counted. It runs until
    Ctrl-C. What cannot be read is reported and skipped; the command then exits with 6.

    With --fast-decode a JPEG much larger than the input is decoded at 1/2, 1/4 or 1/8 of its size, where it is still
    twice as large as what it is resized to. The pixels that the model sees then differ by 0.2 to 0.4 of 255 on average
    (1.3 in the worst of 33 photos, 23 in a single pixel); a decision that was nearly a tie can change. Other files,
    and photos that an output shows, are decoded whole.
    """  # noqa: D301  click's mark for a paragraph that is not rewrapped
    from edgekit.tasks.base import Streams
    from edgekit_runtimes.run import Run
    from edgekit_runtimes.settings import set_fast_decode
    from edgekit_runtimes.signals import clean_stop

    named = _named_options(options)
    if any(word.rstrip("/").lower().endswith(".parquet") for word in outputs):
        single = {"--with": others, "--format": kind, "--draw": draw, "--wait": wait, "--context": context,
                  "--limit": limit, "--timeout": timeout}  # fmt: skip
        _in_bulk(bundle, inputs, outputs, single, bulk, engine=engine, recipe=recipe, threads=threads,
                 batch=batch, top_k=top_k, options=named, fast_decode=fast_decode)  # fmt: skip
        return
    if given := bulk.given():
        raise UsageError(f"{given[0]} without a Parquet output", expected="-o results.parquet")
    words = _outputs(outputs, kind, draw)
    with _opened((bundle, *others), engine, recipe, threads, named) as predictor, clean_stop():
        _configure(predictor, top_k, draw)
        if named and not isinstance(predictor.task, Streams):
            raise UsageError(f"--option for task {predictor.task.name!r}", expected="a bundle that generates text")
        if fast_decode:
            set_fast_decode(predictor)
        live = _live_source(predictor, inputs, wait=wait, timeout=timeout or _TIMEOUT)
        if live is not None and fast_decode:
            raise UsageError(f"--fast-decode for {live.name}", expected="photos as INPUT")
        if live is None:
            _refuse_for_files({"--limit": limit, "--timeout": timeout, "--wait": wait or None})
        with _sinks(words, inputs, kind or "table", predictor.bundle.manifest.name) as (sink, grown):
            job = Run(predictor, sink, threads=threads, batch=batch)
            if live is None and kind is None and not outputs and isinstance(predictor.task, Streams):
                _aloud(job, inputs)
            elif live is None:
                _over_files(job, inputs, grown, context)
            else:
                _over_frames(job, live, limit)
    job.finish()


def _refuse_for_files(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} for files", expected="a camera or stream as INPUT")


def _in_bulk(
    bundle: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    single: Mapping[str, object],
    bulk: BulkOptions,
    **asked: Any,
) -> None:
    """Answer many inputs into a Parquet file; `single` are the options that do not go with one."""
    from edgekit_runtimes.bulk import job
    from edgekit_runtimes.bulk.publish import Output
    from edgekit_runtimes.signals import clean_stop

    output = Output.of(outputs[0])
    job.refused_with(next(word for word in outputs if ".parquet" in word.lower()), single, outputs)
    if output is None:
        raise UsageError(f"-o {outputs[0]}", expected="a path of this machine that ends in .parquet or .parquet/")
    with clean_stop():
        job.run(job.Request(job.setup_for(bundle, **asked), inputs, output, bulk))


def _opened(
    bundles: Sequence[Path],
    engine: str | None,
    recipe: str | None,
    threads: int | None,
    options: Mapping[str, Any],
) -> Predictor:
    """One bundle, or several that answer together; says which artifacts run."""
    from edgekit_runtimes.predictor import load

    if len(bundles) == 1:
        predictor = load(bundles[0], engine=engine, recipe=recipe, threads=threads, options=options)
        parts = [predictor]
    else:
        from edgekit_runtimes.combined import load_together

        together = load_together(bundles, engine=engine, recipe=recipe, threads=threads)
        predictor, parts = together, list(together.parts.values())
    for part in parts:
        click.echo(f"{part.artifact.file} on {part.engine.name} {part.engine.version}", err=True)
    return predictor


def _outputs(outputs: tuple[str, ...], kind: str | None, draw: Path | None) -> list[str]:
    if kind is not None and outputs and "-" not in outputs:
        raise UsageError(f"--format {kind} with -o {outputs[0]}", expected="-o -, or a file whose ending says its form")
    return [*(outputs or ["-"]), *([f"{draw}/"] if draw else [])]


def _over_files(job: Run, inputs: tuple[str, ...], grown: JsonLinesFile | None, context: Path | None) -> None:
    """Answer files; those that a growing file of results has already are left out, and count as they went."""
    from edgekit_runtimes.inputs.items import items_for
    from edgekit_runtimes.inputs.questions import about
    from edgekit_runtimes.signals import Stopped

    spec = job.predictor.bundle.spec
    items = items_for(spec, inputs) if context is None else about(inputs, spec, context)
    if grown is not None:
        job.resume(len(grown.answered) - len(grown.failed), grown.failed.values())
        items = (item for item in items if item.name not in grown.answered)
    try:
        job.over(items)
    except Stopped as stop:
        click.echo(f"stopped by {stop} after {job.done + job.refused} inputs", err=True)
        raise click.exceptions.Exit(stop.code) from None


def _named_options(words: tuple[str, ...]) -> dict[str, Any]:
    """``temperature=0.8`` as a number, ``stop=["."]`` as a list; what is no JSON is text."""
    import json

    found = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise UsageError(f"--option {word}", expected="NAME=VALUE, e.g. temperature=0.8")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _aloud(job: Run, inputs: tuple[str, ...]) -> None:
    """Print generated text while it comes."""
    from edgekit_runtimes.inputs.items import items_for
    from edgekit_runtimes.signals import Stopped

    def write(piece: str) -> None:
        click.echo(piece, nl=False)

    try:
        job.streamed(items_for(job.predictor.bundle.spec, inputs), write)
    except Stopped as stop:
        click.echo(f"\nstopped by {stop} after {job.done + job.refused} inputs", err=True)
        raise click.exceptions.Exit(stop.code) from None


def _over_frames(job: Run, source: FrameSource, limit: int | None) -> None:
    """Ctrl-C is how a live run ends: no failure."""
    from edgekit_runtimes.signals import Stopped

    with suppress(Stopped), source:
        job.live(source, limit=limit)
    click.echo(f"{source.name}: {_told(source.status, job.done)}", err=True)


def _told(status: SourceStatus, done: int) -> str:
    text = f"{status.frames} frames, {done} answered, {status.dropped} dropped"
    if status.reconnects:
        text += f", opened again {status.reconnects} times (longest gap {max(status.gaps, default=0):.1f} s)"
    return f"{text}: {status.problem}" if status.problem else text


def _live_source(predictor: Predictor, inputs: tuple[str, ...], *, wait: bool, timeout: float) -> FrameSource | None:
    """The camera or stream among the inputs; it is the only one then."""
    from edgekit_runtimes.inputs.open import open_frames
    from edgekit_runtimes.inputs.uri import parse

    if predictor.task.takes == "sound":
        from edgekit_runtimes.inputs.microphone import open_listening

        return open_listening(predictor.task, inputs, wait=wait, timeout=timeout)
    if predictor.task.takes != "picture":
        return None
    for word in inputs:
        if parse(word) is None:  # photos and video files are opened when their turn comes
            continue
        source = open_frames(word, wait=wait, timeout=timeout)
        if source is not None and source.live and len(inputs) == 1:
            return source
        if source is not None:
            source.close()
            if source.live:
                raise UsageError(f"{source.name} among {len(inputs)} inputs", expected="one camera or stream, alone")
    return None


def _configure(predictor: Predictor, top_k: int | None, draw: Path | None) -> None:
    from edgekit_runtimes.settings import set_top_k

    task = predictor.task
    if top_k is not None:
        set_top_k(predictor, top_k)
    if draw is not None and task.takes != "picture":
        raise UsageError(f"--draw for task {task.name!r}", expected="a bundle that takes photos")


@contextmanager
def _sinks(
    words: Sequence[str], inputs: tuple[str, ...], kind: str, title: str
) -> Iterator[tuple[Sink, JsonLinesFile | None]]:
    """All outputs as one, and the first of them that goes on where an earlier run stopped."""
    from edgekit_runtimes.outputs.jsonl_file import JsonLinesFile
    from edgekit_runtimes.outputs.open import opened_each
    from edgekit_runtimes.outputs.several import Several

    width = max(map(len, inputs)) if all(os.path.isfile(word) for word in inputs) else 0
    sinks = opened_each(words, title=title, width=width, kind=kind)
    with Several(sinks, lambda fault: click.echo(f"lost: {fault}", err=True)) as several:
        if several.notice:
            click.echo(several.notice, err=True)
        try:
            yield several, next((sink for sink in sinks if isinstance(sink, JsonLinesFile)), None)
        except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None


@click.command(cls=RemoteCommand)
@click.argument("bundle", type=_BUNDLE)
@click.option("--engine", help="Only on this engine; by default each artifact on its own.")
@click.option("--recipe", help="Only this precision.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify(bundle: Path, engine: str | None, recipe: str | None, as_json: bool) -> None:
    """Prove that a BUNDLE gives the original model's answers on this machine.

    Checks every file against its checksum, then runs the golden samples through each artifact that an installed
    engine runs, and compares with the original's outputs. Needs no framework.
    """
    from edgekit.bundle import Bundle
    from edgekit_runtimes.choice import candidates, no_engine
    from edgekit_runtimes.verify import verify_artifact

    opened = Bundle(bundle)
    chosen = candidates(opened, engine, recipe)
    verdicts = [verify_artifact(opened, artifact, engine) for artifact in chosen]
    _show(verdicts, as_json)
    if all(verdict.skipped for verdict in verdicts):
        raise no_engine(chosen)
    failed = [verdict for verdict in verdicts if verdict.difference is not None]
    if failed:
        named = "; ".join(f"{verdict.artifact.file}: {verdict.difference}" for verdict in failed)
        raise QualityError(
            f"this machine does not give the original's answers: {named}",
            remedy="use another recipe or engine here, or convert again with data from this machine",
        )


def _show(verdicts: list[Verdict], as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps([verdict.to_dict() for verdict in verdicts], indent=1, allow_nan=False))
        return
    from rich.console import Console

    # Into a pipe or file there is no width to fit: nothing is folded there.
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(_table(verdicts))


def _table(verdicts: list[Verdict]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "engine", "worst output", "rel. L2 here", "at conversion", "agreement", "verdict"):
        right = heading in ("rel. L2 here", "at conversion", "agreement")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for verdict in verdicts:
        table.add_row(*_row(verdict))
    return table


def _row(verdict: Verdict) -> list[str]:
    from rich.markup import escape

    recorded = verdict.artifact.golden
    if verdict.here is None:
        said = f"[yellow]not run[/yellow]: {escape(verdict.skipped)}" if verdict.skipped else "[red]failed[/red]"
        return [verdict.artifact.file, verdict.engine, "", "", f"{recorded.worst.relative_l2:.2g}", "", said]
    worst, agreement = verdict.here.worst, verdict.here.agreement
    at_conversion = next((o.relative_l2 for o in recorded.outputs if o.name == worst.name), float("nan"))
    return [
        verdict.artifact.file,
        verdict.engine,
        escape(worst.name),
        f"{worst.relative_l2:.2g}",
        f"{at_conversion:.2g}",
        agreement.counts if agreement else "",
        "[green]pass[/green]" if verdict.passed else "[red]differs[/red]",
    ]
