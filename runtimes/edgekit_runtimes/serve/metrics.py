"""What Prometheus can read at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one server, in a registry of their own.

    Labels come from the server's own models and routes, never from what a client made up: their number is bounded.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "edgekit_requests", "Requests answered.", ("model", "endpoint", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "edgekit_request_seconds",
            "Time from a request's header to its answer.",
            ("model", "endpoint"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._inference = Histogram(
            "edgekit_inference_seconds", "Time in the engine.", ("model",), buckets=_SECONDS, registry=self.registry
        )
        self._waiting = Gauge(
            "edgekit_queue_depth", "Requests that wait for a worker.", ("model",), registry=self.registry
        )
        self._rejected = Counter(
            "edgekit_rejected",
            "Requests turned away because of a limit.",
            ("model", "reason"),
            registry=self.registry,
        )

    def answered(self, model: str, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(model, endpoint, str(status)).inc()
        self._seconds.labels(model, endpoint).observe(seconds)

    def inferred(self, model: str, seconds: float) -> None:
        """Count a run of the engine."""
        self._inference.labels(model).observe(seconds)

    def rejected(self, model: str, reason: str) -> None:
        """Count a request that was turned away."""
        self._rejected.labels(model, reason).inc()

    def watch_queue(self, model: str, depth: Callable[[], int]) -> None:
        """Ask for a queue's depth whenever metrics are read."""
        self._waiting.labels(model).set_function(lambda: float(depth()))

    def text(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
