"""How two replicas come to hold the same, as steps without I/O.

:func:`synchronise` is a generator. It yields what is to be done next, either a request to the peer
or something to be asked of the own store, and is sent what came of it; whoever drives it decides
how requests travel. It may be stopped at any step, and begun anew: what was merged stays merged,
and cursors move only in the transaction of what they stand for.

The replica that syncs pulls what the peer's feed shows beyond its cursor: headers first, then those
memories whose digest it does not hold. Then it offers what its own feed shows beyond what it
offered before, and pushes what the peer wants of it. At the end both compare the sums of their
digests: cursors are for speed, sums for certainty. Where they differ, the buckets that differ are
compared in full.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chrysalis_memory.changes import Feed, Header
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import ReplicationError
from chrysalis_memory.replication.messages import (
    EPOCH_BYTES,
    AskBuckets,
    AskSums,
    Holdings,
    Item,
    Items,
    Merged,
    Offer,
    Page,
    Push,
    Request,
    Sender,
    Since,
    Sums,
    Want,
    Wanted,
    document_of,
    unpack_sums,
)

PAGE = 1_000
"""Memories to a page."""
_KNOWN_MAX = 100_000
_DOUBTS_MAX = 3


class Record(NamedTuple):
    """What is kept of a peer between syncs."""

    pulled: bytes = b""
    """Where to go on in the peer's feed, its epoch first."""
    pushed: bytes = b""
    """What was offered of the own feed, its epoch first."""


class Own(NamedTuple):
    """The own store, in one snapshot."""

    sender: Sender
    """The own name, and how far the own feed has come."""
    head: bytes
    """The end of the own feed, its epoch first."""
    root: bytes
    """The sum of all digests."""
    apart: int
    """How many states are kept apart."""


class Ask(NamedTuple):
    """Send a request to the peer; comes to its answer."""

    request: Request


class Look(NamedTuple):
    """Look at the own store; comes to :class:`Own`."""


class Changed(NamedTuple):
    """Read the own feed; comes to a :class:`Feed`. Cursors begin with the own epoch."""

    cursor: bytes
    limit: int


class Take(NamedTuple):
    """Merge what headers alone tell; comes to the ids of the memories that are needed whole."""

    headers: Sequence[Header]


class Load(NamedTuple):
    """Load memories; comes to :class:`Item` of the first so many as one message holds."""

    ids: Sequence[str]


class Merge(NamedTuple):
    """Merge memories and keep the record, in one transaction; comes to :class:`Merged`."""

    documents: Sequence[MemoryDocument]
    record: Record


class OwnSums(NamedTuple):
    """Read the sums of the own buckets; comes to a list of 256."""


class OwnHoldings(NamedTuple):
    """Read what own buckets hold; comes to :class:`Holdings`."""

    buckets: Sequence[int]
    after: str
    limit: int


class Renew(NamedTuple):
    """Take a new replica id and a new epoch: this file is a copy, or was restored."""


Step = Ask | Look | Changed | Take | Load | Merge | OwnSums | OwnHoldings | Renew
Steps = Generator[Step, Any, Any]


@dataclass(slots=True)
class Report:
    """What a sync did."""

    sent: int = 0
    """Memories pushed to the peer."""
    received: int = 0
    """Memories the peer sent."""
    merged: int = 0
    """Of these, how many changed what is stored here."""
    quarantined: int = 0
    """Of these, how many are kept apart because their stamps lie in the future."""
    refused: int = 0
    """Of those sent, how many the peer keeps apart for now."""
    repaired: int = 0
    """Buckets that had to be compared in full."""
    behind: int = 0
    """Changes of the peer that are still to be pulled, or more; 0 once a sync has ended."""
    waiting: tuple[str, ...] = ()
    """What a medium does not hold whole yet, each by name and with the reason; the next sync tries
    it again. What stays here was damaged."""
    messages: int = 0
    """Requests and answers."""
    verified: bool | None = None
    """Whether both sides hold the same, by their sums; ``None`` where that cannot be told."""


Progress = Callable[[Report], None]


