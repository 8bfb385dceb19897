"""The merged state of one memory: a tuple of immutable parts, joined field by field.

Everything else the product keeps (columns, indexes, vectors, counts) is derived from this. A
:class:`~chrysalis_memory.document.MemoryDocument` is a mutable handle on one such tuple, so copying
a document and merging equal documents cost next to nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import counts, gset, kernel, lww_register, orset
from chrysalis_memory.crdt.lww_register import Register
from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.shape import check_shape

FORMAT = 1
"""First item of the canonical bytes; raised when their layout changes."""

_EMPTY: dict[str, Any] = {}


class State(NamedTuple):
    """All that is known of one memory, apart from its id.

    Registers hold ``(stamp, writer, value)`` or ``None`` when never written. The values of
    ``metadata`` and ``extra`` are canonical JSON texts: immutable, and never equal by accident as
    ``1`` and ``True`` are. ``extra`` holds fields of newer versions, which are always registers,
    so that this version merges them without knowing what they mean.
    """

    life: int
    created: tuple[int, str]
    content: Register | None
    memory_type: Register | None = None
    namespace: Register | None = None
    episode: Register | None = None
    position: Register | None = None
    expires_at: Register | None = None
    archived: Register | None = None
    metadata: dict[str, Register] = _EMPTY
    tags: orset.Elements = _EMPTY
    importance: kernel.Entries = _EMPTY
    confidence: kernel.Entries = _EMPTY
    related: gset.Elements = gset.EMPTY
    parents: gset.Elements = gset.EMPTY
    evidence: gset.Elements = gset.EMPTY
    clock: counts.Counts = _EMPTY
    access: counts.Counts = _EMPTY
    extra: dict[str, Register] = _EMPTY

    @property
    def alive(self) -> bool:
        """Whether the memory is not forgotten: its causal length is odd."""
        return self.life % 2 == 1


REGISTERS = (
    "content", "memory_type", "namespace", "episode", "position", "expires_at", "archived",
)  # fmt: skip

_new = cast("Callable[[type[State], tuple[Any, ...]], State]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]
_FIRST_REGISTER = State._fields.index(REGISTERS[0])


def tombstone(life: int) -> State:
    """Return the state of a forgotten memory: nothing but its (even) causal length."""
    return State(life=life, created=(0, ""), content=None)


def join(mine: State, theirs: State) -> State:
    """Return the join of two states of one memory; ``mine`` itself where they are equal.

    The greater causal length wins whole, so that forgetting beats every concurrent edit and is
    undone only by a revival that knew of it. Equal lengths join field by field.
    """
    if mine is theirs or mine == theirs:
        return mine
    if mine[0] != theirs[0]:
        return mine if mine[0] > theirs[0] else theirs
    (
        life, created, content, kind, namespace, episode, position, expires, archived,
        metadata, tags, importance, confidence, related, parents, evidence, clock, access, extra,
    ) = mine  # fmt: skip
    (
        _, created2, content2, kind2, namespace2, episode2, position2, expires2, archived2,
        metadata2, tags2, importance2, confidence2, related2, parents2, evidence2, clock2,
        access2, extra2,
    ) = theirs  # fmt: skip
    register = lww_register.join
    return _new(
        State,
        (
            life,
            created if created is created2 else min(created, created2),
            content if content is content2 else register(content, content2),
            kind if kind is kind2 else register(kind, kind2),
            namespace if namespace is namespace2 else register(namespace, namespace2),
            episode if episode is episode2 else register(episode, episode2),
            position if position is position2 else register(position, position2),
            expires if expires is expires2 else register(expires, expires2),
            archived if archived is archived2 else register(archived, archived2),
            metadata if metadata is metadata2 else lww_register.join_map(metadata, metadata2),
            tags if tags is tags2 else orset.join(tags, tags2),
            importance if importance is importance2 else kernel.join(importance, importance2),
            confidence if confidence is confidence2 else kernel.join(confidence, confidence2),
            related if related is related2 else gset.join(related, related2),
            parents if parents is parents2 else gset.join(parents, parents2),
            evidence if evidence is evidence2 else gset.join(evidence, evidence2),
            clock if clock is clock2 else counts.join(clock, clock2),
            access if access is access2 else counts.join(access, access2),
            extra if extra is extra2 else lww_register.join_map(extra, extra2),
        ),
    )


def greatest_stamp(state: State) -> int:
    """Return the greatest time stamp anywhere in the state; 0 for a tombstone."""
    greatest = state.created[0]
    registers = state[_FIRST_REGISTER : _FIRST_REGISTER + len(REGISTERS)]
    for register in cast("tuple[Register | None, ...]", registers):
        if register is not None and register[0] > greatest:
            greatest = register[0]
    for mapping in (state.metadata, state.extra):
        for register in mapping.values():
            greatest = max(greatest, register[0])
    for entries in (state.importance, state.confidence, *state.tags.values()):
        for stamp, _, cleared in entries.values():
            if stamp > greatest:
                greatest = stamp
            if cleared > greatest:
                greatest = cleared
    return greatest


def encode(memory_id: str, state: State, *, access: bool = True) -> bytes:
    """Return the canonical bytes of a state: equal states of one id give equal bytes.

    Args:
        memory_id: The memory's id, part of the bytes.
        state: What to encode.
        access: Whether to include access counts; a store keeps those in rows of their own.
    """
    if not state.alive:
        return codec.pack((FORMAT, memory_id, state.life))
    return codec.pack(
        (
            FORMAT,
            memory_id,
            *state[:9],
            codec.ordered(state.metadata),
            {tag: codec.ordered(state.tags[tag]) for tag in sorted(state.tags)},
            codec.ordered(state.importance),
            codec.ordered(state.confidence),
            sorted(state.related),
            sorted(state.parents),
            sorted(state.evidence),
            codec.ordered(state.clock),
            codec.ordered(state.access) if access else {},
            codec.ordered(state.extra),
        )
    )


_LENGTH = 2 + len(State._fields)
_FIRST_MAP = 2 + State._fields.index("metadata")


def decode(data: bytes) -> tuple[str, State]:
    """Read bytes that :func:`encode` wrote and a store has kept.

    Their shape is checked, so that nothing damaged or made up becomes a state that fails later.
    Bytes from elsewhere go through :func:`chrysalis_memory.wire.from_bytes`, which checks values.

    Raises:
        InvalidDocument: another format or another layout.
    """
    parts = codec.unpack(data)
    check_layout(parts)
    check_shape(parts)
    if len(parts) != _LENGTH:
        return parts[1], tombstone(parts[2])
    metadata, tags, importance, confidence, related, parents, evidence, clock, access, extra = (
        parts[_FIRST_MAP:]
    )
    # Empty parts are shared objects, which compare by identity when documents are merged.
    return parts[1], _new(State, (
        *parts[2:_FIRST_MAP],
        metadata or _EMPTY,
        tags or _EMPTY,
        importance or _EMPTY,
        confidence or _EMPTY,
        frozenset(related) if related else gset.EMPTY,
        frozenset(parents) if parents else gset.EMPTY,
        frozenset(evidence) if evidence else gset.EMPTY,
        clock or _EMPTY,
        access or _EMPTY,
        extra or _EMPTY,
    ))  # fmt: skip


def check_layout(parts: Any) -> None:
    """Check the outer shape of decoded canonical bytes.

    Raises:
        InvalidDocument: not a document, or one of an unknown format.
    """
    if not isinstance(parts, tuple) or len(parts) < 3:  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidDocument("these bytes are no memory document")
    if parts[0] != FORMAT:
        raise InvalidDocument(
            f"document format {shown(parts[0])} is not format {FORMAT}, which this version reads; "
            "install the version that wrote it"
        )
    if len(parts) not in (3, _LENGTH):  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidDocument(f"a document has {_LENGTH} parts, these bytes hold {len(parts)}")  # pyright: ignore[reportUnknownArgumentType]


def digest(memory_id: str, state: State) -> bytes:
    """Return the 16-byte digest of a state without its access counts."""
    return codec.digest(encode(memory_id, state, access=False))
