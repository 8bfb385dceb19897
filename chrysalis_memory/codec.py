"""Canonical encodings: the same value always gives the same bytes, on every machine.

Two forms are used. *Canonical JSON* (sorted keys, no insignificant space, no NaN) holds metadata
values and is what people read. *Canonical bytes* are MessagePack (msgpack.org, 2013) with sorted
map keys; they are what is stored, compared and digested.
"""

import json
import math
import reprlib
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar, cast

import msgpack

from chrysalis_memory.errors import InvalidDocument, InvalidValue

T = TypeVar("T")

# msgpack ships without types.
_packb: Callable[..., bytes] = cast("Any", msgpack).packb
_unpackb: Callable[..., Any] = cast("Any", msgpack).unpackb

JSON_DEPTH_MAX = 32
_SHOWN_MAX = 80
_REPR = reprlib.Repr()  # follows nesting a few levels down only
_REPR.maxstring = _REPR.maxother = _SHOWN_MAX
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a JSON value.

    Raises:
        InvalidValue: NaN, infinity, an integer outside 64 bits, a key that is no string, text that
            UTF-8 cannot hold, nesting deeper than 32, or a type JSON does not have.
    """
    check_json(value)
    return json_text(value)


def json_text(value: Any) -> str:
    """Return the canonical JSON of a value whose parts were checked before."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict
    )


def shown(value: Any) -> str:
    """Return ``repr(value)`` for an error message, shortened, whatever the value is."""
    try:
        text = _REPR.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else "a value"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def check_json(value: Any, *, depth: int = 0) -> None:
    """Check that a value is one of JSON; raises as :func:`canonical_json`."""
    if depth > JSON_DEPTH_MAX:
        raise InvalidValue(f"JSON value is nested deeper than {JSON_DEPTH_MAX} levels; flatten it")
    if isinstance(value, str):
        check_text(value, what="JSON string")
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            check_json(item, depth=depth + 1)
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            check_text(key, what="JSON object key")
            check_json(item, depth=depth + 1)
    else:
        _check_leaf(value)


def _check_leaf(value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise InvalidValue(f"{shown(value)} does not fit in 64 bits; store it as a string")
    elif not isinstance(value, float):
        raise InvalidValue(f"{type(value).__name__} is not a JSON type: {shown(value)}")
    elif not math.isfinite(value):
        raise InvalidValue(f"{value} is not a JSON number; use null or leave it out")


def check_text(value: object, *, what: str) -> str:
    """Return ``value`` if it is text that every store can hold.

    Raises:
        InvalidValue: not a string, a lone surrogate, or a NUL character.
    """
    if not isinstance(value, str):
        raise InvalidValue(f"{what} must be a string, got {type(value).__name__}: {shown(value)}")
    if "\0" in value:
        raise InvalidValue(f"{what} holds a NUL character (U+0000), which databases cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(
                f"{what} holds a lone surrogate at position {error.start}; decode it properly first"
            ) from error
    return value


def pack(value: Any) -> bytes:
    """Return MessagePack bytes. Maps must already be in key order (see :func:`ordered`)."""
    return _packb(value)


def unpack(data: bytes) -> Any:
    """Read MessagePack bytes; arrays come back as tuples.

    Raises:
        InvalidDocument: the bytes are not one whole MessagePack value.
    """
    try:
        return _unpackb(data, use_list=False)
    except (TypeError, ValueError, msgpack.exceptions.UnpackException) as error:
        raise InvalidDocument(f"not a MessagePack value: {error}") from error


def ordered(mapping: dict[str, T]) -> dict[str, T]:
    """Return the mapping with its keys in code point order, as canonical bytes need it."""
    return dict(sorted(mapping.items())) if len(mapping) > 1 else mapping


def digest(data: bytes, *, size: int = 16) -> bytes:
    """Return the BLAKE2b digest (Aumasson et al. 2013) of ``size`` bytes."""
    return blake2b(data, digest_size=size).digest()


def text_hash(text: str) -> bytes:
    """Return the 16-byte digest that names a text in the vector tables."""
    return digest(text.encode())


def parse_json(text: str | bytes) -> Any:
    """Read strict JSON: no NaN, no infinities, no key twice in one object.

    Raises:
        InvalidDocument: the text is not such JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"not strict JSON: {error}") from error


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found
