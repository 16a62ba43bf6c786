"""The ASGI application: routes, limits and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.errors import DataRefused
from edgekit_runtimes.serve.answers import (
    CLIENT_GONE,
    Answer,
    Receive,
    Refusal,
    Scope,
    Send,
    error_answer,
    hung_up,
    json_answer,
    read_body,
)
from edgekit_runtimes.serve.images import encode_body
from edgekit_runtimes.serve.inference_protocol import HEADER_LENGTH, VERSION, strict_json
from edgekit_runtimes.serve.metrics import Metrics
from edgekit_runtimes.serve.models import Model
from edgekit_runtimes.serve.queue import QueueFull

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

T = TypeVar("T")
Handler = Callable[["Request"], Awaitable[Answer]]
_OPEN_TO_ALL = ("/v2/health/live", "/v2/health/ready")
_logger = logging.getLogger("edgekit.serve")


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        max_bytes: Of its body.
        max_pixels: Of a picture.
        seconds: Until its answer, from when its header is there.
    """

    max_bytes: int
    max_pixels: int
    seconds: float


class Service:
    """Answers requests.

    Args:
        models: Name -> model.
        metrics: Where requests are counted.
        limits: For each request.
    """

    def __init__(self, models: Mapping[str, Model], metrics: Metrics, limits: Limits) -> None:
        from importlib.metadata import version

        self.models = models
        self.metrics = metrics
        self.limits = limits
        self._version = version("edgekit-ai")
        # Decoding one request's picture overlaps the inference of another; admission bounds what is handed in.
        self._encoders = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "encode")
        for name, model in models.items():
            metrics.watch_queue(name, lambda worker=model.worker: worker.waiting)  # type: ignore[misc]

    async def live(self, _: Request) -> Answer:
        """Say that the process answers."""
        return json_answer({"live": True})

    async def ready(self, _: Request) -> Answer:
        """Say that all models are loaded, as they are before the server listens."""
        return json_answer({"ready": True})

    async def server(self, _: Request) -> Answer:
        """Return the server's metadata."""
        extensions = ["binary_tensor_data", "model_repository"]
        return json_answer({"name": "edgekit", "version": self._version, "extensions": extensions})

    async def metadata(self, request: Request) -> Answer:
        """Return a model's metadata."""
        return json_answer(self._model(request).metadata())

    async def model_ready(self, request: Request) -> Answer:
        """Say that a model is loaded."""
        return json_answer({"name": self._model(request).name, "ready": True})

    async def index(self, request: Request) -> Answer:
        """List the models."""
        if body := await read_body(request.receive, request.headers.get("content-length"), self.limits.max_bytes):
            strict_json(body)  # its only member, "ready", filters nothing: all models are
        return json_answer([{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in self.models])

    async def load_or_unload(self, _: Request) -> Answer:
        """Refuse to change what is served."""
        raise Refusal(400, "models are chosen when edgekit serve starts; loading and unloading is not supported")

    async def exposition(self, _: Request) -> Answer:
        """Return the metrics."""
        text, media_type = self.metrics.text()
        return Answer(200, text, media_type)

    async def infer(self, request: Request) -> Answer:
        """Run a model on tensors."""
        model = self._model(request)
        deadline = time.monotonic() + self.limits.seconds
        with self._admitted(model):
            body = await self._body(request, deadline)
            job = partial(model.infer, body=body, header_length=request.headers.get(HEADER_LENGTH))
            return await self._result(model.worker.submit(job), request, deadline)

    async def predict(self, request: Request) -> Answer:
        """Run a model on a picture or a sentence."""
        model = self._model(request)
        deadline = time.monotonic() + self.limits.seconds
        with self._admitted(model):
            body = await self._body(request, deadline)
            kind = request.headers.get("content-type", "")
            encoding = self._encoders.submit(encode_body, model.task, body, kind, self.limits.max_pixels)
            feeds = await self._result(encoding, request, deadline)
            return await self._result(model.worker.submit(partial(model.predict, feeds=feeds)), request, deadline)

    def _model(self, request: Request) -> Model:
        name, version = request.path_params["model"], request.path_params.get("version", VERSION)
        if name not in self.models:
            raise Refusal(404, f"no model named {name[:80]!r}; expected {', '.join(self.models)}")
        if version != VERSION:
            raise Refusal(404, f"model {name!r} has no version {version[:80]!r}; expected {VERSION}")
        return self.models[name]

    @contextlib.contextmanager
    def _admitted(self, model: Model) -> Any:
        try:
            with model.worker.admitted():
                yield
        except QueueFull:
            raise Refusal(
                503,
                f"model {model.name!r} is busy: {model.worker.capacity} requests are running or waiting",
                reason="queue full",
                headers={"Retry-After": "1"},
            ) from None

    async def _body(self, request: Request, deadline: float) -> bytes | bytearray:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise Refusal(415, f"a body with Content-Encoding {encoding[:40]!r}; expected none")
        reading = read_body(request.receive, request.headers.get("content-length"), self.limits.max_bytes)
        try:
            return await asyncio.wait_for(reading, max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise Refusal(
                408, f"the request did not arrive within {self.limits.seconds:g} s", reason="slow client"
            ) from None

    async def _result(self, future: Future[T], request: Request, deadline: float) -> T:
        """Wait for a thread's result, but not beyond the deadline and not for a client that hung up."""
        result = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(hung_up(request.receive))
        try:
            left = max(0.0, deadline - time.monotonic())
            either: set[asyncio.Future[Any]] = {result, gone}
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
        finally:
            gone.cancel()
            result.cancel()
        if gone.done() and not gone.cancelled():
            raise Refusal(CLIENT_GONE, "the client hung up")
        raise Refusal(
            503,
            f"no answer within {self.limits.seconds:g} s",
            reason="timeout",
            headers={"Retry-After": "1"},
        )

    def counted(self, endpoint: str, handler: Handler) -> Callable[[Request], Coroutine[Any, Any, Any]]:
        """Wrap a handler: errors become answers, and every answer is counted."""

        async def answer(request: Request) -> Answer:
            start = time.perf_counter()
            name = request.path_params.get("model", "")
            model = name if name in self.models else ""
            try:
                found = await handler(request)
            except asyncio.CancelledError:  # this task ends with the answer
                found = error_answer(Refusal(503, "the server is stopping"))
            except Exception as error:
                if not isinstance(error, (DataRefused, Refusal)):
                    _logger.exception("a request for %s failed", endpoint)
                if isinstance(error, Refusal) and error.reason:
                    self.metrics.rejected(model, error.reason)
                found = error_answer(error)
            self.metrics.answered(model, endpoint, found.status, time.perf_counter() - start)
            return found

        return answer


class TokenGuard:
    """Lets only requests with the token through, except to health.

    Args:
        app: What is guarded.
        token: For ``Authorization: Bearer``.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in _OPEN_TO_ALL or self._knows(scope):
            await self._app(scope, receive, send)
            return
        refusal = Refusal(401, "the token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})
        await error_answer(refusal)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._wanted)


def create_app(service: Service, token: str | None) -> Starlette:
    """Return the application.

    Args:
        service: What answers.
        token: Required of every request except for health; ``None`` requires nothing.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.routing import Route

    def route(path: str, method: str, endpoint: str, handler: Handler) -> Route:
        return Route(path, service.counted(endpoint, handler), methods=[method])

    routes = [
        route("/v2", "GET", "server", service.server),
        route("/v2/", "GET", "server", service.server),
        route("/v2/health/live", "GET", "live", service.live),
        route("/v2/health/ready", "GET", "ready", service.ready),
        route("/v2/repository/index", "POST", "index", service.index),
        route("/v2/repository/models/{model}/load", "POST", "repository", service.load_or_unload),
        route("/v2/repository/models/{model}/unload", "POST", "repository", service.load_or_unload),
        route("/v1/models/{model}/predict", "POST", "predict", service.predict),
        route("/metrics", "GET", "metrics", service.exposition),
    ]
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            route(base, "GET", "metadata", service.metadata),
            route(f"{base}/ready", "GET", "model_ready", service.model_ready),
            route(f"{base}/infer", "POST", "infer", service.infer),
        ]

    async def refuse(request: Request, error: Exception) -> Any:
        assert isinstance(error, HTTPException)  # noqa: S101  registered for it below
        text = f"{error.detail}: {request.method} {request.url.path[:200]}"
        return error_answer(Refusal(error.status_code, text, headers=dict(error.headers or {})))

    middleware = [Middleware(TokenGuard, token=token)] if token is not None else []
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: refuse})
