"""The socket, the signals and the end: uvicorn, stopped as a service should be."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edgekit.errors import EnvironmentFault

if TYPE_CHECKING:
    import uvicorn

# uvicorn waits a moment before and after; together it stays below the five seconds that a stop may take.
_FINISH_SECONDS = 4
_BACKLOG = 128
# A client that sends on a connection which is being closed loses its request: close late.
_KEEP_ALIVE_SECONDS = 75


def bind(host: str, port: int) -> socket.socket:
    """Take an address; nobody can connect before `serve_until_stopped` listens.

    Args:
        host: Name or address of an interface.
        port: 0 takes any that is free.

    Raises:
        EnvironmentFault: The port is taken or not allowed, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer takes 40 ms longer.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise EnvironmentFault(f"no address {host!r}: {error.strerror}", expected="one of this machine's") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(f"{host} port {port}", error) from error
    return listener


def _cannot_listen(where: str, error: OSError) -> EnvironmentFault:
    taken = error.errno == errno.EADDRINUSE
    return EnvironmentFault(
        f"cannot listen on {where}: {error.strerror}",
        expected="a free port" if taken else "an address and a port that this user may take",
        remedy="choose another with --port, or --port 0 for any that is free",
    )


def address_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_until_stopped(app: Any, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM.

    The first signal closes the socket and lets what is being answered finish, at most for some seconds; a second one
    ends at once.

    Args:
        app: ASGI application.
        listener: A bound socket; closed at the end.
        ready: Called when requests are answered.

    Raises:
        EnvironmentFault: Another process listens there by now.
    """
    import uvicorn

    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _cannot_listen(address_of(listener), error) from error

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    asyncio.run(_serve(_server(config, ready), listener))


def _server(config: uvicorn.Config, ready: Callable[[], None]) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves the signals to us: uvicorn ends by raising them again, which would not be a clean end."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            ready()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
            # Their connections would keep uvicorn waiting; cancelled, they tell their clients and close.
            for task in tuple(server.server_state.tasks):
                task.cancel()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
