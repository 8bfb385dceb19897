"""Running an application on a socket, until somebody has it stopped."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn
from starlette.types import ASGIApp

_GRACE_SECONDS = 5


async def run(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    dismiss: Callable[[], None],
    ready: Callable[[str], None],
) -> None:
    """Serve an application until cancelled; then requests that have begun are answered.

    Args:
        app: Answers requests.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        dismiss: Has requests that wait answered at once.
        ready: Called with the URL once it is listened on.

    Raises:
        OSError: the address cannot be listened on.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    with _listen(host, port) as listening:
        address = listening.getsockname()
        shown_host = f"[{address[0]}]" if ":" in address[0] else address[0]
        server = _Server(config, dismiss)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        ready(f"http://{shown_host}:{address[1]}")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, dismiss: Callable[[], None]) -> None:
        super().__init__(config)
        self._dismiss = dismiss

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to whoever called: an application has its own way of ending."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send away those who wait, then close."""
        self._dismiss()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((str(address[0]), port), family=family)
