"""Memories as rows: what crosses the seam when they are saved and loaded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from chrysalis_memory.query import Scalar


class MemoryRow(NamedTuple):
    """A memory as a store keeps it: state bytes, and columns derived from them for filters."""

    id: str
    life: int
    state: bytes
    digest: bytes
    content: str | None
    """``None`` for a forgotten memory."""
    namespace: str
    memory_type: str
    episode: str | None
    position: int | None
    importance: float
    confidence: float
    created_at: int
    updated_at: int
    expires_at: int | None
    archived: bool
    source: str
    tags: Sequence[str]
    metadata: Sequence[tuple[str, Scalar]]


class StoredMemory(NamedTuple):
    """What a store holds of one memory."""

    number: int
    """The row's local number, by which indexes know it; differs between replicas."""
    id: str
    state: bytes
    access: Mapping[str, int]
    """Access counts by replica."""


class SavedRow(NamedTuple):
    """What a store needs to know of a row that is replaced."""

    number: int
    life: int
    content: str | None
    same: frozenset[str]
    """The fields of :class:`MemoryRow` that need not be written again."""


class IndexedMemory(NamedTuple):
    """A memory with all that a store keeps for finding it."""

    number: int
    row: MemoryRow
    """As it is stored, its tags and metadata in any order."""
    access: Mapping[str, int]
    has_its_words: bool
    """Whether the word index holds what its text comes to, and nothing once it is forgotten."""
    vectors: Mapping[int, bytes]
    """By the number of the space: the digest of the text whose vector is kept."""
    pending: frozenset[int]
    """The numbers of the spaces in which it waits for a vector."""
    broken: frozenset[int] = frozenset()
    """The numbers of the spaces whose vector of it is no unit vector."""


class Upkeep(NamedTuple):
    """What is no fault of a store, and worth knowing of it."""

    waiting: int
    """How many vectors are still to be made."""
    log_bytes: int | None
    """The size of a file's write-ahead log; ``None`` for a database."""
    quarantined: int
    """How many states wait until their stamps are valid."""


NO_ACCESS: Mapping[str, int] = {}

# A fifth of what the constructor written in Python costs, for thousands of rows.
stored_memory = cast("Callable[[type[StoredMemory], tuple[Any, ...]], StoredMemory]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]
"""Makes a :class:`StoredMemory` of a tuple; takes the class first, as ``tuple.__new__`` does."""
