"""A memory served over HTTP: an explorer page, a JSON API, and the sync with other replicas.

There is no encryption here: on a network that others share, put a proxy before it that speaks TLS.
Without a token only this machine is answered, and only under a name of its own, so that no page
which a browser shows can speak to it; on any other address a token is demanded.
"""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.routes import CONTENT_TYPE, PULL, PUSH, check_token
from chrysalis_memory.servers import metrics, openapi, pages, refusals, serving
from chrysalis_memory.servers.admission import Admission, is_loopback
from chrysalis_memory.servers.api import Api
from chrysalis_memory.servers.changes import POLL_SECONDS
from chrysalis_memory.servers.keyring import Keyring
from chrysalis_memory.servers.metrics import Metered, Metrics
from chrysalis_memory.servers.operations import Operation
from chrysalis_memory.servers.rates import Rates
from chrysalis_memory.servers.schemas import Health
from chrysalis_memory.servers.signatures import Signatures
from chrysalis_memory.servers.sync import SyncRoute
from chrysalis_memory.storage import MemoryStorage

HEALTH = "/v1/health"
METRICS = "/v1/metrics"
OPENAPI = "/v1/openapi.json"
REQUESTS_PER_SECOND = 50.0
_BURST_SECONDS = 2.0
"""A client that has paused may send at once what it may send in so long a time."""


def app(
    memory: AgentMemory | MemoryStorage | Replica,
    *,
    token: str | None,
    keys: Keyring | None = None,
    poll_seconds: float = POLL_SECONDS,
    requests_per_second: float = REQUESTS_PER_SECOND,
) -> Starlette:
    """Return an ASGI application that serves a memory.

    Args:
        memory: A started memory, with everything; or a store, for other replicas to sync with and
            nothing else. Whoever opened it closes it, after the application has ended.
        token: What every request must bear. ``None`` answers only requests for a local address,
            such as ``localhost``: serve it on no other.
        keys: The peers that may sync. Then frames are signed with one of them, and need no token;
            the token is for everything else, and lets nobody sync.
        poll_seconds: How soon a request that waits notices a change by another process.
        requests_per_second: How many requests one client may send; twice as many after a pause.
            0: any number.

    Raises:
        InvalidValue: a token that no header can carry, or a negative number of requests.
    """
    if token is not None:
        check_token(token)
    if not requests_per_second >= 0:
        raise InvalidValue(f"requests per second must be 0 or more, got {requests_per_second!r}")
    route = _sync_route(memory, poll_seconds, keys)
    operations = _operations_of_stores(route, is_signed=keys is not None)
    routes: list[Route] = []
    counted = Metrics()
    if isinstance(memory, AgentMemory):
        operations += [*Api(memory).operations(), _metrics_of(memory, counted)]
        routes += pages.routes()
    operations.append(_description_of(operations, needs_token=token is not None))
    routes += [operation.route() for operation in operations]
    burst = max(1.0, requests_per_second * _BURST_SECONDS)
    rates = Rates(requests_per_second, burst=burst)
    open_paths = {operation.path for operation in operations if operation.is_open}

    def gate(inner: ASGIApp) -> Admission:
        # What is given to Middleware is shown by its repr; this is not.
        return Admission(
            inner,
            token=token,
            open_paths=open_paths | {"/", "/explorer/"},
            signed_paths=_signed_paths(memory, keys, open_paths),
            rates=rates if requests_per_second else None,
        )

    found = Starlette(
        routes=routes,
        middleware=[
            Middleware(Metered, metrics=counted, routes=routes),
            Middleware(gate),
        ],
        exception_handlers=refusals.handlers(),
        lifespan=route.lifespan,
    )
    found.router.redirect_slashes = False
    found.state.dismiss = route.dismiss
    return found


