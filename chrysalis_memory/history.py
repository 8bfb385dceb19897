"""Who wrote what of a memory, and when, as far as its state still tells."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from chrysalis_memory import codec, wire
from chrysalis_memory.crdt import kernel
from chrysalis_memory.crdt.lww_register import Register
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.state import REGISTERS


class Write(NamedTuple):
    """A write that still counts."""

    field: str
    """``"created"``, the name of a field, ``"metadata.KEY"``, or ``"tags"``."""
    value: Any
    """What was written: a JSON value; the tag, where it is one of the tags."""
    writer: str
    at: datetime


def history(memory: MemoryDocument) -> list[Write]:
    """Return the writes that still count, newest first.

    A state holds the winning write of each field and nothing of those it replaced, so this is who
    is answerable for what a memory says now, not all that ever happened to it. Links and evidence
    are sets without writers. Of a forgotten memory nothing is left.
    """
    if memory.is_forgotten:
        return []
    writes = sorted(_writes(memory), key=_age)
    return [write for _, write in reversed(writes)]


def _writes(memory: MemoryDocument) -> Iterator[tuple[int, Write]]:
    state = memory.state
    stamp, writer = state.created
    yield stamp, Write("created", None, writer, wire.moment(stamp))
    for name in REGISTERS:
        register: Register | None = getattr(state, name)
        if register is not None:
            value = getattr(memory, name)
            shown = value.isoformat() if isinstance(value, datetime) else value
            yield register[0], Write(name, shown, register[1], wire.moment(register[0]))
    for key, (stamp, writer, text) in state.metadata.items():
        value = None if text is None else codec.parse_json(text)
        yield stamp, Write(f"metadata.{key}", value, writer, wire.moment(stamp))
    for name in ("importance", "confidence"):
        yield from _live(name, None, getattr(state, name))
    for tag, entries in state.tags.items():
        yield from _live("tags", tag, entries)


def _live(field: str, tag: str | None, entries: kernel.Entries) -> Iterator[tuple[int, Write]]:
    for writer, (stamp, value, _) in entries.items():
        if stamp:
            shown = value if tag is None else tag
            yield stamp, Write(field, shown, writer, wire.moment(stamp))


def _age(stamped: tuple[int, Write]) -> tuple[int, bool, str, str]:
    stamp, write = stamped
    return stamp, write.field != "created", write.field, write.writer
