"""A store as replication sees it: it does the steps of a sync, and answers a peer's requests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chrysalis_memory.changes import Feed, Header, Quarantined
from chrysalis_memory.codec import digest, ordered, pack
from chrysalis_memory.crdt import counts
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidFrame, InvalidValue, StorageError
from chrysalis_memory.replication.messages import (
    EPOCH_BYTES,
    Answer,
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
    pack_sums,
    root_of,
)
from chrysalis_memory.replication.protocol import (
    Changed,
    Load,
    Look,
    Merge,
    Own,
    OwnHoldings,
    OwnSums,
    Record,
    Renew,
    Step,
    Take,
)
from chrysalis_memory.replication.rights import Rights, admit
from chrysalis_memory.state import encode, greatest_stamp
from chrysalis_memory.storage import MemoryStorage, Session
from chrysalis_memory.transaction import Transaction

ITEMS_BYTES_MAX = 4 << 20
"""Memories are sent in messages of about so many bytes; one memory may be larger."""
_ITEM_BYTES = 64
"""What an item takes in a message beside its state, about."""


class Replica:
    """One store, as it takes part in replication.

    Args:
        storage: The store.

    Safe for any number of threads, as the store is.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage = storage

    # Steps of a sync that this replica runs

    def record(self, peer: str) -> Record:
        """Return what was kept of a peer."""
        kept = self.storage.read(lambda session: session.peer(f"peer {peer}"))
        if kept is None:
            return Record()
        return Record(*(bytes.fromhex(one) for one in json.loads(kept)))

    def do(self, step: Step, peer: str) -> Any:
        """Do one step of a sync with ``peer``, and return what it comes to.

        Raises:
            StorageError: the store could not.
        """
        match step:
            case Look():
                return self.storage.read(_look)
            case Changed(cursor, limit):
                return self.storage.read(lambda session: _feed(session, cursor, limit))
            case Take(headers):
                return self._take(headers)
            case Load(ids):
                return self.storage.read(lambda session: _load(session, ids))
            case Merge(documents, record):
                return self._merge(documents, peer, record)
            case OwnSums():
                return self.storage.read(lambda session: list(session.digest_sums()))
            case OwnHoldings(buckets, after, limit):
                return self.storage.read(lambda s: _holdings(s, buckets, after, limit))
            case Renew():
                return self.storage.renew_identity()
            case _:
                raise InvalidValue(f"{type(step).__name__} is no step for a store")

    # Answers to a replica that syncs with this one

    def answer(self, request: Request, *, rights: Rights | None = None) -> Answer:
        """Answer a request.

        Args:
            request: What is asked.
            rights: What its sender may give; ``None``: everything.

        Raises:
            InvalidFrame: what it gives is not valid; nothing was changed.
            PeerRefused: it gives more than it may; nothing was changed.
            StorageError: the store could not.
        """
        given = [document_of(item) for item in request.items] if isinstance(request, Push) else []
        if rights is not None:
            admit(self.storage, rights, request, given)
        match request:
            case Since(sender, cursor, limit):
                return self._page(sender, cursor, limit)
            case Want(ids):
                return Items(self.storage.read(lambda session: _load(session, ids)))
            case Offer(sender, headers):
                if self._is_behind(sender):
                    return Wanted([], behind=True)
                return Wanted(self._take(headers), behind=False)
            case Push(replica, _):
                return self._merge(given, replica, None)
            case AskSums():
                return Sums(self.storage.read(lambda s: pack_sums(list(s.digest_sums()))))
            case AskBuckets(buckets, after, limit):
                return self.storage.read(lambda s: _holdings(s, buckets, after, limit))

    def _page(self, sender: Sender, cursor: bytes, limit: int) -> Page:
        self.release()
        behind = self._is_behind(sender)
        page = self.storage.read(lambda session: _page(session, cursor, limit))
        if page is None:
            # A peer has seen more than there is: what it has seen since was written anew.
            self.storage.renew_identity()
            page = self.storage.read(lambda session: _page(session, b"", limit))
            assert page is not None  # noqa: S101 - nothing lies before the beginning
        return page._replace(behind=behind)

    def _is_behind(self, sender: Sender) -> bool:
        """Tell whether more was seen of a replica than it says it has had; note what it says."""
        name, said = f"seen {sender.replica}", json.dumps([sender.epoch.hex(), sender.changes])
        if self.storage.read(lambda session: session.peer(name)) == said:
            return False

        def work(transaction: Transaction) -> bool:
            epoch, changes = json.loads(transaction.session.peer(name) or '["", 0]')
            if epoch == sender.epoch.hex() and changes > sender.changes:
                return True
            transaction.session.set_peer(name, said)
            return False

        return self.storage.run(work)

    # Both

    def release(self) -> int:
        """Merge what was kept apart and has become valid; return how many states that were.

        Raises:
            StorageError: they stay where they are, as in a damaged file.
        """
        due = self.storage.clock.horizon() + 1
        released = 0
        before: list[Quarantined] = []
        while ready := self.storage.read(lambda session: session.quarantined(before=due)):
            if ready == before:
                raise StorageError(
                    f"a state of memory {ready[0].id!r} that was kept apart cannot be let go: the "
                    "store is damaged; mend it with: chrysalis check --repair"
                )
            before = ready

            def work(transaction: Transaction, ready: list[Quarantined] = ready) -> None:
                transaction.prefetch([one.id for one in ready])
                for one in ready:
                    transaction.merge(document_of(Item(one.state, {})))
                    transaction.session.release(one)

            self.storage.run(work)
            released += len(ready)
        return released

    def _take(self, headers: Sequence[Header]) -> list[str]:
        """Merge access counts of memories held as the headers say; return the other ids."""
        wanted, grown = self.storage.read(lambda session: _compare(session, headers))
        if grown:

            def work(transaction: Transaction) -> None:
                transaction.prefetch([header.id for header in grown])
                for header in grown:
                    document = transaction.load(header.id)
                    if document is not None and document.state.life == header.life:
                        state = document.state
                        joined = counts.join(state.access, dict(header.access))
                        transaction.merge(
                            MemoryDocument.of(header.id, state._replace(access=joined))
                        )

            self.storage.run(work)
        return wanted

    def _merge(
        self, documents: Sequence[MemoryDocument], source: str, record: Record | None
    ) -> Merged:
        horizon = self.storage.clock.horizon()

        def work(transaction: Transaction) -> Merged:
            changed, quarantined = _merged(transaction, documents, source, horizon)
            if record is not None:
                value = json.dumps([one.hex() for one in record])
                transaction.session.set_peer(f"peer {source}", value)
            return Merged(changed, quarantined)

        return self.storage.run(work)


