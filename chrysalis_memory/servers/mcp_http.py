"""An MCP server over streamable HTTP, behind the gate that every server of this package has.

There is no encryption here: on a network that others share, put a proxy before it that speaks TLS.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chrysalis_memory.servers import serving
from chrysalis_memory.servers.admission import Admission
from chrysalis_memory.servers.http import check_address
from chrysalis_memory.servers.mcp_base import MemoryServer, TransportSecuritySettings

PATH = "/mcp"
# The gate checks Host and Origin, by one rule for all servers.
_UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def http_app(server: MemoryServer, *, token: str | None) -> ASGIApp:
    """Return an ASGI application that answers MCP at ``/mcp``.

    Args:
        server: What answers.
        token: What every request must bear. ``None`` answers only requests for a local name, such
            as ``localhost``: serve it on no other address.

    Raises:
        InvalidValue: a token that no header can carry.
    """
    return _app(server, token)[0]


def _app(server: MemoryServer, token: str | None) -> tuple[ASGIApp, Callable[[], None]]:
    app = server.streamable_http_app(streamable_http_path=PATH, transport_security=_UNCHECKED)
    streams = _Streams(app)
    gate = Admission(streams, token=token, open_paths=frozenset(), rates=None)
    return gate, streams.dismiss


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
    check_address(host, token=token)
    app, dismiss = _app(server, token)
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
