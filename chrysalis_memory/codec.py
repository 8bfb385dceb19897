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
import numpy as np

from chrysalis_memory.errors import InvalidDocument, InvalidValue

T = TypeVar("T")

# msgpack ships without types.
_packb: Callable[..., bytes] = cast("Any", msgpack).packb
_unpackb: Callable[..., Any] = cast("Any", msgpack).unpackb
_Unpacker: Callable[..., Any] = cast("Any", msgpack).Unpacker

JSON_DEPTH_MAX = 32
VALUES_MAX = 300_000
"""The most values in one document from elsewhere. A byte of input may become a container of a
hundred; a memory of 10,000 tags, each by three writers, has fewer."""
_SURELY_FEW_BYTES = 4096
MANY_VALUES_MAX = 10_000_000
"""In one document that holds many memories."""
_SLICE_BYTES = 1 << 20
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
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise InvalidDocument(f"not a MessagePack value: {error}") from error


def unpack_foreign(data: bytes) -> Any:
    """Read MessagePack bytes from elsewhere, as :func:`unpack`, without their taking much memory.

    Raises:
        InvalidDocument: also for more than :data:`VALUES_MAX` values.
    """
    if len(data) <= _SURELY_FEW_BYTES:
        return unpack(data)
    try:
        # Arrays are made as long as they say they are, before their items are read; so first it is
        # seen that the items are there.
        whole = _Unpacker(max_buffer_size=len(data))
        whole.feed(data)
        whole.skip()
        count = _Countdown(VALUES_MAX)
        return _unpackb(
            data,
            use_list=False,
            list_hook=count,
            object_hook=count,
            max_array_len=VALUES_MAX,
            max_map_len=VALUES_MAX,
        )
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise InvalidDocument(f"not a MessagePack value: {error}") from error


class _Countdown:
    """Lets containers through until they hold more values than allowed."""

    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, container: Any) -> Any:
        self._left -= len(container) + 1
        if self._left < 0:
            raise ValueError(f"more than {VALUES_MAX:,} values")
        return container


def ordered(mapping: dict[str, T]) -> dict[str, T]:
    """Return the mapping with its keys in code point order, as canonical bytes need it."""
    return dict(sorted(mapping.items())) if len(mapping) > 1 else mapping


def digest(data: bytes, *, size: int = 16) -> bytes:
    """Return the BLAKE2b digest (Aumasson et al. 2013) of ``size`` bytes."""
    return blake2b(data, digest_size=size).digest()


def text_hash(text: str) -> bytes:
    """Return the 16-byte digest that names a text in the vector tables."""
    return digest(text.encode())


def parse_json(text: str | bytes, *, most_values: int = VALUES_MAX) -> Any:
    """Read strict JSON: no NaN, no infinities, no key twice in one object.

    Args:
        text: The JSON; bytes are UTF-8.
        most_values: How many values it may hold; what holds more is not parsed.

    Raises:
        InvalidDocument: the text is not such JSON.
    """
    try:
        _check_values(text, most_values)
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"not strict JSON: {error}") from error


def _check_values(text: str | bytes, most: int) -> None:
    """Refuse JSON of very many values by counting what stands between and around them."""
    if len(text) <= most:
        return
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    marks = sum(data.count(mark) for mark in _MARKS)
    if marks > most and _marks_outside_strings(data) > most:
        raise ValueError(f"more than {most:,} values; split it")


_MARKS = b",", b"[", b"{"


def _marks_outside_strings(data: bytes) -> int:
    """Count marks of values, in slices: there are texts of nothing but commas, and of quotes."""
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks, inside = 0, 0
    for start in range(0, len(data), _SLICE_BYTES):
        piece = np.frombuffer(data[start : start + _SLICE_BYTES], np.uint8)
        # How many quotes stood before, modulo 256: whether that is odd is all that matters.
        within = (np.cumsum(piece == ord('"'), dtype=np.uint8) + inside) & 1
        is_mark = np.logical_or.reduce([piece == ord(mark) for mark in _MARKS])
        marks += int(np.count_nonzero(is_mark & (within == 0)))
        inside = int(within[-1])
    return marks


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found
