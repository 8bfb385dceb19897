"""An MCP server over streamable HTTP, behind the gate that every server of this package has.

There is no encryption here: on a network that others share, put a proxy before it that speaks TLS.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chrysalis_memory.servers import serving
from chrysalis_memory.servers.admission import Admission
from chrysalis_memory.servers.http import check_address
from chrysalis_memory.servers.mcp_base import MemoryServer, TransportSecuritySettings
from chrysalis_memory.servers.tokens import Tokens, holder_of

PATH = "/mcp"
# The gate checks Host and Origin, by one rule for all servers.
_UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def http_app(server: MemoryServer, *, token: str | None, tokens: Tokens | None = None) -> ASGIApp:
    """Return an ASGI application that answers MCP at ``/mcp``.

    Args:
        server: What answers.
        token: What every request must bear. ``None`` answers only requests for a local name, such
            as ``localhost``: serve it on no other address.
        tokens: More tokens; each is answered from its own view of the memory.

    Raises:
        InvalidValue: a token that no header can carry, or that stands twice.
    """
    return _app(server, Tokens.of(token, tokens))[0]


def _app(server: MemoryServer, tokens: Tokens | None) -> tuple[ASGIApp, Callable[[], None]]:
    holders = () if tokens is None else tokens.holders
    # Each view has a server of its own, and with it sessions of its own.
    answering = _Views(server, {one.name: server.held_by(one) for one in holders})
    streams = _Streams(answering)
    gate = Admission(streams, tokens=tokens, open_paths=frozenset(), rates=None)
    return gate, streams.dismiss


class _Views:
    """Has each request answered by the server of whoever sent it.

    Args:
        server: Answers where no token is asked for.
        held: Answers the holders of tokens, by name.
    """

    def __init__(self, server: MemoryServer, held: Mapping[str, MemoryServer]) -> None:
        apps = {one: _mcp_app(one) for one in {server, *held.values()}}
        self._app = apps[server]
        self._held = {name: apps[one] for name, one in held.items()}
        self._lifespan = Router(lifespan=self._begun)
        self._all = list(apps.values())

    @contextlib.asynccontextmanager
    async def _begun(self, _: object) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as begun:
            for app in self._all:
                await begun.enter_async_context(app.router.lifespan_context(app))
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        holder = holder_of(scope)
        app = self._app if holder is None else self._held[holder.name]
        await app(scope, receive, send)


def _mcp_app(server: MemoryServer) -> Starlette:
    return server.streamable_http_app(streamable_http_path=PATH, transport_security=_UNCHECKED)


async def serve(
    server: MemoryServer,
    *,
    host: str = "127.0.0.1",
    port: int = 8421,
    token: str | None = None,
    tokens: Tokens | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve over HTTP until cancelled.

    Args:
        server: What answers.
        host: The address to listen on; any other than a local one demands a token.
        port: The port; 0 takes a free one.
        token: What every request must bear.
        tokens: As for :func:`http_app`.
        ready: Called with the URL once it is listened on.

    Raises:
        InvalidValue: an address that others can reach, without a token.
        OSError: the address cannot be listened on.
    """
    check_address(host, token=token, tokens=tokens)
    app, dismiss = _app(server, Tokens.of(token, tokens))
    await serving.run(
        app, host=host, port=port, dismiss=dismiss, ready=lambda url: ready(url + PATH)
    )


class _Streams:
    """Ends the streams that clients keep open once the server is to stop.

    Args:
        app: Answers requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stopping = asyncio.Event()

    def dismiss(self) -> None:
        """End all streams, as if each client had gone."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        is_open = False

        async def receive_until_dismissed() -> Message:
            return await self._first(receive)

        async def send_watched(message: Message) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await self._app(scope, receive_until_dismissed, send_watched)
        if is_open:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _first(self, receive: Receive) -> Message:
        message = asyncio.ensure_future(receive())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([message, stopping], return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            message.cancel()
            stopping.cancel()