async def serve(
    memory: AgentMemory | MemoryStorage | Replica,
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    token: str | None = None,
    keys: Keyring | None = None,
    poll_seconds: float = POLL_SECONDS,
    requests_per_second: float = REQUESTS_PER_SECOND,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a memory until cancelled; then requests that have begun are answered.

    Args:
        memory: As for :func:`app`.
        host: The address to listen on; any other than a local one demands a token, or keys where
            nothing but syncing is served.
        port: The port; 0 takes a free one.
        token: What every request must bear.
        keys: As for :func:`app`.
        poll_seconds: As for :func:`app`.
        requests_per_second: As for :func:`app`.
        ready: Called with the URL once it is listened on.

    Raises:
        InvalidValue: an address that others can reach, without a token.
        OSError: the address cannot be listened on.
    """
    check_address(host, token=token, is_signed=_is_signed(memory, keys))
    served = app(
        memory,
        token=token,
        keys=keys,
        poll_seconds=poll_seconds,
        requests_per_second=requests_per_second,
    )
    await serving.run(served, host=host, port=port, dismiss=served.state.dismiss, ready=ready)


def check_address(host: str, *, token: str | None, is_signed: bool = False) -> None:
    """Check that an address may be served.

    Args:
        host: The address.
        token: What every request must bear.
        is_signed: Whether nothing is served but what must be signed.

    Raises:
        InvalidValue: others can reach it, and there is no token; or one that no header can carry.
    """
    if token is not None:
        check_token(token)
    elif not is_signed and not is_loopback(host):
        raise InvalidValue(
            f"{host!r} can be reached by others, so a token is needed: give --token or "
            "CHRYSALIS_TOKEN, or listen on 127.0.0.1"
        )


def _is_signed(memory: AgentMemory | MemoryStorage | Replica, keys: Keyring | None) -> bool:
    return keys is not None and not isinstance(memory, AgentMemory)


def _signed_paths(
    memory: AgentMemory | MemoryStorage | Replica, keys: Keyring | None, open_paths: set[str]
) -> set[str]:
    """Return what is answered under any name without a token."""
    if keys is None:
        return set()
    return {PULL, PUSH} | (open_paths if _is_signed(memory, keys) else set())


def _sync_route(
    memory: AgentMemory | MemoryStorage | Replica, poll_seconds: float, keys: Keyring | None
) -> SyncRoute:
    signatures = None if keys is None else Signatures(keys)
    if isinstance(memory, AgentMemory):
        return SyncRoute(
            Replica(memory.storage),
            poll_seconds=poll_seconds,
            signatures=signatures,
            arrived=memory.embed_soon,
        )
    replica = memory if isinstance(memory, Replica) else Replica(memory)
    return SyncRoute(replica, poll_seconds=poll_seconds, signatures=signatures)


def _operations_of_stores(route: SyncRoute, *, is_signed: bool) -> list[Operation]:
    return [
        Operation(method="GET", path=HEALTH, summary="Say whether the memory can be read.",
                  answer=route.health, gives=(Health,), is_open=True),
        Operation(method="POST", path=PULL, summary="Answer a frame of the sync that asks.",
                  answer=route.pull, media_type=CONTENT_TYPE, is_signed=is_signed),
        Operation(method="POST", path=PUSH, summary="Answer a frame of the sync that gives.",
                  answer=route.push, media_type=CONTENT_TYPE, is_signed=is_signed),
    ]  # fmt: skip


def _metrics_of(memory: AgentMemory, counted: Metrics) -> Operation:
    async def answer(_: Request) -> Response:
        held = await memory.statistics()
        gauges = {
            "chrysalis_memories": ("Memories, without archived and expired ones.", held.memories),
            "chrysalis_pending": ("Memories that wait for their vector.", held.pending),
            "chrysalis_size_bytes": ("What the store takes on disk.", held.size_bytes),
        }
        return Response(counted.text(gauges), media_type=metrics.MEDIA_TYPE)

    return Operation(method="GET", path=METRICS, summary="Count requests and memories, as text.",
                     answer=answer, media_type="text/plain")  # fmt: skip


def _description_of(operations: list[Operation], *, needs_token: bool) -> Operation:
    described: dict[str, Any] = {}

    async def answer(_: Request) -> Response:
        if not described:
            described.update(openapi.describe([*operations], needs_token=needs_token))
        return JSONResponse(described)

    return Operation(method="GET", path=OPENAPI, summary="Describe what can be asked.",
                     answer=answer, is_open=True)  # fmt: skip