@dataclass(slots=True)
class _Sync:
    record: Record
    report: Report
    progress: Progress
    known: dict[str, Header] = field(default_factory=dict[str, Header])
    """What the peer has shown of itself in this sync."""
    renewed: bool = False
    doubts: int = 0


def synchronise(
    record: Record, report: Report, progress: Progress = lambda _: None, *, wait_seconds: float = 0
) -> Generator[Step, Any, None]:
    """Make two replicas hold the same.

    Args:
        record: What was kept of the peer.
        report: Is filled in on the way.
        progress: Called with the report after every page.
        wait_seconds: How long the peer may wait for a change before it answers that there is none.

    Raises:
        ReplicationError: the peer does not send what it offers.
    """
    sync = _Sync(record, report, progress)
    page = yield from _exchange(sync, wait_seconds)
    same = yield from _is_same(sync, page)
    if same is False:
        yield from _repair(sync)
        page = yield from _exchange(sync)
        same = yield from _is_same(sync, page)
    report.verified = same


def _exchange(sync: _Sync, wait_seconds: float = 0) -> Generator[Step, Any, Page]:
    """Pull and push what is new; return the peer's last page."""
    page = yield from _pull(sync, wait_seconds)
    pushed = yield from _push(sync)
    if pushed:
        page = yield from _pull(sync)  # what was pushed shows in the peer's feed, and in its sum
    return page


# Pulling


def _pull(sync: _Sync, wait_seconds: float = 0) -> Generator[Step, Any, Page]:
    """Merge all that the peer's feed shows; return its last page."""
    own: Own = yield Look()
    while True:
        request = Since(own.sender, sync.record.pulled, PAGE, wait_seconds)
        page: Page = yield from _ask(sync, request, Page)
        if page.behind:
            own = yield from _caught_up(sync, own)
            continue
        if page.cursor[:EPOCH_BYTES] != sync.record.pulled[:EPOCH_BYTES]:
            # Another store answers, or one that lost what it had: it may lack what it was sent.
            sync.record = Record()
        _note(sync, page.headers)
        moved = sync.record._replace(pulled=page.cursor)
        if page.headers or page.items or moved != sync.record:
            yield from _receive(sync, page.headers, page.items, moved)
        sync.report.behind = page.left if page.more else 0
        sync.report.waiting = page.waiting
        sync.progress(sync.report)
        if not page.more:
            return page
        wait_seconds = 0


def _note(sync: _Sync, headers: Sequence[Header]) -> None:
    """Remember what the peer shows, so that it is not offered its own; within bounds."""
    if len(sync.known) > _KNOWN_MAX:
        sync.known.clear()
    sync.known |= {header.id: header for header in headers}


def _receive(
    sync: _Sync, headers: Sequence[Header], items: Sequence[Item], record: Record
) -> Generator[Step, Any, None]:
    """Merge what headers show and items hold; the record moves with the last of it."""
    wanted: list[str] = (yield Take(headers)) if headers else []
    while wanted:
        answer: Items = yield from _ask(sync, Want(wanted), Items)
        documents = [document_of(item) for item in answer.items]
        got = {document.id for document in documents}
        left = [memory_id for memory_id in wanted if memory_id not in got]
        if len(left) == len(wanted):
            raise ReplicationError(
                f"the peer offers memory {wanted[0]!r} and does not send it; sync again"
            )
        yield from _merge(sync, documents, sync.record if left or items else record)
        wanted = left
    if items or sync.record != record:
        documents = [document_of(item) for item in items]
        yield from _merge(sync, documents, record)


def _merge(
    sync: _Sync, documents: Sequence[MemoryDocument], record: Record
) -> Generator[Step, Any, None]:
    merged: Merged = yield Merge(documents, record)
    sync.record = record
    sync.report.received += len(documents)
    sync.report.merged += merged.changed
    sync.report.quarantined += merged.quarantined


# Pushing


