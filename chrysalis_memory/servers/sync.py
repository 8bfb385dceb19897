"""The sync protocol over HTTP: frames come as the bodies of POSTs."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from chrysalis_memory.errors import InvalidFrame, StorageError
from chrysalis_memory.readers import Readers
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX, Answer, Page, Request, Since
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.rights import Rights
from chrysalis_memory.replication.routes import CONTENT_TYPE, PULL, PUSH, SIGNATURE
from chrysalis_memory.replication.transport import WRITES
from chrysalis_memory.servers.changes import Changes
from chrysalis_memory.servers.incoming import check_content_type, read_body
from chrysalis_memory.servers.signatures import Signatures

WAIT_SECONDS_MAX = 25.0
"""How long a request waits for a change at most; common proxies give up after 30 seconds."""
_BODY_SECONDS_MAX = 300.0
_READERS = 8
_QUICK_BYTES = 64 << 10
"""So much is hashed in a fraction of a millisecond, less than a thread costs."""

T = TypeVar("T")

logger = logging.getLogger("chrysalis_memory")


class _Answered(NamedTuple):
    request: Request
    frame: bytes
    head: bytes | None
    """Of the store, before there was nothing new to tell; otherwise ``None``."""


class SyncRoute:
    """Answers the frames of other replicas.

    Args:
        replica: The store.
        poll_seconds: How often a request that waits looks for changes by other processes.
        signatures: Checks who sends a frame, and signs the answers; ``None``: whoever is let in may
            send any.
        arrived: Called after a frame that may have brought something.
    """

    def __init__(
        self,
        replica: Replica,
        *,
        poll_seconds: float,
        signatures: Signatures | None = None,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        self._replica = replica
        self._poll_seconds = poll_seconds
        self._signatures = signatures
        self._arrived = arrived
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

    async def pull(self, request: HttpRequest) -> Response:
        """Answer a frame that asks."""
        return await self._respond(request, writes=False)

    async def push(self, request: HttpRequest) -> Response:
        """Answer a frame that offers or gives."""
        try:
            return await self._respond(request, writes=True)
        finally:
            self._arrived()

    async def health(self, _: HttpRequest) -> Response:
        """Tell whether the store can be read."""
        try:
            await self._readers.run(self._changes.head)
        except StorageError:
            logger.exception("the memory that is served cannot be read")
            return JSONResponse(
                {"status": "the memory cannot be read"}, HTTPStatus.SERVICE_UNAVAILABLE
            )
        return JSONResponse({"status": "ok"})

    async def _respond(self, request: HttpRequest, *, writes: bool) -> Response:
        check_content_type(request, CONTENT_TYPE, what="a frame", kind="InvalidFrame")
        tidy = BackgroundTask(self._readers.run, self._replica.storage.tidy) if writes else None
        signatures = self._signatures
        if signatures is None:
            frame = await self._answer(await _read_frame(request), writes=writes)
            return Response(frame, media_type=CONTENT_TYPE, background=tidy)
        claim = signatures.open(request.headers, route=PUSH if writes else PULL)
        body = await _read_frame(request)
        await self._beside(lambda: signatures.settle(claim, body), size=len(body))
        frame = await self._answer(body, writes=writes, rights=claim.rights)
        signed = await self._beside(lambda: signatures.sign(claim, frame), size=len(frame))
        headers = {SIGNATURE: signed}
        return Response(frame, headers=headers, media_type=CONTENT_TYPE, background=tidy)

    async def _beside(self, work: Callable[[], T], *, size: int) -> T:
        """Do what takes time with the size of a frame: beside the event loop, if that is long."""
        return work() if size <= _QUICK_BYTES else await self._readers.run(work)

    async def _answer(self, body: bytes, *, writes: bool, rights: Rights | None = None) -> bytes:
        def once() -> _Answered:
            return self._answer_once(body, writes=writes, rights=rights)

        answered = await self._readers.run(once)
        if answered.head is not None and isinstance(answered.request, Since):
            seconds = min(answered.request.wait_seconds, WAIT_SECONDS_MAX)
            if await self._changes.wait(answered.head, seconds):
                answered = await self._readers.run(once)
        return answered.frame

    def _answer_once(self, body: bytes, *, writes: bool, rights: Rights | None) -> _Answered:
        request = frames.request(body)
        if isinstance(request, WRITES) != writes:
            route = PULL if writes else PUSH
            raise InvalidFrame(f"a {type(request).__name__} is sent to {route}")
        waits = isinstance(request, Since) and request.wait_seconds > 0
        head = self._changes.head() if waits else None  # before the answer, so that none is missed
        answer = self._replica.answer(request, rights=rights)
        is_idle = isinstance(request, Since) and _is_idle(request, answer)
        return _Answered(request, frames.encode(answer), head if is_idle else None)


async def _read_frame(request: HttpRequest) -> bytes:
    return await read_body(
        request,
        what="a frame",
        kind="InvalidFrame",
        most_bytes=FRAME_BYTES_MAX,
        most_seconds=_BODY_SECONDS_MAX,
    )


def _is_idle(request: Since, answer: Answer) -> bool:
    """Tell whether there was nothing new to answer with."""
    return isinstance(answer, Page) and not answer.is_news(request.cursor)
