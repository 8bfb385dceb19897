"""One entry for everything that can be asked: routes and their description are made of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chrysalis_memory.errors import StoreBusy
from chrysalis_memory.servers.incoming import JSON

ANSWER_SECONDS_MAX = 60.0
"""How long the JSON API works on an answer."""


class _AnyText(Convertor[str]):
    """The rest of a path, whatever characters an id has; a slash and a line break too."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _AnyText())


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something that can be asked.

    Attributes:
        method: The HTTP method.
        path: The path; ``{id:id}`` is the rest of it.
        summary: What it does, in one sentence.
        answer: Returns a model, or for other media types a whole response.
        takes: What its body may be; nothing: it has none.
        asks: What may stand behind the question mark.
        gives: What it may answer.
        status: The status of a good answer.
        media_type: Of body and answer.
        refusals: Statuses besides those that any request may be answered with.
        is_open: Whether it needs no token.
        is_signed: Whether it needs a signature in place of a token.
    """

    method: str
    path: str
    summary: str
    answer: Callable[[Request], Awaitable[Any]]
    takes: tuple[type[BaseModel], ...] = ()
    asks: type[BaseModel] | None = None
    gives: tuple[type[BaseModel], ...] = ()
    status: int = HTTPStatus.OK
    media_type: str = JSON
    refusals: tuple[int, ...] = ()
    is_open: bool = False
    is_signed: bool = False

    @property
    def public_path(self) -> str:
        """The path as clients see it."""
        return self.path.replace("{id:id}", "{id}")

    def route(self) -> Route:
        """Return the route that answers it."""
        return Route(self.path, self._respond, methods=[self.method], name=self.public_path)

    async def _respond(self, request: Request) -> Response:
        if not self.gives:
            return await self.answer(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await self.answer(request)
        except TimeoutError as error:
            raise StoreBusy(f"no answer within {ANSWER_SECONDS_MAX:.0f} seconds") from error
        if isinstance(answer, Response):
            return answer
        return Response(answer.model_dump_json(), self.status, media_type=self.media_type)
