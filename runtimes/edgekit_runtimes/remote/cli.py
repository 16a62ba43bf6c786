"""``edgekit device`` and ``edgekit deploy``."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group()
def device() -> None:
    """Boards that are reached over SSH: add them once, then deploy to them and use --on.

    OpenSSH connects, with your configuration and keys; nothing here asks for a password or keeps one.
    """


@device.command()
@click.argument("name")
@click.argument("host", metavar="USER@HOST")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("-o", "--ssh-option", "options", multiple=True, help="As for ssh -o; repeatable.")
@click.option("--home", default=None, help="Folder there; ~/.local/share/edgekit by default.")
@click.option("--python", help="Interpreter there that has edgekit; by default one that device install makes.")
def add(
    *, name: str, host: str, port: int | None, options: tuple[str, ...], home: str | None, python: str | None
) -> None:
    """Give a board a NAME."""
    from edgekit_runtimes.remote.devices import HOME, Device, Devices

    Devices().add(Device(name, host, port, options, home or HOME, python))
    click.echo(f"added {name}; next: edgekit device {'doctor' if python else 'install'} {name}", err=True)


@device.command("list")
def list_() -> None:
    """List the boards."""
    from edgekit_runtimes.remote.devices import Devices

    for one in Devices().all().values():
        click.echo(f"{one.name}  {one.host}{f':{one.port}' if one.port else ''}  {one.interpreter}")


@device.command()
@click.argument("name")
def remove(*, name: str) -> None:
    """Forget a board; what lies on it stays."""
    from edgekit_runtimes.remote.devices import Devices

    Devices().remove(name)


@device.command()
@click.argument("name")
@click.option("--with", "extras", multiple=True, default=("litert",), show_default=True, help="Extra; repeatable.")
def install(*, name: str, extras: tuple[str, ...]) -> None:
    """Install edgekit of this version on a board, into an environment of its own."""
    from edgekit_runtimes.remote.devices import Devices
    from edgekit_runtimes.remote.install import install as install_there

    found = install_there(Devices().get(name), extras, lambda text: click.echo(text, err=True))
    click.echo(f"{len(found.packages)} packages, {found.bytes / 1e6:.0f} MB:")
    for package, version in sorted(found.packages.items(), key=lambda pair: pair[0].lower()):
        click.echo(f"  {package} {version}")
    click.echo(f"next: edgekit device doctor {name}", err=True)


@device.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def doctor(*, name: str, options: tuple[str, ...]) -> None:
    """Run `edgekit doctor` on a board; OPTIONS are its own."""
    from edgekit_runtimes.remote.command import run_there
    from edgekit_runtimes.remote.devices import Devices

    sys.exit(run_there(Devices().get(name), ["doctor", *options]))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("name", metavar="DEVICE")
def deploy(*, bundle: Path, name: str) -> None:
    """Put a BUNDLE on a board: only what changed is sent, and it is in place only when every file has its hash.

    A connection that is cut goes on where it stopped; until all is there the old bundle stays as it is.
    """
    from edgekit_runtimes.remote.devices import Devices
    from edgekit_runtimes.remote.transfer import deploy as send

    sent = send(bundle, Devices().get(name), _progress if sys.stderr.isatty() else None)
    click.echo(
        f"{name}: {sent.path}, {sent.bytes / 1e6:.2f} MB sent; next: edgekit verify {bundle} --on {name}", err=True
    )


def _progress(done: int, total: int) -> None:
    click.echo(f"\r{done / 1e6:.1f} of {total / 1e6:.1f} MB", nl=done >= total, err=True)
