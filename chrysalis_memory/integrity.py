"""Whether a store is whole: its states as they were written, and all else made of them.

States are the truth; columns, tag and metadata rows, words, vectors and sums are derived from them
in the same transaction. So whatever does not fit what its state comes to was damaged from outside,
or written by a fault of the program. :mod:`chrysalis_memory.repair` makes it anew.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from chrysalis_memory import codec, wire
from chrysalis_memory import state as states
from chrysalis_memory.backends.base import Session, Space
from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow, Upkeep
from chrysalis_memory.backends.wholeness import UNREADABLE
from chrysalis_memory.changes import BUCKETS, SUM_MODULUS, access_digest, bucket_of
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Filter, Query
from chrysalis_memory.state import State
from chrysalis_memory.transaction import row_of

T = TypeVar("T")
_PAGE = 500
_LIVING = Filter(include_archived=True, include_expired=True)
_COLUMNS = MemoryRow._fields[4:16]


class Read(Protocol):
    """A way to work on one consistent snapshot."""

    def __call__(self, work: Callable[[Session], T], /) -> T:
        """Run ``work``."""
        ...


class Problem(NamedTuple):
    """Something that is not as it must be."""

    memory: str | None
    """The id of the memory it is wrong with; ``None`` where it is no single one."""
    what: str


class IntegrityReport(NamedTuple):
    """What a check came to."""

    checked: int
    """How many memories were read, forgotten ones too."""
    problems: list[Problem]
    upkeep: Upkeep = Upkeep(0, None, 0)
    """What is no fault, and worth knowing."""
    unreadable: int = 0
    """How many states are kept apart because they could not be read."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(read: Read, progress: Callable[[int, int], None] | None = None) -> IntegrityReport:
    """Read a whole store, in one snapshot of it, and return what is wrong; changes nothing.

    Args:
        read: Works on a snapshot of the store.
        progress: Called after each page with how many memories are checked and how many there are.

    Raises:
        StorageError: the store is so damaged that its memories cannot be read.
    """

    def work(session: Session) -> IntegrityReport:
        problems = [Problem(None, what) for what in session.damage()]
        problems += _wrong_quarantine(session)
        sums = [0] * BUCKETS
        spaces = session.spaces()
        living, done = session.count(Query(_LIVING, 0)), 0
        for page in pages(session):
            for one in page:
                problems += [Problem(one.row.id, what) for what in wrong(one, spaces)]
                sums[bucket_of(one.row.id)] += _sum(one)
            done += len(page)
            if progress is not None:
                progress(done, max(living, done))
        for bucket, (kept, true) in enumerate(zip(session.digest_sums(), sums, strict=True)):
            if kept != true % SUM_MODULUS:
                problems.append(Problem(None, f"the sum of bucket {bucket} is not that of its "
                                              "memories, which replicas would compare again and "
                                              "again"))  # fmt: skip
        unreadable = len(session.settings(UNREADABLE))
        return IntegrityReport(done, problems, session.upkeep(), unreadable)

    return read(work)


def pages(session: Session) -> Iterator[list[IndexedMemory]]:
    """Iterate over all memories with what is derived of them."""
    after = 0
    while page := session.indexed(after=after, limit=_PAGE):
        yield page
        after = page[-1].number


def _sum(one: IndexedMemory) -> int:
    uses = (access_digest(one.row.id, replica, n) for replica, n in one.access.items())
    return int.from_bytes(one.row.digest) + sum(uses)


def true_state(stored: MemoryRow) -> State:
    """Return what the stored bytes of a memory say.

    Raises:
        InvalidValue: they cannot be read, or are those of another memory.
    """
    memory_id, state = wire.from_bytes(stored.state)
    if (memory_id, state.life) != (stored.id, stored.life):
        raise InvalidValue(f"its state is that of {memory_id!r} in life {state.life}")
    return state


def wrong(one: IndexedMemory, spaces: Sequence[Space]) -> Iterator[str]:
    """Iterate over what is wrong with one memory."""
    stored = one.row
    if codec.digest(stored.state) != stored.digest:
        yield "its state is not the one that was written: the digest differs"
    try:
        state = true_state(stored)
    except InvalidValue as error:
        yield str(error) if "its state is" in str(error) else f"its state cannot be read: {error}"
        return
    yield from wrong_columns(stored, row_of(stored.id, state, states.greatest_stamp(state)))
    if not one.has_its_words:
        yield "its words are not those of its text"
    if stored.content is None and one.access:
        yield "it was forgotten and still has counts of its uses"
    yield from _wrong_vectors(one, state, spaces)


def wrong_columns(stored: MemoryRow, true: MemoryRow) -> Iterator[str]:
    """Iterate over what a row says otherwise than its state."""
    for column in _COLUMNS:
        if getattr(true, column) != getattr(stored, column):
            yield f"the column {column} is not what its state says"
    if set(true.tags) != set(stored.tags):
        yield "its tag rows are not what its state says"
    if set(true.metadata) != set(stored.metadata):
        yield "its metadata rows are not what its state says"


def _wrong_vectors(one: IndexedMemory, state: State, spaces: Sequence[Space]) -> Iterator[str]:
    text_hash = None if state.content is None else codec.text_hash(state.content[2])
    for space in spaces:
        vector, waits = one.vectors.get(space.number), space.number in one.pending
        if text_hash is None:
            if vector is not None or waits:
                yield f"it was forgotten and still has a vector of {space.fingerprint!r}"
        elif vector is None and not waits:
            yield f"it has no vector of {space.fingerprint!r} and does not wait for one"
        elif vector not in (None, text_hash):
            yield f"its vector of {space.fingerprint!r} is that of another text"
        elif space.number in one.broken:
            yield f"its vector of {space.fingerprint!r} is none of length 1"


def _wrong_quarantine(session: Session) -> Iterator[Problem]:
    for kept in session.quarantined(limit=session.quarantined_count() or 1):
        try:
            wire.from_bytes(kept.state)
        except InvalidValue as error:
            yield Problem(kept.id, f"its state that waits in quarantine cannot be read: {error}")
