"""A set of memories in main memory, merged id by id."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Self, cast

from chrysalis_memory import codec, wire
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidDocument, MemoryForgotten
from chrysalis_memory.query import Filter


class MemoryCollection:
    """Memories by id; putting one that is known merges it, so nothing is overwritten.

    Forgotten memories stay inside as their id and life, so that merging cannot bring them back;
    they are not counted, listed or found.

    Args:
        instance_id: Name of the collection; random by default.
    """

    __slots__ = ("_memories", "instance_id")

    def __init__(self, instance_id: str | None = None) -> None:
        self.instance_id = (
            uuid.uuid4().hex
            if instance_id is None
            else wire.check_name(instance_id, what="instance")
        )
        self._memories: dict[str, MemoryDocument] = {}

    def put(self, memory: MemoryDocument) -> str:
        """Add or merge one memory and return its id.

        Raises:
            MemoryForgotten: the id was forgotten here and ``memory`` is of an earlier life.
        """
        known = self._memories.get(memory.id)
        if known is not None and known.is_forgotten and memory.state.life < known.state.life:
            raise MemoryForgotten(memory.id)
        self.merge_memory(memory)
        return memory.id

    def merge_memory(self, memory: MemoryDocument) -> None:
        """Merge one memory; an old copy of a forgotten one changes nothing."""
        known = self._memories.get(memory.id)
        self._memories[memory.id] = memory.copy() if known is None else known.merge(memory)

    def get(self, memory_id: str) -> MemoryDocument | None:
        """Return a copy of one memory; ``None`` when unknown or forgotten."""
        memory = self._memories.get(memory_id)
        return None if memory is None or memory.is_forgotten else memory.copy()

    def forget(self, memory_id: str) -> bool:
        """Forget one memory; tell whether there was one to forget."""
        memory = self._memories.get(memory_id)
        if memory is None or memory.is_forgotten:
            return False
        memory.forget()
        return True

    def all(self) -> list[MemoryDocument]:
        """Return copies of the memories, oldest first."""
        return sorted((m.copy() for m in self._memories.values() if not m.is_forgotten), key=_age)

    def states(self) -> Iterator[MemoryDocument]:
        """Iterate over all documents by id, forgotten ones too: what a merge has to know."""
        return (self._memories[memory_id] for memory_id in sorted(self._memories))

    def ids(self) -> list[str]:
        """Return the ids of the memories, oldest first."""
        return [memory.id for memory in self.all()]

    def is_empty(self) -> bool:
        """Tell whether there is nothing to find."""
        return len(self) == 0

    def find(self, wanted: Filter, *, now: datetime | None = None) -> list[MemoryDocument]:
        """Return the memories that match, oldest first.

        Args:
            wanted: The conditions.
            now: The moment that expiry is judged at; default: the machine's time.
        """
        moment = datetime.now(UTC) if now is None else now
        return [memory for memory in self.all() if wanted.matches(memory, now=moment)]

    def query_by_type(self, memory_type: str) -> list[MemoryDocument]:
        """Return the memories of one type, oldest first."""
        return self.find(Filter.of(memory_type=memory_type))

    def query_by_importance(self, minimum: float) -> list[MemoryDocument]:
        """Return the memories of at least this importance, most important first."""
        found = self.find(Filter.of(minimum_importance=minimum))
        return sorted(found, key=lambda memory: (-memory.get_importance(), *_age(memory)))

    def query_by_tag(self, tag: str) -> list[MemoryDocument]:
        """Return the memories that carry a tag, oldest first."""
        return self.find(Filter.of(tags_all=tag))

    def merge(self, other: "MemoryCollection") -> "MemoryCollection":
        """Return the collection of both; neither is changed."""
        merged = MemoryCollection(self.instance_id)
        merged._memories = {
            memory_id: memory.copy() for memory_id, memory in self._memories.items()
        }
        merged.merge_into(other)
        return merged

    def merge_into(self, other: "MemoryCollection") -> None:
        """Merge every memory of ``other`` into this collection."""
        for memory in other.states():
            self.merge_memory(memory)

    def to_json(self) -> str:
        """Return canonical JSON: the list of whole documents by id."""
        documents = [wire.to_plain(memory.id, memory.state) for memory in self.states()]
        return codec.json_text(documents)

    @classmethod
    def from_json(cls, text: str | bytes, *, instance_id: str | None = None) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not such a list; nothing is returned in part.
        """
        plain = codec.parse_json(text, most_values=codec.MANY_VALUES_MAX)
        if not isinstance(plain, list):
            raise InvalidDocument(f"a collection is a JSON list, got {type(plain).__name__}")
        collection = cls(instance_id)
        for item in cast("list[object]", plain):
            collection.merge_memory(MemoryDocument.of(*wire.from_plain(item)))
        return collection

    def __len__(self) -> int:
        return sum(not memory.is_forgotten for memory in self._memories.values())

    def __iter__(self) -> Iterator[MemoryDocument]:
        return iter(self.all())

    def __contains__(self, memory_id: object) -> bool:
        return isinstance(memory_id, str) and self.get(memory_id) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryCollection):
            return NotImplemented
        return self._memories == other._memories

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"MemoryCollection({self.instance_id!r}, {len(self)} memories)"


def _age(memory: MemoryDocument) -> tuple[tuple[int, str], str]:
    return memory.state.created, memory.id
