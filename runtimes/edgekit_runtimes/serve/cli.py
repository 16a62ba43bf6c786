"""The command ``edgekit serve``."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import click

from edgekit.errors import UsageError
from edgekit_runtimes.loopback import is_loopback

if TYPE_CHECKING:
    from edgekit_runtimes.serve.models import Model

TOKEN_VARIABLE = "EDGEKIT_TOKEN"  # noqa: S105  the name of a variable
_MAX_BYTES = 64 << 20
_MAX_PIXELS = 64_000_000


@click.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; another needs the token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--token", help=f"For Authorization: Bearer; by default ${TOKEN_VARIABLE}, or a random one is printed.")
@click.option("--engine", help="litert, onnxruntime or a third party's; by default the artifact's own.")
@click.option("--recipe", help="Precision; by default the fastest artifact that passed its gate.")
@click.option("--threads", type=int, help="Threads of each engine.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Engines of each model.")
@click.option("--queue", type=click.IntRange(0, 4096), default=16, show_default=True, help="Requests that may wait.")
@click.option("--timeout", type=click.FloatRange(min=0.001), default=30.0, show_default=True, help="Seconds a request.")
@click.option("--max-bytes", type=click.IntRange(1), default=_MAX_BYTES, show_default=True, help="Of a request.")
@click.option("--max-pixels", type=click.IntRange(1), default=_MAX_PIXELS, show_default=True, help="Of a picture.")
def serve(
    *,
    bundles: tuple[str, ...],
    host: str,
    port: int,
    token: str | None,
    engine: str | None,
    recipe: str | None,
    threads: int | None,
    workers: int,
    queue: int,
    timeout: float,
    max_bytes: int,
    max_pixels: int,
) -> None:
    """Serve one or more BUNDLEs over HTTP with the Open Inference Protocol v2 (KServe, Triton).

    Clients of that protocol, such as tritonclient[http], work unchanged. POST a picture (or {"text": ...}) to
    /v1/models/NAME/predict for the task's own result; Prometheus reads /metrics. NAME is the bundle's own, or say
    NAME=BUNDLE. A request that does not fit into the queue gets 503. SIGTERM or Ctrl-C finishes what is being
    answered; a second one ends at once.
    """
    _require_extra()
    from edgekit_runtimes.serve.app import Limits, Service, create_app
    from edgekit_runtimes.serve.metrics import Metrics
    from edgekit_runtimes.serve.models import by_name, open_model
    from edgekit_runtimes.serve.server import address_of, bind, serve_until_stopped

    wanted, made = _token(token, host)
    metrics = Metrics()
    opened: list[Model] = []
    with bind(host, port) as listener:
        try:
            for bundle in bundles:
                opened.append(
                    open_model(
                        bundle,
                        metrics.inferred,
                        engine=engine,
                        recipe=recipe,
                        threads=threads,
                        workers=workers,
                        queue=queue,
                    )
                )
                click.echo(f"{opened[-1].name}: {opened[-1].title}")
            service = Service(by_name(opened), metrics, Limits(max_bytes, max_pixels, timeout))
            address = address_of(listener)

            def ready() -> None:
                if made:
                    click.echo(f"token: {wanted} (send it as Authorization: Bearer)")
                click.echo(f"ready at {address}")

            serve_until_stopped(create_app(service, wanted), listener, ready)
        finally:
            for model in opened:
                model.close()
    click.echo("stopped")


def _require_extra() -> None:
    """Fail before models are loaded where the extra is not installed."""
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401


def _token(given: str | None, host: str) -> tuple[str | None, bool]:
    """Return the token that requests need, and whether it was made here."""
    token = given if given is not None else os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return (None, False) if is_loopback(host) else (secrets.token_urlsafe(24), True)
    if not (token.isascii() and token.isprintable()) or not token or " " in token:
        raise UsageError("the token is empty or has spaces or other characters", expected="printable ASCII")
    return token, False
