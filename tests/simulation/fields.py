"""The parts of a memory as the simulation writes and reads them."""

from datetime import datetime
from typing import Any

from chrysalis_memory import MemoryDocument, wire
from tests.simulation.truth import LINKS

Change = tuple[str, Any, Any]
"""Field, key and value of a write."""


def apply_change(memory: MemoryDocument, field: str, key: Any, value: Any) -> None:
    """Write one part of a memory."""
    match field:
        case "tag":
            memory.add_tag(key)
        case "untag":
            memory.remove_tag(key)
        case "related":
            memory.add_related(key)
        case "parents":
            memory.add_parent(key)
        case "evidence":
            memory.add_evidence(key)
        case "metadata":
            memory.set_metadata({key: value})
        case "episode":
            memory.set_episode(value, key)
        case "expires_at":
            memory.set_expires_at(None if value is None else wire.moment(value))
        case _:
            getattr(memory, f"set_{field}")(value)


def parts(change: Change) -> list[Change]:
    """Return what a change writes: an episode is written with the place in it."""
    field, position, episode = change
    if field != "episode":
        return [change]
    return [("episode", None, episode), ("position", None, position)]


def microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else wire.microseconds(moment)


def shown(memory: MemoryDocument) -> dict[str, Any]:
    """Return the fields of a memory as :attr:`View.fields` has them."""
    fields: dict[str, Any] = {
        name: getattr(memory, name)
        for name in ("content", "memory_type", "namespace", "episode", "position", "archived")
    }
    return fields | {
        "expires_at": microseconds(memory.expires_at),
        "importance": memory.get_importance(),
        "confidence": memory.get_confidence(),
        **dict(zip(LINKS, (memory.get_related(), memory.get_parents(), memory.get_evidence()),
                   strict=True)),
        "tags": sorted(memory.get_tags()),
        "metadata": memory.metadata,
        "access": memory.get_access_count(),
        "created": (microseconds(memory.created_at), memory.source_instance),
    }  # fmt: skip
