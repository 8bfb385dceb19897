"""What a server says of requests that it does not answer, and of those that failed."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ExceptionHandler, Receive, Scope, Send

from chrysalis_memory.errors import (
    ChrysalisError,
    EmbedderError,
    MemoryForgotten,
    MemoryNotFound,
    PeerRefused,
    StorageError,
    StoreBusy,
)
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX
from embedders.errors import InvalidText, TextTooLong

_UNREAD_BYTES_MAX = 2 * FRAME_BYTES_MAX
_UNREAD_SECONDS_MAX = 5.0

logger = logging.getLogger("chrysalis_memory")


class Refusal(JSONResponse):
    """Answers a request whose body has not been read to its end, and closes the connection.

    Closing while data of the other side is still arriving resets the connection, and then the
    other side may lose the answer. So some more is read and dropped first.

    Args:
        status: The status that says so.
        kind: The name of the error, as ``chrysalis_memory.errors`` has it.
        message: What was wrong and what to do, in one line.
        headers: More headers for the answer.
    """

    def __init__(
        self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        content = {"error": kind, "message": message}
        super().__init__(content, status, {**(headers or {}), "Connection": "close"})

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


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status_code)
        self.refusal = refusal


def refused(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> Exception:
    """Return what to raise so that a request is answered with a :class:`Refusal`."""
    return _Refused(Refusal(status, kind, message, headers))


def handlers() -> dict[type[Exception], ExceptionHandler]:
    """Return what turns each error into an answer that names no file and no line of code."""
    return {
        _Refused: _refusal,
        HTTPException: _no_route,
        ChrysalisError: _failure,
        Exception: _unexpected,
    }


def _answer(status: int, kind: str, message: str) -> JSONResponse:
    return JSONResponse({"error": kind, "message": " ".join(message.split())}, status)


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)  # noqa: S101 - it is registered for this
    return error.refusal


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this
    message = f"there is no {request.method} {request.url.path}; /v1/openapi.json lists what is"
    answer = _answer(error.status_code, "UnknownRoute", message)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """Return the methods of all routes that a path has; Starlette knows but the first."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _failure(_: Request, error: Exception) -> Response:
    kind = type(error).__name__
    match error:
        case MemoryNotFound():
            return _answer(HTTPStatus.NOT_FOUND, kind, str(error))
        case MemoryForgotten():
            return _answer(HTTPStatus.GONE, kind, str(error))
        case StoreBusy():
            logger.warning("a request was sent away: %s", error)
            message = "the memory is being written; try again"
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, kind, message)
        case StorageError():
            # What it says names files of this machine, which are nobody else's business.
            logger.error("a request could not be answered", exc_info=error)
            message = "the memory failed; the server's log says why"
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, kind, message)
        case PeerRefused():
            logger.warning("a peer was refused: %s", error)
            return _answer(HTTPStatus.FORBIDDEN, kind, str(error))
        case InvalidText() | TextTooLong():
            return _answer(HTTPStatus.BAD_REQUEST, kind, str(error))
        case EmbedderError():
            # What it says may name another machine.
            logger.error("a text could not be embedded", exc_info=error)
            message = "the embedder failed; the server's log says why"
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, kind, message)
        case _:
            return _answer(HTTPStatus.BAD_REQUEST, kind, str(error))


async def _unexpected(_: Request, error: Exception) -> Response:
    # The error goes on to uvicorn, which logs it.
    message = f"the server failed ({type(error).__name__}); its log says why"
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message)
