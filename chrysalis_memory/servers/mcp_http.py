"""An MCP server over streamable HTTP: who is let in, and where it listens.

There is no encryption here: on a network that others share, put a proxy before it that speaks TLS.
Without a token only this machine is answered, and only under a name of its own, so that no page
which a browser shows can speak to it; on any other address a token is demanded.
"""

import asyncio
import contextlib
import hmac
import socket
from collections.abc import Callable, Generator
from http import HTTPStatus
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.http import check_token
from chrysalis_memory.servers.http import is_loopback
from chrysalis_memory.servers.mcp_base import MemoryServer, TransportSecuritySettings

PATH = "/mcp"
_GRACE_SECONDS = 2
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Gate:
    """Lets in requests that bear the token and come from no other page's script.

    Args:
        app: What is guarded.
        token: What every request must bear; ``None`` asks for none.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else check_token(token).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> ASGIApp | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            message = "a page of another origin is not answered"
            return _refused(HTTPStatus.FORBIDDEN, message)
        if self._token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Headers are read as Latin-1, so this gives back the very bytes that came.
        is_same = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() == "bearer" and is_same:
            return None
        return _refused(
            HTTPStatus.UNAUTHORIZED, "a valid token is needed", {"WWW-Authenticate": "Bearer"}
        )


def http_app(server: MemoryServer, *, token: str | None) -> ASGIApp:
    """Return an ASGI application that answers MCP at ``/mcp``.

    Args:
        server: What answers.
        token: What every request must bear. ``None`` answers only requests for a local name, such
            as ``localhost``: serve it on no other address.

    Raises:
        InvalidValue: a token that no header can carry.
    """
    local = [name for host in _LOOPBACK_HOSTS for name in (host, f"{host}:*")]
    security = TransportSecuritySettings(
        # Whoever knows the token is no page that gave its own name this machine's address.
        enable_dns_rebinding_protection=token is None,
        allowed_hosts=local,
        allowed_origins=[f"http://{name}" for name in local],
    )
    app = server.streamable_http_app(streamable_http_path=PATH, transport_security=security)
    return Gate(app, token=token)


async def serve(
    server: MemoryServer,
    *,
    host: str = "127.0.0.1",
    port: int = 8421,
    token: str | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve over HTTP until cancelled.

    Args:
        server: What answers.
        host: The address to listen on; any other than a local one demands a token.
        port: The port; 0 takes a free one.
        token: What every request must bear.
        ready: Called with the URL once it is listened on.

    Raises:
        InvalidValue: an address that others can reach, without a token.
        OSError: the address cannot be listened on.
    """
    if token is None and not is_loopback(host):
        raise InvalidValue(
            f"{host!r} can be reached by others, so a token is needed: give --token or "
            "CHRYSALIS_TOKEN, or listen on 127.0.0.1"
        )
    config = uvicorn.Config(
        http_app(server, token=token),
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
        running = _Running(config)
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        ready(f"http://{shown_host}:{address[1]}{PATH}")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            running.should_exit = True
            await serving
            raise


class _Running(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to whoever called: an application has its own way of ending."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((str(address[0]), port), family=family)


def _refused(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": "PeerRefused", "message": message}, status, headers)
