"""``edgekit service``: install, update, status, logs, rollback, uninstall."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgekit_runtimes.service.install import Services

_BUNDLE = click.Path(path_type=Path, exists=False)
_ROOT = click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), default="/", help="Files of a system that is built."
)


@click.group()
def service() -> None:
    """Run a bundle for months: a systemd service that is watched, confined and updated with a way back.

    Its watchdog is fed by answers alone: when the camera freezes or the engine hangs, systemd starts it anew. Needs
    root, except status and logs.
    """


@service.command()
@click.argument("bundle", type=_BUNDLE)
@click.argument("source", metavar="INPUT")
@click.argument("outputs", metavar="OUTPUT...", nargs=-1, required=True)
@click.option("--name", help="Of the service; that of the bundle by default.")
@click.option("--as", "user", help="User that runs it; by default one that exists only while it runs.")
@click.option("--memory", default="50%", show_default=True, help="Most memory, e.g. 512M; more ends and restarts it.")
@click.option("--watchdog", type=click.IntRange(min=5), default=60, show_default=True, help="Seconds without answers.")
@click.option("--engine", help="As for edgekit run.")
@click.option("--recipe", help="As for edgekit run.")
@click.option("--threads", type=int, help="As for edgekit run.")
@click.option("--print", "show", is_flag=True, help="Print the unit file and change nothing.")
@click.option("--no-start", is_flag=True, help="Start it at boot, not now.")
@_ROOT
def install(
    *,
    bundle: Path,
    source: str,
    outputs: tuple[str, ...],
    name: str | None,
    user: str | None,
    memory: str,
    watchdog: int,
    engine: str | None,
    recipe: str | None,
    threads: int | None,
    show: bool,
    no_start: bool,
    root: Path,
) -> None:
    """Install a BUNDLE as a service that answers INPUT and writes OUTPUT, as `edgekit run BUNDLE INPUT -o OUTPUT`.

    The bundle is copied to /var/lib/edgekit/NAME and has to prove itself on this machine first. Files that OUTPUT
    names without a folder lie in /var/lib/edgekit-NAME.

    \b
    sudo edgekit service install doors.bundle camera:0 mqtt://192.168.1.5/doors
    """  # noqa: D301  click's mark for a paragraph that is not rewrapped
    from edgekit.bundle import Bundle
    from edgekit_runtimes.service.unit import Job, unit_text

    services = _services(root)
    opened = Bundle(bundle, check=False)
    name = name or opened.manifest.name.lower()
    given = (("--engine", engine), ("--recipe", recipe), ("--threads", threads))
    options = tuple(word for key, value in given if value is not None for word in (key, str(value)))
    live = Path("/") / services.store(name).current.relative_to(services.systemd.root)
    job = Job(name, live, source, outputs, options, user, memory, watchdog)
    if show:
        click.echo(unit_text(job), nl=False)
        return
    path = services.install(bundle, job, start=not no_start)
    click.echo(f"wrote {path}; next: edgekit service status {name}", err=True)


@service.command()
@click.argument("name")
@click.argument("bundle", type=_BUNDLE)
@_ROOT
def update(*, name: str, bundle: Path, root: Path) -> None:
    """Exchange the bundle of NAME for another one, which has to prove itself here first.

    When the service does not come up and answer with it, the old one runs again and the command exits with 4.
    """
    place = _services(root).update(name, bundle)
    click.echo(f"{name} runs {place.name}", err=True)


@service.command()
@click.argument("name")
@_ROOT
def rollback(*, name: str, root: Path) -> None:
    """Go back to the bundle that NAME ran before."""
    place = _services(root).back(name)
    click.echo(f"{name} runs {place.name}", err=True)


@service.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, name: str | None, as_json: bool) -> None:
    """Say how a service, or each of them, is doing; exits with 5 when one does not run."""
    import json

    services = _services(Path("/"))
    found = {each: _facts(each) for each in ([name] if name else services.names())}
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif not found:
        click.echo("no services; edgekit service install makes one", err=True)
    for each, facts in found.items() if not as_json else ():
        click.echo(each)
        for key, value in facts.items():
            click.echo(f"  {key:<10} {value}")
    if any(facts["state"] != "active (running)" for facts in found.values()):
        sys.exit(5)


def _facts(name: str) -> dict[str, str]:
    services = _services(Path("/"))
    store = services.store(name)
    known = services.systemd.show(f"edgekit-{name}")
    memory = known.get("MemoryCurrent", "")
    return {
        "state": f"{known.get('ActiveState', 'unknown')} ({known.get('SubState', '')})",
        "since": known.get("ActiveEnterTimestamp", ""),
        "doing": known.get("StatusText", ""),
        "restarts": known.get("NRestarts", ""),
        "memory": f"{int(memory) / 1e6:.0f} MB" if memory.isdigit() else "",
        "bundle": store.running.name if store.running else "none",
        "before": store.before.name if store.before else "none",
    }


@service.command()
@click.argument("name")
@click.option("-n", "--lines", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
def logs(*, name: str, lines: int, follow: bool) -> None:
    """Show what a service said."""
    from edgekit_runtimes.service.systemd import Systemd

    sys.exit(Systemd().follow(f"edgekit-{name}", lines, follow))


@service.command()
@click.argument("name")
@click.option("--purge", is_flag=True, help="Remove its bundles too; results stay.")
@_ROOT
def uninstall(*, name: str, purge: bool, root: Path) -> None:
    """Stop a service and remove it."""
    _services(root).remove(name, purge=purge)
    click.echo(f"removed {name}", err=True)


def _services(root: Path) -> Services:
    from edgekit_runtimes.service.install import Services, verified
    from edgekit_runtimes.service.systemd import Systemd

    return Services(Systemd(root.absolute()), verified)
