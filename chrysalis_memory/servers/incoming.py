"""What requests bring: bodies within limits, strict JSON, and query strings."""

import asyncio
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from chrysalis_memory import codec
from chrysalis_memory.errors import InvalidDocument, InvalidValue
from chrysalis_memory.query import refused
from chrysalis_memory.servers import refusals
from chrysalis_memory.wire import CONTENT_BYTES_MAX

Model = TypeVar("Model", bound=BaseModel)

JSON_BYTES_MAX = 4 * CONTENT_BYTES_MAX
"""Room for the longest memory with all beyond ASCII escaped, and for its metadata."""
JSON = "application/json"
_JSON_SECONDS_MAX = 30.0
_QUERY_FIELDS_MAX = 1000


async def read_body(
    request: Request, *, what: str, kind: str, most_bytes: int, most_seconds: float
) -> bytes:
    """Read a body, no further than it may be long.

    Args:
        request: Whose body.
        what: What it is, for errors: ``"a frame"``.
        kind: The name of the error if it is refused.
        most_bytes: How long it may be.
        most_seconds: How long it may take to arrive.

    Raises:
        Exception: it is longer, slower, or cut short; the request is refused.
    """
    too_large = refusals.refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, kind, f"{what} has at most {most_bytes:,} bytes"
    )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(most_seconds):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise too_large
    except TimeoutError:
        message = f"{what} is to arrive within {most_seconds:.0f} seconds"
        raise refusals.refused(HTTPStatus.REQUEST_TIMEOUT, kind, message) from None
    except ClientDisconnect:
        message = f"the connection ended within {what}"
        raise refusals.refused(HTTPStatus.BAD_REQUEST, kind, message) from None
    return bytes(body)


def check_content_type(request: Request, expected: str, *, what: str, kind: str) -> None:
    """Check what a body is said to be; a form of a web page cannot say what is expected here.

    Raises:
        Exception: it is said to be something else; the request is refused.
    """
    given, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if given.strip() != expected or parameters.strip() not in ("", "charset=utf-8"):
        message = f"{what} has the content type {expected}"
        raise refusals.refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, kind, message)


async def read_json(request: Request) -> dict[str, Any]:
    """Read a body that is one JSON object.

    Raises:
        Exception: it is too long, too slow, or said to be something else; it is refused.
        InvalidDocument: it is no strict JSON, or no object.
        InvalidValue: it holds what no memory can hold.
    """
    check_content_type(request, JSON, what="the body", kind="InvalidValue")
    body = await read_body(
        request,
        what="the body",
        kind="InvalidValue",
        most_bytes=JSON_BYTES_MAX,
        most_seconds=_JSON_SECONDS_MAX,
    )
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"the body is not UTF-8: {error.reason}") from error
    value = codec.parse_json(text)
    codec.check_json(value)
    if not isinstance(value, dict):
        raise InvalidDocument(f"the body is a JSON object, got {codec.shown(value)}")
    return cast("dict[str, Any]", value)


def checked(model: type[Model], fields: dict[str, Any]) -> Model:
    """Return fields as a model.

    Raises:
        InvalidValue: an unknown field or a value that is refused.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise refused(error) from error


def read_query(
    request: Request, model: type[Model], *, texts: frozenset[str], several: frozenset[str]
) -> Model:
    """Read what stands behind the question mark of a URL.

    Args:
        request: Whose URL.
        model: Its fields are the names that may be there.
        texts: Fields whose values are taken as they are; those of others are JSON.
        several: Fields that may be there more than once.

    Raises:
        InvalidValue: an unknown name, one that is there twice, a value that is refused.
    """
    raw: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise InvalidValue(f"the query of the URL cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for name, text in pairs:
        if name in several:
            fields.setdefault(name, []).append(text)
        elif name in fields:
            raise InvalidValue(f"{name} is given twice in the URL; give it once")
        else:
            known_text = name in texts or name not in model.model_fields
            fields[name] = text if known_text else _json(name, text)
    return checked(model, fields)


def _json(name: str, text: str) -> Any:
    try:
        value = codec.parse_json(text)
        codec.check_json(value)
    except InvalidValue as error:
        raise InvalidValue(f"{name}: {error}") from error
    if value is None:
        raise InvalidValue(f"{name} is null; leave it out of the URL")
    return value
