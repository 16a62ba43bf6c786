"""Commands that run on a board instead of here: ``--on NAME``.

The bundle is sent first, and what the inputs name here; then the same command runs there. Its output comes back as it
is written, and its exit code is this one's.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.errors import UsageError
from edgekit_runtimes.emulated.boards import PREFIX

if TYPE_CHECKING:
    from edgekit_runtimes.remote.devices import Device

THERE = "there:"
"""Before a path of the board: it is not sent."""


class RemoteCommand(click.Command):
    """A command with ``--on``: its first argument is a bundle, the others are inputs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(
            click.Option(
                ["--on"],
                metavar="DEVICE",
                help="Do it on a board, see edgekit device; emulated:pi5 and emulated:pi4 need none.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they were typed."""
        ctx.meta["edgekit.words"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run here, or on a board."""
        device = ctx.params.pop("on", None)
        if device is None:
            return super().invoke(ctx)
        ctx.exit(forward(self, ctx, device))


def forward(command: click.Command, ctx: click.Context, name: str) -> int:
    """Run a command on a board; returns its exit code.

    Raises:
        UsageError: An unknown board, or a command that writes files, which would be there.
        EnvironmentFault: The board cannot be reached.
    """
    from edgekit_runtimes.remote.devices import Devices
    from edgekit_runtimes.remote.transfer import deploy

    words = _without_on(ctx.meta["edgekit.words"])
    if name.startswith(PREFIX):
        return _emulated(name, [str(command.name), *words])
    device = Devices().get(name)
    _refuse_local_files(command, ctx)
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    bundle = Path(ctx.params[arguments[0].name or ""])
    sent = deploy(bundle, device)
    click.echo(f"{device.name}: {sent.path}, {sent.bytes / 1e6:.2f} MB sent", err=True)
    inputs = [word for argument in arguments[1:] for word in _listed(ctx.params[argument.name or ""])]
    if "-" in inputs:
        raise UsageError("standard input with --on", expected="files, or a camera or stream of the board")
    moved = _send_inputs(inputs, device)
    return run_there(device, [str(command.name), *_moved(words, {str(bundle): sent.path, **moved})])


def _emulated(name: str, words: Sequence[str]) -> int:
    """Run edgekit as a board would; it sees this machine's files. Returns its exit code."""
    from edgekit_runtimes.emulated.boards import board_named
    from edgekit_runtimes.emulated.root import BoardRoot

    board = board_named(name)
    root = BoardRoot(board, lambda text: click.echo(f"{name}: {text}", err=True))
    click.echo(f"{board.title}, emulated ({board.cpu}): the answers are the board's, the speed is not", err=True)
    return root.run(["-m", "edgekit.cli", *words]).returncode


def run_there(device: Device, words: Sequence[str]) -> int:
    """Run edgekit on a board with its output on ours; Ctrl-C ends it there. Returns its exit code."""
    from edgekit_runtimes.remote.ssh import LOST, edgekit_command, ssh_words, unreachable

    # Without a terminal there, the end of our side does not reach it: its standard input does, and ends with ours.
    command = f"COLUMNS={os.environ.get('COLUMNS', '120')} {edgekit_command(device, words)}"
    with subprocess.Popen(ssh_words(device, _ends_with_us(command)), stdin=subprocess.PIPE) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            assert process.stdin is not None  # noqa: S101  a pipe
            process.stdin.close()
            code = process.wait()
    if code == LOST:
        raise unreachable(device, "the connection was lost")
    return code


def _ends_with_us(command: str) -> str:
    """A shell command that gets SIGTERM when the connection ends."""
    return (
        f"exec 3<&0; {command} </dev/null & job=$!; "
        "{ cat <&3 >/dev/null; kill -TERM $job; } 2>/dev/null & watch=$!; "
        "wait $job; code=$?; kill $watch 2>/dev/null; exit $code"
    )


def _refuse_local_files(command: click.Command, ctx: click.Context) -> None:
    """Outputs would land on the board, where nobody looks for them."""
    for param in command.params:
        value = ctx.params.get(param.name or "")
        if param.name in ("outputs", "draw", "json_path", "plot_path") and value:
            words = [str(word) for word in _listed(value)]
            if all(word == "-" or word.startswith(("page", "mqtt")) for word in words):
                continue
            raise UsageError(
                f"{param.opts[0]} {words[0]} with --on, which would be written on the board",
                expected="standard output, which comes back",
                remedy="redirect it here: --format jsonl > results.jsonl",
            )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (tuple, list)) else [value]


def _without_on(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word == "--on":
            skip = not skip
        elif not word.startswith("--on="):
            kept.append(word)
    return kept


def _send_inputs(words: Sequence[Any], device: Device) -> dict[str, str]:
    """Send the files and folders that inputs name here; word -> what it is called there."""
    from edgekit_runtimes.remote.transfer import names_below, send_inputs

    local = [str(word) for word in words if not str(word).startswith(THERE) and os.path.exists(word)]
    moved = {str(word): str(word)[len(THERE) :] for word in words if str(word).startswith(THERE)}
    if not local:
        return moved
    files = {f"{number}/{name}": path for number, word in enumerate(local) for name, path in names_below(Path(word))}
    sent = send_inputs(files, device, f"job-{secrets.token_hex(4)}")
    click.echo(f"{device.name}: {len(files)} inputs, {sent.bytes / 1e6:.2f} MB sent", err=True)
    for number, word in enumerate(local):
        moved[word] = f"{sent.path}/{number}/{Path(word).name}"
    return moved


def _moved(words: Sequence[str], places: dict[str, str]) -> list[str]:
    return [places.get(word, word) for word in words]
