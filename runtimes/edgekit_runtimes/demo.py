"""``edgekit demo webcam``: a camera, the model's answers and the rate, live."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from edgekit.errors import UsageError


@click.group()
def demo() -> None:
    """Programs that are ready to be shown."""


@demo.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", default="camera:0", show_default=True, help="A camera, stream or video, as for edgekit run.")
@click.option("--show", type=click.Choice(("auto", "window", "page")), default="auto", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the page.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 shows the page to the network.")
@click.option("--engine", help="litert, onnxruntime or a third party's; by default the artifact's own.")
@click.option("--recipe", help="Precision; by default the fastest artifact that passed its gate.")
@click.option("--threads", type=int, help="Threads of the engine.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many frames.")
def webcam(
    *,
    bundle: Path,
    source: str,
    show: str,
    port: int,
    host: str,
    engine: str | None,
    recipe: str | None,
    threads: int | None,
    limit: int | None,
) -> None:
    """Show what a BUNDLE sees in a camera: labels and rate, in a window or, over SSH, on a web page.

    Ends with Ctrl-C, or with q in the window.
    """
    from edgekit_runtimes.inputs.open import open_frames
    from edgekit_runtimes.outputs.open import open_sink
    from edgekit_runtimes.predictor import load
    from edgekit_runtimes.run import Run
    from edgekit_runtimes.signals import Stopped, clean_stop

    with load(bundle, engine=engine, recipe=recipe, threads=threads) as predictor, clean_stop(), suppress(Stopped):
        if predictor.task.takes != "picture":
            raise UsageError(f"a bundle for {predictor.task.name}", expected="one that takes photos")
        frames = open_frames(source)
        if frames is None:
            raise UsageError(f"--source {source}", expected="camera:0, csi:0, rtsp://…, http://… or a video file")
        where = "window" if show == "window" or (show == "auto" and has_window()) else f"page://{host}:{port}"
        with frames, open_sink(where, title=predictor.bundle.manifest.name) as sink:
            told = sink.notice or "q in the window ends it"
            click.echo(f"{predictor.artifact.file} on {predictor.engine.name}, {frames.name}: {told}", err=True)
            Run(predictor, sink).live(frames, limit=limit)


def has_window() -> bool:
    """Whether there is a screen, and an OpenCV that can draw on it."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith("GUI:") and "NONE" not in line for line in lines)
