"""The files of the explorer page, which hold nothing of the memory and need no token."""

import asyncio
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chrysalis_memory.codec import digest

FOLDER = resources.files("chrysalis_memory.servers") / "explorer"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Nothing is loaded from elsewhere, nothing runs that is not in a file of ours.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


def routes() -> list[Route]:
    """Return the routes of the page."""
    return [
        Route("/", _index, methods=["GET"], name="/"),
        Route("/explorer/{name}", _file, methods=["GET"], name="/explorer/{name}"),
    ]


async def _index(request: Request) -> Response:
    return await _served(request, _INDEX)


async def _file(request: Request) -> Response:
    return await _served(request, request.path_params["name"])


async def _served(request: Request, name: str) -> Response:
    content = await asyncio.to_thread(_read, name)
    if content is None:
        raise HTTPException(404)
    headers = _HEADERS | {"ETag": f'"{digest(content).hex()}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[PurePosixPath(name).suffix])


def _read(name: str) -> bytes | None:
    """Return a file of the page; a name that is not in the folder's list is never opened."""
    found: dict[str, Traversable] = {
        one.name: one for one in FOLDER.iterdir() if PurePosixPath(one.name).suffix in _TYPES
    }
    return found[name].read_bytes() if name in found else None