def _push(sync: _Sync) -> Generator[Step, Any, bool]:
    """Offer all that the own feed shows, push what is wanted; tell whether anything was."""
    pushed = False
    while True:
        feed: Feed = yield Changed(sync.record.pushed, PAGE)
        # What the peer has just shown and was merged into nothing else needs no offer.
        new = [header for header in feed.headers if sync.known.get(header.id) != header]
        if new:
            own: Own = yield Look()
            is_to_repeat = yield from _offer(sync, own, new)
            if is_to_repeat:
                continue
            pushed = True
        moved = sync.record._replace(pushed=feed.cursor)
        if moved != sync.record:
            yield Merge((), moved)
            sync.record = moved
        sync.progress(sync.report)
        if not feed.more:
            return pushed


def _offer(sync: _Sync, own: Own, headers: Sequence[Header]) -> Generator[Step, Any, bool]:
    """Push what the peer wants of these; tell whether they are to be offered anew instead."""
    answer: Wanted = yield from _ask(sync, Offer(own.sender, list(headers)), Wanted)
    if answer.behind:
        yield from _caught_up(sync, own)
        return True
    wanted = answer.ids
    while wanted:
        items: list[Item] = yield Load(wanted)
        merged: Merged = yield from _ask(sync, Push(own.sender.replica, items), Merged)
        sync.report.sent += len(items)
        sync.report.refused += merged.quarantined
        wanted = wanted[len(items) :]
    return False


def _caught_up(sync: _Sync, said: Own) -> Generator[Step, Any, Own]:
    """Return the own store as it is now, under a new name if it has not moved since it spoke.

    If it has, the peer may have been told so meanwhile, by another sync that is under way. That is
    believed a few times only: a store that is written all the time has always moved.
    """
    own: Own = yield Look()
    if own.sender != said.sender and sync.doubts < _DOUBTS_MAX:
        sync.doubts += 1
        return own
    if sync.renewed:
        raise ReplicationError(
            "the peer has seen more of this replica than it holds, under a new name too; sync again"
        )
    yield Renew()
    sync.renewed = True
    sync.record = sync.record._replace(pushed=b"")
    own = yield Look()
    return own


# Making sure


def _is_same(sync: _Sync, page: Page) -> Generator[Step, Any, bool | None]:
    """Compare sums; ``None`` where they differ for a reason, or are not known."""
    own: Own = yield Look()
    is_settled = own.head == sync.record.pushed and not own.apart and not page.apart
    if not page.root or not is_settled:
        return None
    return page.root == own.root


def _repair(sync: _Sync) -> Generator[Step, Any, None]:
    """Compare the buckets whose sums differ, memory by memory, both ways."""
    answer: Sums = yield from _ask(sync, AskSums(), Sums)
    own_sums: list[int] = yield OwnSums()
    theirs = unpack_sums(answer.sums)
    buckets = [at for at, mine in enumerate(own_sums) if mine != theirs[at]]
    sync.report.repaired += len(buckets)
    sync.known.clear()
    after, more = "", bool(buckets)
    while more:
        held: Holdings = yield from _ask(sync, AskBuckets(buckets, after, PAGE), Holdings)
        yield from _receive(sync, held.headers, (), sync.record)
        _note(sync, held.headers)
        after, more = _last(held.headers, after), held.more
    after, more = "", bool(buckets)
    while more:
        own: Own = yield Look()
        mine: Holdings = yield OwnHoldings(buckets, after, PAGE)
        new = [header for header in mine.headers if sync.known.get(header.id) != header]
        if new and (yield from _offer(sync, own, new)):
            continue
        after, more = _last(mine.headers, after), mine.more


def _last(headers: Iterable[Header], after: str) -> str:
    return max((header.id.encode() for header in headers), default=after.encode()).decode()


def _ask(sync: _Sync, request: Request, kind: type[Any]) -> Generator[Step, Any, Any]:
    answer = yield Ask(request)
    sync.report.messages += 2
    if not isinstance(answer, kind):
        raise ReplicationError(
            f"a {type(request).__name__} was answered by a {type(answer).__name__}, "
            f"not by a {kind.__name__}; is the peer a Chrysalis memory?"
        )
    return answer
