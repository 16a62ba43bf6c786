"""A Ray cluster: joining it quietly, and calling functions on its nodes.

What bulk inference and plans need of Ray is here once. Ray schedules, moves results and repeats what a lost process or
node had begun; nothing here decides where or when anything runs. Ray is imported when it is asked for.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgekit.errors import EnvironmentFault, MissingExtra, UsageError, reason

RETRIES = 2
"""How often a task is begun again after the process that worked on it has died."""
_CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"auto|local|(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]{1,253}):(?P<port>\d{1,5})", re.ASCII)
_MAX_PORT = 65535
_SAME_EDGEKIT = "install the same version of edgekit, with the same extras, on every node"
K = TypeVar("K")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Join a cluster, or start one, and leave it in the end; a process that has joined one already stays in it.

    Args:
        address: ``auto`` for the cluster that runs here, ``local`` to start one for this while, or ``HOST:PORT``.

    Raises:
        UsageError: It is no address.
        MissingExtra: Ray is not installed.
        EnvironmentFault: There is no such cluster, or it fails meanwhile.
    """
    _check_address(address)
    # Ray reports its use to its makers unless told not to; nobody was asked.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The first error is raised here; those that were on their way too are of no use to anyone.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    # A task that the memory monitor ends would be begun again without end.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    ray = _ray()
    ours = not ray.is_initialized()
    try:
        if ours:
            with _kept_signals():
                _connect(ray, address)
        with _silent_listener():
            yield
    except ray.exceptions.RayTaskError as error:
        cause = _cause(error)
        raise EnvironmentFault(
            f"a task on the Ray cluster failed: {type(cause).__name__}: {reason(cause)}", remedy="--debug says where"
        ) from error
    except ray.exceptions.RayError as error:
        raise EnvironmentFault(
            f"the Ray cluster failed: {reason(_cause(error))}",
            remedy="look into its logs; what is finished is kept, and the same command goes on",
        ) from error
    finally:
        if ours:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("this needs ray, which is not installed", remedy="pip install 'edgekit-ai[ray]'") from error
    return ray


def _check_address(address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"] or 0) > _MAX_PORT:
        shown = address.rpartition("@")[2]  # what goes before may be a password
        raise UsageError(f"the Ray address {shown!r}", expected="auto, local or HOST:PORT")


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Joining a cluster replaces the handler of SIGTERM by one that ends the process with 15 and not a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent_listener() -> Iterator[None]:
    """Ray writes of each dead worker to standard output, which is the result's, whatever it was told of logs."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _connect(ray: Any, address: str) -> None:
    _refuse_silent(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _refuse_silent(address: str) -> None:
    """Ray itself tries for minutes where nobody listens."""
    found = _ADDRESS.fullmatch(address)
    if found is None or found["host"] is None:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _CONNECT_SECONDS).close()
    except (OSError, UnicodeError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> EnvironmentFault:
    return EnvironmentFault(
        f"no Ray cluster at {address}: {reason(error)}",
        remedy="ray start --head here first, give its address, or --ray local to start one for this run",
    )


def on_each_node(function: Callable[..., Any], *arguments: Any, cpus: float) -> dict[str, Any]:
    """Call a function on every node whose size allows a task, whatever is at work there.

    Args:
        function: Of a module that every node has.
        arguments: What to call it with.
        cpus: CPUs of a task.

    Returns:
        Node -> what it returned there.

    Raises:
        EnvironmentFault: No node is as large as that, or one cannot call the function.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = _ray()
    calls = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= cpus:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote = ray.remote(function).options(num_cpus=0, scheduling_strategy=there, max_retries=RETRIES)
            calls[_called(node["NodeManagerAddress"], node["NodeID"])] = remote.remote(*arguments)
    if not calls:
        raise EnvironmentFault(f"no node of the Ray cluster has {cpus:g} CPUs", remedy="ask for fewer")
    return {name: _value(ray, reference, name) for name, reference in calls.items()}


def this_node() -> str:
    """Name the node that this task runs on, as `on_each_node` does."""
    ray = _ray()
    return _called(ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id())


def _called(address: str, identity: str) -> str:
    """Several nodes may have one address; the beginning of the identity is what ``ray list nodes`` shows too."""
    return f"{address} ({identity[:8]})"


def _value(ray: Any, reference: Any, node: str | None = None) -> Any:
    """Get a result. Raises EnvironmentFault for a node that lacks what the function needs."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = _cause(error)
        if isinstance(cause, ImportError) or "failed to import" in str(cause):
            last = str(cause).strip().splitlines()[-1]  # what goes before is Ray's traceback
            raise EnvironmentFault(f"node {node or error.ip} cannot work: {last}", remedy=_SAME_EDGEKIT) from error
        raise


@dataclass(frozen=True)
class Done(Generic[K]):
    """A task that has ended.

    Attributes:
        key: What it was started as.
        value: What its function returned.
        lost: Why it has no value: the processes that worked on it died, each time.
    """

    key: K
    value: Any = None
    lost: str | None = None


class Tasks(Generic[K]):
    """Functions called on the nodes of a cluster that was joined; at the end of its context, what still runs is ended.

    Args:
        cpus: CPUs that Ray sets aside for each.
    """

    def __init__(self, cpus: float) -> None:
        self._cpus = cpus
        self._running: dict[Any, K] = {}

    def __len__(self) -> int:
        """Tasks that have not been taken yet."""
        return len(self._running)

    def start(self, key: K, function: Callable[..., Any], *arguments: Any) -> None:
        """Hand a task to Ray.

        Args:
            key: How to call it.
            function: Of a module that every node has.
            arguments: What to call it with.
        """
        remote = _ray().remote(function).options(num_cpus=self._cpus, max_retries=RETRIES)
        self._running[remote.remote(*arguments)] = key

    def next(self) -> Done[K]:
        """Wait for a task to end.

        Raises:
            EnvironmentFault: A node lacks what the function needs.
            ray.exceptions.RayError: The function raised something else, or the cluster fails.
        """
        ray = _ray()
        (reference,), _ = ray.wait(list(self._running), num_returns=1)
        key = self._running.pop(reference)
        failures = ray.exceptions
        try:
            return Done(key, _value(ray, reference))
        except failures.OutOfMemoryError:
            return Done(key, lost=f"its process was ended for want of memory, {RETRIES + 1} times")
        except (failures.WorkerCrashedError, failures.NodeDiedError, failures.ObjectLostError):
            return Done(key, lost=f"its process died, or its node was lost, {RETRIES + 1} times")

    def __enter__(self) -> Tasks[K]:
        return self

    def __exit__(self, *_: object) -> None:
        ray = _ray()
        for reference in self._running:
            with suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(reference, force=True)
        self._running.clear()


def _cause(error: BaseException) -> BaseException:
    return getattr(error, "cause", None) or error
