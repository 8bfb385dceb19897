"""What two replicas say to each other: requests of the one that syncs, answers of the other.

Every request is idempotent: it may be lost, repeated or arrive twice without harm. Cursors carry
the epoch of the store that gave them and mean nothing to anybody else.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from chrysalis_memory import codec, wire
from chrysalis_memory.changes import BUCKETS, SUM_MODULUS, Header
from chrysalis_memory.crdt import counts
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidFrame, InvalidValue
from chrysalis_memory.shape import LIFE_MAX

T = TypeVar("T")
Check = Callable[[Any], Any]

EPOCH_BYTES = 8
DIGEST_BYTES = 16
FRAME_BYTES_MAX = 16 << 20
"""The longest frame that is sent or read."""
HEADERS_MAX = 5_000
"""The most headers, or ids, in one message."""
CURSOR_BYTES_MAX = 64 << 10
"""The longest cursor; that of a medium names every feed in it."""
WAITING_MAX = 100
_WAIT_SECONDS_MAX = 300


class Item(NamedTuple):
    """A memory as it travels."""

    state: bytes
    """Canonical bytes without access counts."""
    access: Mapping[str, int]


class Sender(NamedTuple):
    """Who asks, and how far it has come; what a peer sees fall back was restored, or is a copy."""

    replica: str
    epoch: bytes
    changes: int
    """How many changes its feed has had in this epoch; they only grow."""


class Since(NamedTuple):
    """Asks what changed since a cursor; answered by a :class:`Page`."""

    sender: Sender
    cursor: bytes
    """Of the one asked, its epoch first; empty for everything."""
    limit: int
    """How many memories at most."""
    wait_seconds: float = 0.0
    """How long to wait for a change if there is none yet."""

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"sender": _sender, "cursor": _cursor, "limit": _limit, "wait_seconds": _wait}


class Page(NamedTuple):
    """What changed, as headers, or as whole memories where only those are kept."""

    replica: str
    """Who answers."""
    headers: list[Header]
    items: list[Item]
    cursor: bytes
    more: bool
    """Whether more follows at once."""
    root: bytes
    """The sum of all digests in the same snapshot; empty where it is not known."""
    apart: int
    """How many states are kept apart by whom answers, and so missing from the sum."""
    left: int
    """How many changes lie beyond the cursor, or more."""
    behind: bool
    """Whether more was seen of the sender than it has now."""
    waiting: tuple[str, ...] = ()
    """What cannot be read yet of a medium, each with the reason; it is tried again next time."""

    def is_news(self, cursor: bytes) -> bool:
        """Tell whether there was anything to tell one who had read up to ``cursor``."""
        return bool(self.headers or self.items or self.more or self.behind or self.cursor != cursor)

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {
            "replica": _name, "headers": _headers, "items": _items, "cursor": _cursor,
            "more": _flag, "root": _root, "apart": _count, "left": _count, "behind": _flag,
            "waiting": _reasons,
        }  # fmt: skip


class Want(NamedTuple):
    """Asks for whole memories; answered by :class:`Items`."""

    ids: list[str]

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"ids": _names}


class Items(NamedTuple):
    """Whole memories: of those asked for, the first so many as one frame holds."""

    items: list[Item]

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"items": _items}


class Offer(NamedTuple):
    """Says what the sender holds; answered by :class:`Wanted`."""

    sender: Sender
    headers: list[Header]

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"sender": _sender, "headers": _headers}


class Wanted(NamedTuple):
    """Says which of the offered memories to push."""

    ids: list[str]
    behind: bool
    """Whether more was seen of the sender than it has now; then nothing is wanted."""

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"ids": _names, "behind": _flag}


class Push(NamedTuple):
    """Gives memories; answered by :class:`Merged`."""

    replica: str
    """Who gives them."""
    items: list[Item]

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"replica": _name, "items": _items}


class Merged(NamedTuple):
    """What became of pushed memories."""

    changed: int
    """How many changed what is stored."""
    quarantined: int
    """How many are kept apart until their stamps are valid."""

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"changed": _count, "quarantined": _count}


class AskSums(NamedTuple):
    """Asks for the sum of each bucket; answered by :class:`Sums`."""

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {}


class Sums(NamedTuple):
    """The sum of all digests, by bucket."""

    sums: bytes
    """256 numbers of 16 big-endian bytes."""

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"sums": _sums}


class AskBuckets(NamedTuple):
    """Asks what some buckets hold; answered by :class:`Holdings`."""

    buckets: list[int]
    after: str
    """Go on behind this id; empty to begin."""
    limit: int

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"buckets": _buckets, "after": _text, "limit": _limit}


class Holdings(NamedTuple):
    """What the buckets hold, by id in order of UTF-8 bytes."""

    headers: list[Header]
    more: bool

    @staticmethod
    def checks() -> dict[str, Check]:
        """Return how each field is checked."""
        return {"headers": _headers, "more": _flag}


Request = Since | Want | Offer | Push | AskSums | AskBuckets
Answer = Page | Items | Wanted | Merged | Sums | Holdings
Message = Request | Answer
MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Since, Page, Want, Items, Offer, Wanted, Push, Merged, AskSums, Sums,
                 AskBuckets, Holdings)
}  # fmt: skip


def pack_sums(sums: list[int]) -> bytes:
    """Return sums by bucket as :attr:`Sums.sums` holds them."""
    return b"".join(one.to_bytes(DIGEST_BYTES) for one in sums)


def unpack_sums(packed: bytes) -> list[int]:
    """Return the sums by bucket."""
    return [
        int.from_bytes(packed[at : at + DIGEST_BYTES]) for at in range(0, len(packed), DIGEST_BYTES)
    ]


def root_of(sums: list[int]) -> bytes:
    """Return the sum of all buckets as :attr:`Page.root` holds it."""
    return (sum(sums) % SUM_MODULUS).to_bytes(DIGEST_BYTES)


def document_of(item: Item) -> MemoryDocument:
    """Check the state of an item and return its memory.

    Raises:
        InvalidFrame: bytes that are no document of a known format.
    """
    try:
        memory_id, state = wire.from_bytes(item.state)
    except InvalidValue as error:
        raise InvalidFrame(f"a memory that was sent is refused: {error}") from error
    if item.access and state.alive:
        state = state._replace(access=dict(item.access))
    return MemoryDocument.of(memory_id, state)


# Checks: each returns the value as its type, or raises InvalidFrame.


def _refused(what: str, value: object) -> InvalidFrame:
    return InvalidFrame(f"{what}, got {codec.shown(value)}")


def _bounded(value: object, what: str, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise _refused(f"{what} is from 0 to {most}", value)
    return value


def _count(value: object) -> int:
    return _bounded(value, "a count", STAMP_MAX)


def _limit(value: object) -> int:
    return max(1, _bounded(value, "a limit", HEADERS_MAX))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _refused("a flag is true or false", value)
    return value


def _wait(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= _WAIT_SECONDS_MAX:
        raise _refused(f"a time to wait is from 0 to {_WAIT_SECONDS_MAX} seconds", value)
    return float(value)


def _bytes(value: object, what: str, least: int, most: int) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise _refused(f"{what} has {least} to {most} bytes", value)
    return value


def _cursor(value: object) -> bytes:
    return _bytes(value, "a cursor", 0, CURSOR_BYTES_MAX)


def _sender(value: object) -> Sender:
    replica, epoch, changes = _sequence(value, "a sender has three parts", 3, 3)
    return Sender(
        _name(replica), _bytes(epoch, "an epoch", EPOCH_BYTES, EPOCH_BYTES), _count(changes)
    )


def _root(value: object) -> bytes:
    return _bytes(value, "a sum", 0, DIGEST_BYTES)


def _sums(value: object) -> bytes:
    return _bytes(value, "the sums", BUCKETS * DIGEST_BYTES, BUCKETS * DIGEST_BYTES)


def _text(value: object) -> str:
    return value if value == "" else _name(value)  # pyright: ignore[reportReturnType]


def _name(value: object) -> str:
    try:
        return wire.check_name(value, what="a name")
    except InvalidValue as error:
        raise InvalidFrame(str(error)) from error


def _sequence(value: object, what: str, least: int, most: int) -> Sequence[object]:
    if not isinstance(value, list | tuple) or not least <= len(cast("list[Any]", value)) <= most:
        raise _refused(what, cast("object", value))
    return cast("list[Any]", value)


def _list(value: object, of: Callable[[object], T], most: int = HEADERS_MAX) -> list[T]:
    return [of(one) for one in _sequence(value, f"a list has at most {most}", 0, most)]


def _names(value: object) -> list[str]:
    return _list(value, _name)


def _reasons(value: object) -> tuple[str, ...]:
    return tuple(_list(value, _name, WAITING_MAX))


def _buckets(value: object) -> list[int]:
    return _list(value, lambda one: _bounded(one, "a bucket", BUCKETS - 1), BUCKETS)


def _access(value: object) -> Mapping[str, int]:
    try:
        return counts.check_counts(value)
    except InvalidValue as error:
        raise InvalidFrame(str(error)) from error


def _header(value: object) -> Header:
    memory_id, life, digest, access = _sequence(value, "a header has four parts", 4, 4)
    return Header(
        _name(memory_id),
        _bounded(life, "a causal length", LIFE_MAX - 1),
        _bytes(digest, "a digest", DIGEST_BYTES, DIGEST_BYTES),
        _access(access),
    )


def _headers(value: object) -> list[Header]:
    return _list(value, _header)


def _item(value: object) -> Item:
    state, access = _sequence(value, "a memory has two parts", 2, 2)
    return Item(_bytes(state, "a state", 1, FRAME_BYTES_MAX), _access(access))


def _items(value: object) -> list[Item]:
    return _list(value, _item)
