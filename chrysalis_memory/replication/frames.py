"""Frames: how messages travel, checked whole before anything of them is believed.

A frame is ``CHRY``, a version byte, the length of its payload and a digest of it, then the payload:
one message as MessagePack. Whatever was cut short, changed, or is of an unknown version is refused
with a named error.
"""

import struct
from collections.abc import Callable
from typing import Any, cast

from chrysalis_memory import codec
from chrysalis_memory.errors import InvalidDocument, InvalidFrame, UnsupportedProtocol
from chrysalis_memory.replication.messages import (
    FRAME_BYTES_MAX,
    MESSAGES,
    Answer,
    Message,
    Request,
)

MAGIC = b"CHRY"
VERSION = 1
_DIGEST_BYTES = 8
_HEADER = struct.Struct(f">4sBI{_DIGEST_BYTES}s")
HEADER_BYTES = _HEADER.size


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        InvalidFrame: the message is larger than a frame may be.
    """
    values = {"type": type(message).__name__, **message._asdict()}
    payload = codec.pack(values)
    if len(payload) > FRAME_BYTES_MAX - HEADER_BYTES:
        raise InvalidFrame(
            f"a {values['type']} of {len(payload):,} bytes does not fit in a frame of "
            f"{FRAME_BYTES_MAX:,}; send fewer memories at once"
        )
    digest = codec.digest(payload, size=_DIGEST_BYTES)
    return _HEADER.pack(MAGIC, VERSION, len(payload), digest) + payload


def decode(frame: bytes) -> Message:
    """Return the message of a frame.

    Fields that this version does not know are passed over: a newer version may send more.

    Raises:
        InvalidFrame: not a whole, unchanged frame, or its message is not as it must be.
        UnsupportedProtocol: a version, or a type of message, that this version does not read.
    """
    payload = _payload(frame)
    try:
        values = codec.unpack_foreign(payload)
    except InvalidDocument as error:
        raise InvalidFrame(f"the frame holds no message: {error}") from error
    if not isinstance(values, dict):
        raise InvalidFrame(f"a message is a map, got {codec.shown(values)}")
    fields = cast("dict[Any, Any]", values)
    kind = fields.get("type")
    message = MESSAGES.get(kind) if isinstance(kind, str) else None
    if message is None:
        raise UnsupportedProtocol(
            f"{codec.shown(kind)} is no message that this version reads; upgrade both sides with: "
            "pip install --upgrade chrysalis-memory"
        )
    checks: dict[str, Callable[[Any], Any]] = message.checks()
    missing = sorted(checks.keys() - fields.keys())
    if missing:
        raise InvalidFrame(f"a {kind} without {', '.join(missing)}")
    return message(**{name: check(fields[name]) for name, check in checks.items()})


def _payload(frame: bytes) -> bytes:
    if len(frame) > FRAME_BYTES_MAX:
        raise InvalidFrame(f"a frame of {len(frame):,} bytes is over {FRAME_BYTES_MAX:,}")
    if len(frame) < HEADER_BYTES:
        raise InvalidFrame(f"{len(frame)} bytes are no frame; it was cut short")
    magic, version, length, digest = _HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise InvalidFrame(f"what begins with {codec.shown(magic)} is no frame")
    if version != VERSION:
        raise UnsupportedProtocol(
            f"a frame of version {version}, this version reads {VERSION}; upgrade both sides with: "
            "pip install --upgrade chrysalis-memory"
        )
    payload = frame[HEADER_BYTES:]
    if len(payload) != length:
        raise InvalidFrame(f"a frame of {length:,} bytes arrived with {len(payload):,}")
    if codec.digest(payload, size=_DIGEST_BYTES) != digest:
        raise InvalidFrame("a frame was changed on its way: its digest differs")
    return payload


def request(frame: bytes) -> Request:
    """Return the request of a frame; raises as :func:`decode`."""
    message = decode(frame)
    if not isinstance(message, Request):
        raise InvalidFrame(f"a {type(message).__name__} is an answer, where a request is due")
    return message


def answer(frame: bytes) -> Answer:
    """Return the answer of a frame; raises as :func:`decode`."""
    message = decode(frame)
    if not isinstance(message, Answer):
        raise InvalidFrame(f"a {type(message).__name__} is a request, where an answer is due")
    return message
