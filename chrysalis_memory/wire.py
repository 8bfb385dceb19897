"""Documents from elsewhere: every value is checked before it can meet stored state.

The JSON form names each field; the byte form is the canonical encoding of
:mod:`chrysalis_memory.state`. Both go through one set of checks. Access rules of newer versions:
an unknown field must be a register ``[stamp, writer, value]``; it is kept, merged and passed on.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import counts, gset, kernel, lww_register, orset
from chrysalis_memory.crdt.clock import STAMP_MAX, check_stamp
from chrysalis_memory.crdt.lww_register import Register
from chrysalis_memory.errors import InvalidDocument, InvalidValue
from chrysalis_memory.state import (
    FORMAT,
    REGISTERS,
    State,
    check_layout,
    tombstone,
)

MEMORY_TYPES = ("semantic", "episodic", "procedural", "working")
"""Facts, events, skills, and what is needed only now (Tulving 1972; Baddeley and Hitch 1974)."""

DEFAULT_MEMORY_TYPE = "semantic"

CONTENT_BYTES_MAX = 1 << 20
NAME_CHARACTERS_MAX = 512
METADATA_BYTES_MAX = 64 << 10
ELEMENTS_MAX = 10_000
LIFE_MAX = 2**31
STATE_BYTES_MAX = 4 << 20
"""Of one memory with all its fields, when it is written; a merge may join more, up to a frame."""


def check_name(value: object, *, what: str) -> str:
    """Return ``value`` if it can name something: 1 to 512 characters of text.

    Raises:
        InvalidValue: not text, empty, or longer.
    """
    name = codec.check_text(value, what=what)
    if not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise InvalidValue(
            f"{what} must have 1 to {NAME_CHARACTERS_MAX} characters, "
            f"got {len(name)}: {name[:40]!r}"
        )
    return name


def check_content(value: object) -> str:
    """Return ``value`` if it can be the text of a memory.

    Raises:
        InvalidValue: not text, nothing but white space, or more than 1 MiB of UTF-8.
    """
    text = codec.check_text(value, what="content")
    if not text.strip():
        raise InvalidValue(f"content must hold more than white space, got {text[:40]!r}")
    if len(text) > CONTENT_BYTES_MAX // 4 and len(text.encode()) > CONTENT_BYTES_MAX:
        raise InvalidValue(
            f"content of {len(text.encode()):,} bytes is over the limit of {CONTENT_BYTES_MAX:,}; "
            "split it into memories, for example one per paragraph"
        )
    return text


def check_namespace(value: object) -> str:
    """Return ``value`` if it can be a namespace: segments joined by ``/``, or empty for the root.

    Raises:
        InvalidValue: not text, too long, or with an empty segment.
    """
    namespace = codec.check_text(value, what="namespace")
    if namespace == "":
        return namespace
    if "" in check_name(namespace, what="namespace").split("/"):
        raise InvalidValue(
            f"namespace {namespace!r} has an empty segment; write it as 'user/alice'"
        )
    return namespace


def check_memory_type(value: object) -> str:
    """Return ``value`` if it is one of :data:`MEMORY_TYPES`.

    Raises:
        InvalidValue: anything else.
    """
    if value not in MEMORY_TYPES:
        raise InvalidValue(
            f"memory_type {shown(value)} is unknown; use one of {', '.join(MEMORY_TYPES)}"
        )
    return str(value)


def check_position(value: object) -> int | None:
    """Return ``value`` if it can be a place in an episode: an integer below 2**53, or ``None``."""
    if value is not None and (type(value) is not int or not 0 <= value < 2**53):
        raise InvalidValue(f"position must be an integer of 0 or more, got {shown(value)}")
    return value


def check_episode(value: object) -> str | None:
    """Return ``value`` if it can name an episode; ``None`` stands for none."""
    return None if value is None else check_name(value, what="episode")


def check_expiry(value: object) -> int | None:
    """Return ``value`` if it is microseconds before the year 10000, or ``None`` for never."""
    if value is not None and (type(value) is not int or not 0 <= value < STAMP_MAX):
        raise InvalidValue(f"expires_at must be microseconds since 1970, got {shown(value)}")
    return value


def check_archived(value: object) -> bool:
    """Return ``value`` if it is a boolean."""
    if not isinstance(value, bool):
        raise InvalidValue(f"archived must be True or False, got {shown(value)}")
    return value


def check_limit(value: object, *, what: str) -> int:
    """Return ``value`` if it is an integer of 1 or more.

    Raises:
        InvalidValue: anything else.
    """
    if type(value) is not int or value < 1:
        raise InvalidValue(f"{what} must be an integer of 1 or more, got {shown(value)}")
    return value


def check_number(value: object, *, what: str) -> float:
    """Return ``value`` if it is a finite number.

    Raises:
        InvalidValue: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValue(f"{what} must be a finite number, got {shown(value)}")
    return value


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970.

    Raises:
        InvalidValue: not a datetime with a time zone.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(
            f"a moment needs a time zone, as datetime.now(UTC) has; got {shown(moment)}"
        )
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def moment(stamp: int) -> datetime:
    """Return microseconds since 1970 as a moment in UTC."""
    seconds, micros = divmod(stamp, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


_FIELD_CHECKS: dict[str, Callable[[object], Any]] = {
    "content": check_content,
    # A newer version may know more types; refusing them here would lose its memories.
    "memory_type": lambda value: check_name(value, what="memory_type"),
    "namespace": check_namespace,
    "episode": check_episode,
    "position": check_position,
    "expires_at": check_expiry,
    "archived": check_archived,
}


def to_plain(memory_id: str, state: State) -> dict[str, Any]:
    """Return the JSON form: every field by name, those never written left out."""
    plain: dict[str, Any] = {"format": FORMAT, "id": memory_id, "life": state.life}
    if not state.alive:
        return plain
    plain["created"] = list(state.created)
    for name in REGISTERS:
        register = getattr(state, name)
        if register is not None:
            plain[name] = list(register)
    for name in ("tags", "importance", "confidence", "clock", "access"):
        if getattr(state, name):
            plain[name] = getattr(state, name)
    for name in ("related", "parents", "evidence"):
        if getattr(state, name):
            plain[name] = sorted(getattr(state, name))
    if state.metadata:
        plain["metadata"] = {
            key: lww_register.thawed(register) for key, register in state.metadata.items()
        }
    return plain | {name: lww_register.thawed(register) for name, register in state.extra.items()}


_KNOWN = {"format", "id", *State._fields} - {"extra"}


def from_plain(plain: object) -> tuple[str, State]:
    """Check the JSON form and return the memory's id and state.

    Raises:
        InvalidDocument: a field is missing, of another shape, or holds a refused value.
    """
    if not isinstance(plain, Mapping):
        raise InvalidDocument(f"a document is a JSON object, got {type(plain).__name__}")
    fields = cast("Mapping[str, Any]", plain)
    try:
        return _from_fields(fields)
    except InvalidDocument:
        raise
    except InvalidValue as error:
        raise InvalidDocument(f"document {shown(fields.get('id'))}: {error}") from error


def _from_fields(fields: Mapping[str, Any]) -> tuple[str, State]:
    if fields.get("format") != FORMAT:
        raise InvalidDocument(
            f"document format {shown(fields.get('format'))} is not format {FORMAT}, the one this "
            "version reads; install the version that wrote it"
        )
    memory_id = check_name(fields.get("id"), what="id")
    life = fields.get("life")
    if type(life) is not int or not 0 < life < LIFE_MAX:
        raise InvalidValue(f"life must be a positive integer, got {shown(life)}")
    if life % 2 == 0:
        return memory_id, tombstone(life)
    checked: dict[str, Any] = {
        "life": life,
        "created": _checked_created(fields.get("created")),
        "metadata": _checked_map(fields.get("metadata", {}), what="metadata"),
        "tags": orset.check_elements(fields.get("tags", {})),
        "extra": _checked_map({k: v for k, v in fields.items() if k not in _KNOWN}, what="field"),
    }
    for name in REGISTERS:
        checked[name] = _checked_register(name, fields.get(name))
    for name in ("importance", "confidence"):
        checked[name] = kernel.check_entries(fields.get(name, {}))
    for name in ("related", "parents", "evidence"):
        checked[name] = _checked_elements(fields.get(name, ()), what=name)
    for name in ("clock", "access"):
        checked[name] = counts.check_counts(fields.get(name, {}))
    state = State(**checked)
    if state.content is None:
        raise InvalidValue("a memory that is not forgotten needs content")
    return memory_id, state


def _checked_created(created: object) -> tuple[int, str]:
    if not isinstance(created, list | tuple) or len(cast("list[Any]", created)) != 2:
        raise InvalidValue(f"created is [stamp, source], got {shown(created)}")
    stamp, source = cast("list[Any]", created)
    return check_stamp(stamp), check_name(source, what="source_instance")


def _checked_register(name: str, register: object) -> Register | None:
    if register is None:
        return None
    stamp, writer, value = lww_register.check_register(register)
    return stamp, writer, _FIELD_CHECKS[name](value)


def _checked_map(registers: object, *, what: str) -> dict[str, Register]:
    if not isinstance(registers, Mapping):
        raise InvalidValue(f"{what} maps a key to [stamp, writer, value], got {shown(registers)}")
    items = cast("Mapping[Any, Any]", registers).items()
    return {
        check_name(key, what=f"{what} key"): lww_register.frozen(register)
        for key, register in items
    }


def check_metadata_size(metadata: Mapping[str, Register]) -> None:
    """Refuse to write metadata that is larger than 64 KiB in all.

    Not asked of a merge: what several writers wrote within the limit is kept.

    Raises:
        InvalidValue: over the limit.
    """
    size = sum(len(key) + len(register[2].encode()) for key, register in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise InvalidValue(
            f"metadata of {size:,} bytes is over the limit of {METADATA_BYTES_MAX:,}; "
            "put long text into content"
        )


def _checked_elements(elements: object, *, what: str) -> gset.Elements:
    if not isinstance(elements, list | tuple):
        raise InvalidValue(f"{what} is a list of strings, got {shown(elements)}")
    return frozenset(check_name(element, what=what) for element in cast("list[Any]", elements))


def from_bytes(data: bytes) -> tuple[str, State]:
    """Check canonical bytes from elsewhere and return the memory's id and state.

    Raises:
        InvalidDocument: as :func:`from_plain`.
    """
    parts = codec.unpack_foreign(data)
    check_layout(parts)
    fields: dict[str, Any] = {"format": parts[0], "id": parts[1]}
    fields |= dict(zip(State._fields, parts[2:], strict=False))
    extra = fields.pop("extra", {})
    for registers in (fields.get("metadata"), extra):
        if isinstance(registers, dict):
            _thaw_in_place(cast("dict[str, Any]", registers))
    if not isinstance(extra, dict):
        raise InvalidDocument(f"fields of newer versions are a map, got {shown(extra)}")
    if known := _KNOWN.intersection(cast("dict[str, Any]", extra)):
        raise InvalidDocument(f"{sorted(known)} are no fields of a newer version")
    return from_plain(fields | cast("dict[str, Any]", extra))


def _thaw_in_place(registers: dict[str, Any]) -> None:
    for key, register in registers.items():
        match register:
            case (_, _, str()):
                registers[key] = lww_register.thawed(cast("Register", register))
            case _:
                raise InvalidDocument(f"{shown(key)} holds {shown(register)}, no register")
