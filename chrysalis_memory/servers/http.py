"""A memory served over HTTP, for other replicas to sync with (extra ``http``).

There is no encryption here: on a network that others share, put a proxy before it that speaks TLS.
Without a token only this machine is answered, and only under a name of its own, so that no page
which a browser shows can speak to it; on any other address a token is demanded.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from http import HTTPStatus
from typing import NamedTuple

from chrysalis_memory.errors import (
    ChrysalisError,
    InvalidFrame,
    InvalidValue,
    ReplicationError,
    StorageError,
    StoreBusy,
)
from chrysalis_memory.readers import Readers
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.http import CONTENT_TYPE, PULL, PUSH, check_token
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX, Answer, Page, Request, Since
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import WRITES
from chrysalis_memory.servers.changes import POLL_SECONDS, Changes
from chrysalis_memory.storage import MemoryStorage

try:
    import uvicorn
    from starlette import requests
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise ReplicationError(
        f"serving over HTTP needs the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[http]'"
    ) from error

HEALTH = "/v1/health"
WAIT_SECONDS_MAX = 25.0
"""How long a request waits for a change at most; common proxies give up after 30 seconds."""
_BODY_SECONDS_MAX = 300.0
_GRACE_SECONDS = 5
_UNREAD_BYTES_MAX = 2 * FRAME_BYTES_MAX
_UNREAD_SECONDS_MAX = 5.0
_READERS = 8
_LOOPBACK_NAMES = ("localhost",)

logger = logging.getLogger("chrysalis_memory")


class _Refused(Exception):
    """A request is not answered, and its body not read to its end."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class _Answered(NamedTuple):
    request: Request
    frame: bytes
    head: bytes | None
    """Of the store, before there was nothing new to tell; otherwise ``None``."""


