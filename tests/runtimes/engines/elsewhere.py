"""Stands in for builds of ONNX Runtime that this machine cannot run: real CPU sessions that say they run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgekit_runtimes.engines.providers import CPU, PROVIDERS

EVERYWHERE = [*PROVIDERS.values()]


class Elsewhere:
    """A session that runs on the CPU and says that it runs as it was asked to.

    Attributes:
        sessions: Those that were opened, in order.
        counts: Provider -> nodes; by default all nodes on the provider asked for.
        fails: Provider -> what opening it raises.
        absent: Providers that are left out without a word, as ONNX Runtime does when their libraries do not load.
        builds: When TensorRT writes its engine: ``open``, or ``run`` as with free dimensions.
        answers: What is added to every output, as a wrong kernel would.
    """

    sessions: list[Elsewhere]
    counts: Mapping[str, int] | None
    fails: Mapping[str, str]
    absent: frozenset[str]
    builds: str
    answers: float
    real: Any

    def __init__(self, model: str | bytes, options: Any, providers: list[Any], enable_fallback: int = 1) -> None:
        self.model, self.options, self.enable_fallback = model, options, enable_fallback
        self.providers = [(item, {}) if isinstance(item, str) else item for item in providers]
        if self.providers[0][0] in self.fails:
            raise RuntimeError(self.fails[self.providers[0][0]])
        self.session = self.real(model, options, providers=[CPU])
        self.sessions.append(self)
        self._build("open")

    def run(self, names: list[str], feeds: Mapping[str, Any]) -> list[Any]:
        self._build("run")
        return [output + self.answers for output in self.session.run(names, feeds)]

    def _build(self, when: str) -> None:
        folder = self.providers[0][1].get("trt_engine_cache_path")
        if folder and when == self.builds and self.providers[0][0] not in self.absent:
            Path(folder, "TensorrtExecutionProvider_TRTKernel_graph_0_sm87.engine").write_bytes(b"built")

    def get_providers(self) -> list[str]:
        return [*(name for name, _ in self.providers if name not in self.absent), CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        counts = self.counts if self.counts is not None else {self.providers[0][0]: 2}
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda count=count: range(count)) for name, count in counts.items()
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)
