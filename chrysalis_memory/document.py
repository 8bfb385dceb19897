"""A memory: what is known of one thing, written by many and merged without conflict."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

from chrysalis_memory import codec, wire
from chrysalis_memory import state as states
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import kernel, orset
from chrysalis_memory.crdt.clock import SYSTEM_CLOCK, HybridLogicalClock
from chrysalis_memory.crdt.gcounter import GCounter
from chrysalis_memory.crdt.lww_register import value_of
from chrysalis_memory.crdt.score_register import check_score, score
from chrysalis_memory.errors import DocumentMismatch, InvalidValue, MemoryForgotten
from chrysalis_memory.state import State

UNKNOWN_SOURCE = "unknown"

Handle = TypeVar("Handle", bound="MemoryDocument")


class MemoryDocument:
    """One memory with everything needed to merge it.

    Every change is stamped above all stamps in the document; ``merge`` joins field by field (see
    ``docs/merging.md``). Changes raise :class:`InvalidValue` for values that are refused and
    :class:`MemoryForgotten` on a forgotten memory, and then change nothing.

    Args:
        id: Identity; a random one by default.
        content: The text; 1 byte to 1 MiB of UTF-8.
        memory_type: "semantic", "episodic", "procedural" or "working". A field that is not given
            stays unwritten, so a blind write under a known id overwrites only what it says.
        source_instance: Who writes, unless a change names another writer.
        clock: Gives the stamps.

    Example:
        >>> memory = MemoryDocument(id="m", content="Water boils at 100 °C", source_instance="a")
        >>> copy = memory.copy()
        >>> memory.add_tag("physics")
        >>> copy.set_importance(0.9, "b")
        >>> merged = memory.merge(copy)
        >>> merged.get_tags(), merged.get_importance()
        (['physics'], 0.9)
    """

    __slots__ = ("_clock", "_state", "_writer", "id")

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - the field's name
        content: str = "",
        memory_type: str | None = None,
        source_instance: str = UNKNOWN_SOURCE,
        *,
        clock: HybridLogicalClock = SYSTEM_CLOCK,
    ) -> None:
        self.id = uuid.uuid4().hex if id is None else wire.check_name(id, what="id")
        self._writer = wire.check_name(source_instance, what="source_instance")
        self._clock = clock
        text = wire.check_content(content)
        kind = None if memory_type is None else wire.check_memory_type(memory_type)
        stamp = clock.now()
        self._state = State(
            life=1,
            created=(stamp, self._writer),
            content=(stamp, self._writer, text),
            memory_type=None if kind is None else (stamp, self._writer, kind),
            clock={self._writer: 1},
        )

    @property
    def state(self) -> State:
        """The immutable merged state behind this handle."""
        return self._state

    @property
    def content(self) -> str:
        """The text; empty for a forgotten memory."""
        return value_of(self._state.content, "")

    @property
    def content_hash(self) -> str:
        """BLAKE2b digest of the text, 32 hexadecimal digits."""
        return codec.text_hash(self.content).hex()

    @property
    def memory_type(self) -> str:
        """What kind of memory it is; "semantic" unless said otherwise."""
        return value_of(self._state.memory_type, wire.DEFAULT_MEMORY_TYPE)

    @property
    def namespace(self) -> str:
        """Where it belongs: segments joined by ``/``; empty for the root."""
        return value_of(self._state.namespace, "")

    @property
    def episode(self) -> str | None:
        """The conversation or log it is a part of."""
        return value_of(self._state.episode, None)

    @property
    def position(self) -> int | None:
        """Its place in the episode."""
        return value_of(self._state.position, None)

    @property
    def expires_at(self) -> datetime | None:
        """When it stops being found; ``None`` for never."""
        expiry: int | None = value_of(self._state.expires_at, None)
        return None if expiry is None else wire.moment(expiry)

    @property
    def archived(self) -> bool:
        """Whether it is kept but not found unless asked for."""
        return value_of(self._state.archived, False)

    @property
    def metadata(self) -> dict[str, Any]:
        """Free JSON values by key; a fresh copy."""
        parsed = {k: codec.parse_json(register[2]) for k, register in self._state.metadata.items()}
        return {key: parsed[key] for key in sorted(parsed) if parsed[key] is not None}

    @property
    def source_instance(self) -> str:
        """Who wrote it first."""
        return self._state.created[1]

    @property
    def created_at(self) -> datetime | None:
        """When it was first written; ``None`` for a forgotten memory."""
        return wire.moment(self._state.created[0]) if self._state.alive else None

    @property
    def updated_at(self) -> datetime | None:
        """The greatest stamp in the document; ``None`` for a forgotten memory."""
        return wire.moment(states.greatest_stamp(self._state)) if self._state.alive else None

    @property
    def version(self) -> int:
        """How many writes it knows."""
        return sum(self._state.clock.values())

    @property
    def is_forgotten(self) -> bool:
        """Whether the memory was forgotten: only its id and life remain."""
        return not self._state.alive

    def get_tags(self) -> list[str]:
        """Return the tags, earliest first; the same on every replica."""
        return orset.present(self._state.tags)

    def get_importance(self) -> float:
        """Return the importance from 0 to 1; 0.5 when nobody has set it."""
        return score(self._state.importance)

    def get_confidence(self) -> float:
        """Return the confidence from 0 to 1; 0.5 when nobody has set it."""
        return score(self._state.confidence)

    def get_related(self) -> list[str]:
        """Return the ids of related memories, sorted."""
        return sorted(self._state.related)

    def get_parents(self) -> list[str]:
        """Return the ids of the memories this one came from, sorted."""
        return sorted(self._state.parents)

    def get_evidence(self) -> list[str]:
        """Return the evidence, sorted."""
        return sorted(self._state.evidence)

    def get_access_count(self) -> int:
        """Return how often the memory was used, summed over all replicas."""
        return sum(self._state.access.values())

    def get_vector_clock(self) -> dict[str, int]:
        """Return the number of writes known of each writer."""
        return dict(self._state.clock)

    def set_content(self, content: str, writer: str | None = None) -> None:
        """Replace the text."""
        self._set("content", wire.check_content(content), writer)

    def set_memory_type(self, memory_type: str, writer: str | None = None) -> None:
        """Replace the type."""
        self._set("memory_type", wire.check_memory_type(memory_type), writer)

    def set_namespace(self, namespace: str, writer: str | None = None) -> None:
        """Move the memory; ``""`` is the root."""
        self._set("namespace", wire.check_namespace(namespace), writer)

    def set_episode(
        self, episode: str | None, position: int | None = None, writer: str | None = None
    ) -> None:
        """Say which conversation or log the memory is a part of, and its place there."""
        checked = wire.check_episode(episode), wire.check_position(position)
        self._set("episode", checked[0], writer)
        self._set("position", checked[1], writer)

    def set_expires_at(self, moment: datetime | None, writer: str | None = None) -> None:
        """Say when the memory stops being found; ``None`` for never."""
        expiry = None if moment is None else wire.microseconds(moment)
        self._set("expires_at", wire.check_expiry(expiry), writer)

    def set_archived(self, archived: bool, writer: str | None = None) -> None:
        """Keep the memory but leave it out of recall, or bring it back."""
        self._set("archived", wire.check_archived(archived), writer)

    def set_metadata(self, values: Mapping[str, Any], writer: str | None = None) -> None:
        """Write metadata keys, each a register of its own; ``None`` removes a key."""
        if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"metadata maps keys to JSON values, got {shown(values)}")
        frozen = {wire.check_name(k, what="metadata key"): codec.canonical_json(v)
                  for k, v in values.items()}  # fmt: skip
        name, stamp = self._next_write(writer)
        metadata = self._state.metadata | {k: (stamp, name, text) for k, text in frozen.items()}
        wire.check_metadata_size(metadata)
        self._apply(name, metadata=metadata)

    def set_importance(self, value: float, writer: str | None = None) -> None:
        """Set the importance, from 0 to 1; it replaces every value this copy knows."""
        self._set_score("importance", check_score(value, what="importance"), writer)

    def set_confidence(self, value: float, writer: str | None = None) -> None:
        """Set the confidence, from 0 to 1; it replaces every value this copy knows."""
        self._set_score("confidence", check_score(value, what="confidence"), writer)

    def add_tag(self, tag: str, writer: str | None = None) -> None:
        """Add a tag; adding again after a remove works."""
        wire.check_name(tag, what="tag")
        name, stamp = self._next_write(writer)
        self._apply(name, tags=orset.added(self._state.tags, tag, name, stamp))

    def remove_tag(self, tag: str, writer: str | None = None) -> None:
        """Remove a tag: undo the adds this copy knows. An absent tag stays absent."""
        name, _ = self._next_write(writer)
        if tag in self.get_tags():
            self._apply(name, tags=orset.removed(self._state.tags, tag))

    def add_related(self, memory_id: str) -> None:
        """Link another memory by its id."""
        self._grow("related", memory_id)

    def add_parent(self, memory_id: str) -> None:
        """Name a memory this one came from."""
        self._grow("parents", memory_id)

    def add_evidence(self, evidence: str) -> None:
        """Add a piece of evidence: a quotation, an address, a memory's id."""
        self._grow("evidence", evidence)

    def record_access(self, instance: str, count: int = 1) -> None:
        """Count uses of the memory by ``instance``."""
        self._require_alive()
        counter = GCounter(self._state.access)
        counter.increment(wire.check_name(instance, what="instance"), count)
        self._state = self._state._replace(access=counter.to_dict())

    def forget(self) -> None:
        """Drop everything but the id: beats concurrent edits, and no old copy undoes it."""
        self._require_alive()
        self._state = states.tombstone(self._state.life + 1)

    def revived(self, life: int) -> Self:
        """Return this document as the next life of one that was forgotten with ``life``.

        Raises:
            InvalidValue: ``life`` is not that of a forgotten memory.
        """
        if type(life) is not int or life < 2 or life % 2:
            raise InvalidValue(f"a forgotten memory has an even life, got {shown(life)}")
        revived = self.copy()
        revived._state = self._state._replace(life=max(self._state.life, life + 1))
        return revived

    def copy(self) -> Self:
        """Return an independent handle on the same state."""
        return self.of(self.id, self._state, writer=self._writer, clock=self._clock)

    def merge(self, other: "MemoryDocument") -> "MemoryDocument":
        """Return the join of both; neither is changed.

        Raises:
            DocumentMismatch: the ids differ.
        """
        # Written out, because merging what is already equal must cost next to nothing.
        merged = _new(MemoryDocument)
        merged.id = self.id
        merged._clock = self._clock
        merged._writer = self._writer
        shared = self._state is other._state and self.id == other.id
        merged._state = self._state if shared else self._joined(other)
        return merged

    def merge_into(self, other: "MemoryDocument") -> None:
        """Join ``other`` into this document in place.

        Raises:
            DocumentMismatch: the ids differ.
        """
        self._state = self._joined(other)

    def _joined(self, other: "MemoryDocument") -> State:
        if self.id != other.id:
            raise DocumentMismatch(f"{self.id!r} and {other.id!r} are different memories")
        return states.join(self._state, other._state)

    def to_json(self) -> str:
        """Return the whole state as canonical JSON."""
        return codec.json_text(wire.to_plain(self.id, self._state))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what :meth:`to_json` wrote, here or on another machine.

        Raises:
            InvalidDocument: not such a document; the message says which value is refused.
        """
        return cls.of(*wire.from_plain(codec.parse_json(text)))

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal documents give equal bytes."""
        return states.encode(self.id, self._state)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls.of(*wire.from_bytes(data))

    @classmethod
    def of(
        cls,
        memory_id: str,
        state: State,
        *,
        writer: str | None = None,
        clock: HybridLogicalClock = SYSTEM_CLOCK,
    ) -> Self:
        """Return a handle on a checked state; changes are written as ``writer``."""
        document = _new(cls)
        document.id = memory_id
        document._state = state
        document._writer = state.created[1] or UNKNOWN_SOURCE if writer is None else writer
        document._clock = clock
        return document

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryDocument):
            return NotImplemented
        return self.id == other.id and self._state == other._state

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        if self.is_forgotten:
            return f"MemoryDocument(id={self.id!r}, forgotten)"
        text = self.content if len(self.content) <= 60 else self.content[:57] + "..."
        return f"MemoryDocument(id={self.id!r}, content={text!r}, tags={self.get_tags()!r})"

    def _require_alive(self) -> None:
        if not self._state.alive:
            raise MemoryForgotten(self.id)

    def _next_write(self, writer: str | None) -> tuple[str, int]:
        self._require_alive()
        name = self._writer if writer is None else wire.check_name(writer, what="writer")
        return name, self._clock.now(above=states.greatest_stamp(self._state))

    def _apply(self, writer: str, **fields: Any) -> None:
        clock = self._state.clock
        ticked = clock | {writer: clock.get(writer, 0) + 1}
        self._state = self._state._replace(clock=ticked, **fields)

    def _set(self, field: str, value: object, writer: str | None) -> None:
        name, stamp = self._next_write(writer)
        self._apply(name, **{field: (stamp, name, value)})

    def _set_score(self, field: str, value: float, writer: str | None) -> None:
        name, stamp = self._next_write(writer)
        entries: kernel.Entries = getattr(self._state, field)
        self._apply(name, **{field: kernel.write(entries, name, stamp, value)})

    def _grow(self, field: str, element: str) -> None:
        wire.check_name(element, what=field)
        name, _ = self._next_write(None)
        known: frozenset[str] = getattr(self._state, field)
        if len(known) >= wire.ELEMENTS_MAX:
            raise InvalidValue(f"{field} of {self.id!r} already has {len(known):,} elements")
        if element not in known:
            self._apply(name, **{field: known | {element}})


def _new(cls: type[Handle]) -> Handle:
    return object.__new__(cls)