class SyncRoute:
    """Answers frames that come as the bodies of POSTs.

    Args:
        replica: The store.
        token: What every request must bear; ``None`` answers this machine alone.
        poll_seconds: How often a request that waits looks for changes by other processes.
    """

    def __init__(self, replica: Replica, *, token: str | None, poll_seconds: float) -> None:
        self._replica = replica
        self._token = None if token is None else check_token(token).encode()
        self._poll_seconds = poll_seconds
        self._readers: Readers
        self._changes: Changes

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Start what waiting needs, and end it."""
        self._readers = Readers(_READERS)
        self._changes = Changes(
            self._replica.storage, self._readers, poll_seconds=self._poll_seconds
        )
        try:
            yield
        finally:
            self._changes.close()
            self._readers.close()

    def dismiss(self) -> None:
        """Answer those who wait at once, for the server is to stop."""
        self._changes.close()

    async def pull(self, request: requests.Request) -> Response:
        """Answer a frame that asks."""
        return await self._respond(request, writes=False)

    async def push(self, request: requests.Request) -> Response:
        """Answer a frame that offers or gives."""
        return await self._respond(request, writes=True)

    async def health(self, _: requests.Request) -> Response:
        """Tell whether the store can be read."""
        try:
            await self._readers.run(self._changes.head)
        except StorageError:
            logger.exception("the memory that is served cannot be read")
            return JSONResponse(
                {"status": "the memory cannot be read"}, HTTPStatus.SERVICE_UNAVAILABLE
            )
        return JSONResponse({"status": "ok"})

    async def _respond(self, request: requests.Request, *, writes: bool) -> Response:
        try:
            self._admit(request)
            body = await _body(request)
            return Response(await self._answer(body, writes=writes), media_type=CONTENT_TYPE)
        except _Refused as refused:
            return _Refusal(refused)
        except StoreBusy as error:
            logger.warning("a request was sent away: %s", error)
            return _unavailable(error, "the memory is being written; sync again")
        except StorageError as error:
            # What it says names files of this machine, which are nobody else's business.
            logger.exception("a request could not be answered")
            return _unavailable(error, "the memory failed; the server's log says why")
        except ChrysalisError as error:
            return _error(HTTPStatus.BAD_REQUEST, type(error).__name__, str(error))

    def _admit(self, request: requests.Request) -> None:
        headers = request.headers
        if self._token is None:
            if not is_loopback(_without_port(headers.get("host", ""))):
                message = "without a token only a local address is answered"
                raise _Refused(HTTPStatus.FORBIDDEN, "PeerRefused", message)
        else:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # Headers are read as Latin-1, so this gives back the very bytes that came.
            is_same = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
            if scheme.lower() != "bearer" or not is_same:
                raise _Refused(HTTPStatus.UNAUTHORIZED, "PeerRefused", "a valid token is needed")
        if headers.get("content-type", "") != CONTENT_TYPE:
            message = f"a frame has the content type {CONTENT_TYPE}"
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "InvalidFrame", message)

    async def _answer(self, body: bytes, *, writes: bool) -> bytes:
        answered = await self._readers.run(lambda: self._answer_once(body, writes=writes))
        if answered.head is not None and isinstance(answered.request, Since):
            seconds = min(answered.request.wait_seconds, WAIT_SECONDS_MAX)
            if await self._changes.wait(answered.head, seconds):
                answered = await self._readers.run(lambda: self._answer_once(body, writes=writes))
        return answered.frame

    def _answer_once(self, body: bytes, *, writes: bool) -> _Answered:
        request = frames.request(body)
        if isinstance(request, WRITES) != writes:
            route = PULL if writes else PUSH
            raise InvalidFrame(f"a {type(request).__name__} is sent to {route}")
        waits = isinstance(request, Since) and request.wait_seconds > 0
        head = self._changes.head() if waits else None  # before the answer, so that none is missed
        answer = self._replica.answer(request)
        is_idle = isinstance(request, Since) and _is_idle(request, answer)
        return _Answered(request, frames.encode(answer), head if is_idle else None)


def _is_idle(request: Since, answer: Answer) -> bool:
    """Tell whether there was nothing new to answer with."""
    return isinstance(answer, Page) and not answer.is_news(request.cursor)


def sync_app(
    store: MemoryStorage | Replica, *, token: str | None, poll_seconds: float = POLL_SECONDS
) -> Starlette:
    """Return an ASGI application that other replicas sync with.

    Args:
        store: The memory; whoever opened it closes it, after the application has ended.
        token: What every request must bear. ``None`` answers only requests for a local address,
            such as ``localhost``: serve it on no other.
        poll_seconds: How soon a request that waits notices a change by another process.

    Raises:
        InvalidValue: a token that no header can carry.
    """
    replica = store if isinstance(store, Replica) else Replica(store)
    route = SyncRoute(replica, token=token, poll_seconds=poll_seconds)
    app = Starlette(
        routes=[
            Route(PULL, route.pull, methods=["POST"]),
            Route(PUSH, route.push, methods=["POST"]),
            Route(HEALTH, route.health, methods=["GET"]),
        ],
        lifespan=route.lifespan,
    )
    app.state.dismiss = route.dismiss
    return app


async def serve(
    store: MemoryStorage | Replica,
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    token: str | None = None,
    poll_seconds: float = POLL_SECONDS,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a memory until cancelled; then requests that have begun are answered.

    Args:
        store: The memory; whoever opened it closes it.
        host: The address to listen on; any other than a local one demands a token.
        port: The port; 0 takes a free one.
        token: What every request must bear.
        poll_seconds: How soon a request that waits notices a change by another process.
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
    app = sync_app(store, token=token, poll_seconds=poll_seconds)
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
        server = _Server(config, app.state.dismiss)
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
        self._dismiss()
        await super().shutdown(sockets)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or an address means this machine, and can mean no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in _LOOPBACK_NAMES


def _without_port(host: str) -> str:
    end = host.find("]") if host.startswith("[") else host.rfind(":") - 1
    return host if end < 0 else host[: end + 1]


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((str(address[0]), port), family=family)


async def _body(request: requests.Request) -> bytes:
    """Read a body, no further than a frame may be long."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > FRAME_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS_MAX):
            async for part in request.stream():
                body += part
                if len(body) > FRAME_BYTES_MAX:
                    raise _too_large()
    except TimeoutError:
        message = f"the frame did not arrive within {_BODY_SECONDS_MAX:.0f} seconds"
        raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "InvalidFrame", message) from None
    except requests.ClientDisconnect:
        message = "the connection ended within the frame"
        raise _Refused(HTTPStatus.BAD_REQUEST, "InvalidFrame", message) from None
    return bytes(body)


def _too_large() -> _Refused:
    message = f"a frame has at most {FRAME_BYTES_MAX:,} bytes"
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "InvalidFrame", message)


def _unavailable(error: StorageError, message: str) -> Response:
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__, message)


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": kind, "message": message}, status)


class _Refusal(JSONResponse):
    """Answers a request whose body has not been read to its end, and closes the connection.

    Closing while data of the other side is still arriving resets the connection, and then the
    other side may lose the answer. So some more is read and dropped first.
    """

    def __init__(self, refused: _Refused) -> None:
        headers = {"Connection": "close"}
        if refused.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        content = {"error": refused.kind, "message": str(refused)}
        super().__init__(content, refused.status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, drop what still arrives within limits, then end."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send(start | {"headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNREAD_SECONDS_MAX):
                while dropped < _UNREAD_BYTES_MAX:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
