"""`edgekit plan`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import QualityError, UsageError
from edgekit.signals import exit_code
from edgekit_converters.options import conversion_options
from edgekit_converters.plan.choose import PREFERENCES
from edgekit_converters.quantize.recipes import RECIPES
from edgekit_converters.request import TARGETS

if TYPE_CHECKING:
    from edgekit_converters.plan.planner import Cluster, Job, Planner
    from edgekit_converters.plan.store import PlanFile
    from edgekit_converters.progress import Reporter

_EPILOG = """\b
Axes of a budget:
  latency   median of one inference: us, ms, s
  size      of the artifact: kB, MB, GB, KiB, MiB, GiB
  memory    of the whole process at its peak, as the board has to have it free: Python, edgekit, engine, model
  drop      points of accuracy (or of the task's own metric) lost: %; 1 where it is left out

\b
Examples:
  edgekit plan model.keras --budget latency=20ms,size=5MB,memory=150MB,drop=1% --preset imagenet \\
      --calibration calib.csv --eval eval.csv --plot -o model.plan
  edgekit plan model.keras --budget latency=20ms --on garden-pi --preset unit --calibration photos/ -o pi.plan
  edgekit plan model.keras --budget latency=20ms --ray auto --preset unit --calibration photos/ -o model.plan
"""


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="MODEL")
@click.option("--budget", required=True, metavar="AXIS=AMOUNT,…", help="The most that the best may cost; see below.")
@click.option(
    "--prefer",
    type=click.Choice(PREFERENCES),
    default="latency",
    show_default=True,
    help="Of those that fit, the best on this axis; on the others where that is equal.",
)
@click.option("--on", "device", metavar="DEVICE", help="Measure on a board, see edgekit device.")
@conversion_options
@click.option(
    "--to", "to", multiple=True, type=click.Choice(TARGETS), default=TARGETS, show_default=True, help="Formats to try."
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    type=click.Choice(list(RECIPES)),
    help="Precisions to try; by default all that the data allow.",
)
@click.option("--engine", "engines", multiple=True, help="Engines to try; by default all that are installed.")
@click.option(
    "--threads", help="Numbers of threads to try, as in 1,2,4; by default up to the cores (1,2,4 on a board)."
)
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    metavar="SIDE|HxW",
    help="Another input size to try, of a classifier of photos; repeatable.",
)
@click.option("--own-resolution", is_flag=True, help="Try no smaller inputs unless --resolution names them.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of a variant.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, max=600), default=1.0, show_default=True, help="Timed in each round."
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Make the variants on a Ray cluster: auto, local or HOST:PORT. They are measured here all the same, or on "
    "DEVICE, after all are made and with nothing beside them. MODEL and data must be on every node, at the same paths.",
)
@click.option(
    "--ray-cpus", type=click.IntRange(min=1), metavar="N", help="With --ray: CPUs set aside for each variant: 1."
)
@click.option("--again", is_flag=True, help="Measure anew; artifacts that are there are used again.")
@click.option("--plot", is_flag=True, help="Draw latency, drop and size into plan.png.")
@click.option("--json", "as_json", is_flag=True, help="Print plan.json instead of a table.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the plan; one that is there is continued.",
)
def plan(source: str, output: Path, plot: bool, as_json: bool, **options: Any) -> None:
    """Choose the variant of MODEL that fits a budget.

    Converts the promising recipes, formats and input sizes, measures each on every engine and number of threads, and
    puts the best that fits into FOLDER/chosen.bundle. FOLDER/plan.json says what was tried and why the others lost.
    Finished work is kept and used again: an interrupted plan goes on, and another budget costs only what is new.

    With 4 as its exit code nothing fits; the nearest misses are named.
    """
    job = _job(source, output, options)
    if plot:
        from edgekit_converters.plan.plot import require_matplotlib

        require_matplotlib()
    found = _carried_out(job, as_json=as_json)
    if plot:
        from edgekit_converters.plan.plot import PLOT, draw

        draw(found, output / PLOT)
    if as_json:
        click.echo((output / "plan.json").read_text(encoding="utf-8"), nl=False)
    else:
        _show(found)
    _judge(job, found)


def _job(source: str, output: Path, options: dict[str, Any]) -> Job:
    """Everything that can be refused before a framework is imported."""
    from edgekit.cores import usable_cores
    from edgekit_converters.benching import check_device
    from edgekit_converters.input_size import parse_sides
    from edgekit_converters.plan.budget import parse_budget
    from edgekit_converters.plan.measuring import Target as Where
    from edgekit_converters.plan.measuring import default_threads, usable_engines
    from edgekit_converters.plan.planner import Job

    take = options.pop
    budget = parse_budget(take("budget"))
    prefer, device = take("prefer"), take("device")
    if device is not None:
        check_device(device)
    threads = _threads(take("threads")) or default_threads(device, usable_cores())
    sizes = tuple(parse_sides(word) for word in take("resolutions"))
    engines = usable_engines(take("engines"), device)
    options["to"] = _runnable(options["to"], engines)
    where = Where(device, engines, threads, take("seconds"))
    rounds, again, vary = take("rounds"), take("again"), not take("own_resolution")
    cluster = _cluster(take("ray"), take("ray_cpus"))
    recipes = take("recipes") or _allowed_recipes(options["calibration"])
    request = _request(source, output, recipes, budget.drop_points, options)
    return Job(request, budget, prefer, where, rounds, sizes, vary, again, cluster)


def _cluster(address: str | None, cpus: int | None) -> Cluster | None:
    from edgekit_converters.plan.planner import Cluster

    if address is None and cpus is not None:
        raise UsageError("--ray-cpus without --ray", expected="--ray auto --ray-cpus 4")
    return None if address is None else Cluster(address, cpus or 1)


def _runnable(formats: tuple[str, ...], engines: tuple[str, ...]) -> tuple[str, ...]:
    """The formats that some engine runs: of others nothing could be measured."""
    from edgekit_converters.plan.measuring import engines_for

    found = tuple(name for name in formats if engines_for(name, engines))
    if not found:
        raise UsageError(
            f"--engine {', '.join(engines)} for --to {', '.join(formats)}", expected="an engine that runs it"
        )
    return found


def _request(source: str, output: Path, recipes: tuple[str, ...], drop: float | None, options: dict[str, Any]) -> Any:
    from edgekit_converters.api import build_request

    allowed = 1.0 if drop is None else drop
    return build_request(source, output, recipes=recipes, max_drop=allowed, **options)


def _allowed_recipes(calibration: str | None) -> tuple[str, ...]:
    """All recipes, without calibration data those that need none."""
    return tuple(recipe.name for recipe in RECIPES.values() if calibration is not None or not recipe.static)


def _threads(words: str | None) -> tuple[int, ...] | None:
    if words is None:
        return None
    parts = [part.strip() for part in words.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--threads {words}", expected="a number from 1, or several as in 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


def _carried_out(job: Job, *, as_json: bool) -> PlanFile:
    """Run the plan; Ctrl-C or SIGTERM leaves a folder that the same command goes on from."""
    from edgekit_converters.plan.planner import Planner
    from edgekit_converters.progress import Silent, Stages, reporter_for_terminal

    def run(reporter: Reporter) -> PlanFile:
        planner = Planner(job, Stages(reporter))
        try:
            return planner.run()
        except KeyboardInterrupt as stop:
            _tell_how_to_go_on(planner)
            raise click.exceptions.Exit(exit_code(stop)) from None

    if as_json:
        return run(Silent())
    with reporter_for_terminal() as reporter:
        return run(reporter)


def _tell_how_to_go_on(planner: Planner) -> None:
    click.echo(
        f"interrupted: {planner.progress}\ngo on with: edgekit {shlex.join(sys.argv[1:])}",
        err=True,
    )


def _show(found: PlanFile) -> None:
    from rich.console import Console

    from edgekit_converters.plan.table import plan_table, verdict_lines

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a log has no width: do not cut columns
    console.print(plan_table(found))
    for line in verdict_lines(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _judge(job: Job, found: PlanFile) -> None:
    """Say how to run what was chosen. Raises QualityError when nothing fits."""
    from edgekit_converters.plan.choose import nearest
    from edgekit_converters.plan.store import CHOSEN

    chosen, output = found.choice.chosen, job.request.output
    if chosen is not None:
        where = f" --on {found.device}" if found.device else ""
        click.echo(
            f"wrote {output / CHOSEN}; run it with:\n"
            f"  edgekit run {output / CHOSEN} INPUT --engine {chosen.engine} --threads {chosen.threads}{where}",
            err=True,
        )
        return
    lines = nearest(found.variants, job.budget)
    stale = f"; {output / CHOSEN} is that of an earlier budget" if (output / CHOSEN).exists() else ""
    raise QualityError(
        f"nothing fits the budget{stale}",
        expected=f"at most {job.budget}",
        remedy="loosen an axis: " + "; ".join(lines) if lines else f"see why in {output / 'plan.json'}",
    )