def _merged(
    transaction: Transaction, documents: Sequence[MemoryDocument], source: str, horizon: int
) -> tuple[int, int]:
    """Merge what is valid, keep apart what is not; return how many changed, and were kept apart."""
    transaction.prefetch([document.id for document in documents])
    changed = quarantined = 0
    for document in documents:
        stamp = greatest_stamp(document.state)
        known = transaction.load(document.id) if stamp > horizon else None
        if known is not None and known.state.life > document.state.life:
            continue  # merging it would change nothing, and nothing is kept of what was forgotten
        if stamp > horizon:
            state = encode(document.id, document.state)
            own = digest(encode(document.id, document.state, access=False))
            name = _whole(own, document.state.access)
            transaction.session.quarantine(Quarantined(document.id, name, stamp, state, source))
            quarantined += 1
        else:
            changed += transaction.merge(document)
    return changed, quarantined


def _look(session: Session) -> Own:
    return Own(
        sender=Sender(_required(session, "replica"), _epoch(session), session.changes_after(b"")),
        head=_epoch(session) + session.head(),
        root=root_of(list(session.digest_sums())),
        apart=session.quarantined_count(),
    )


def _epoch(session: Session) -> bytes:
    return bytes.fromhex(_required(session, "epoch"))


def _required(session: Session, key: str) -> str:
    value = session.meta(key)
    if value is None:
        raise InvalidValue(f"the store has no {key}; open it again")
    return value


def _feed(session: Session, cursor: bytes, limit: int) -> Feed:
    epoch = _epoch(session)
    inner = cursor[EPOCH_BYTES:] if cursor[:EPOCH_BYTES] == epoch else b""
    feed = session.feed(inner, limit=limit)
    return feed._replace(cursor=epoch + feed.cursor)


def _page(session: Session, cursor: bytes, limit: int) -> Page | None:
    """Return a page of the feed, or ``None`` if the cursor lies beyond its end."""
    is_own = cursor[:EPOCH_BYTES] == _epoch(session)
    if is_own and session.is_beyond(cursor[EPOCH_BYTES:]):
        return None
    feed = _feed(session, cursor, limit)
    return Page(
        replica=_required(session, "replica"),
        headers=feed.headers,
        items=[],
        cursor=feed.cursor,
        more=feed.more,
        root=b"" if feed.more else root_of(list(session.digest_sums())),
        apart=session.quarantined_count(),
        left=session.changes_after(feed.cursor[EPOCH_BYTES:]),
        behind=False,
    )


def _load(session: Session, ids: Sequence[str]) -> list[Item]:
    """Return the first so many of the memories as one message holds; at least one."""
    found = {header.id: (header, state) for header, state in session.load_many(ids)}
    items: list[Item] = []
    size = 0
    for memory_id in dict.fromkeys(ids):
        if memory_id not in found:
            raise InvalidFrame(f"no memory has the id {memory_id!r} that was asked for")
        header, state = found[memory_id]
        size += len(state) + _ITEM_BYTES * (1 + len(header.access))
        if items and size > ITEMS_BYTES_MAX:
            break
        items.append(Item(state, header.access))
    return items


def _compare(session: Session, headers: Sequence[Header]) -> tuple[list[str], list[Header]]:
    """Return the ids of what is held otherwise, and the headers whose access counts tell more."""
    held = {header.id: header for header, _ in session.load_many([one.id for one in headers])}
    apart = session.quarantined_among([one.id for one in headers])
    wanted: list[str] = []
    grown: list[Header] = []
    for header in headers:
        mine = held.get(header.id)
        if mine is not None and mine.digest == header.digest:
            # A forgotten memory keeps its id and its life, and no uses, whatever a peer says.
            counts_more = (count > mine.access.get(one, 0) for one, count in header.access.items())
            if mine.life % 2 and any(counts_more):
                grown.append(header)
            continue
        name = _whole(header.digest, header.access)
        if (mine is None or mine.life <= header.life) and (header.id, name) not in apart:
            wanted.append(header.id)
    return wanted, grown


def _whole(own: bytes, access: Mapping[str, int]) -> bytes:
    """Return the digest of a state with its access counts, by that of the state alone.

    What waits in quarantine is told apart by it: counts that have grown are kept apart, too.
    """
    return digest(own + pack(ordered(dict(access)))) if access else own


def _holdings(session: Session, buckets: Sequence[int], after: str, limit: int) -> Holdings:
    headers = session.headers_in(set(buckets), after=after, limit=limit)
    return Holdings(headers, more=len(headers) == limit)
