"""What a peer with a key may give: its own use counters, within caps.

A request that goes beyond is refused whole, and nothing of it is written. Nothing is clamped: a
state that was lowered here would differ from the peer's for ever, and both would send theirs again
at every sync.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from chrysalis_memory.changes import Header
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import kernel
from chrysalis_memory.crdt.counts import COUNT_MAX
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import PeerRefused
from chrysalis_memory.replication.messages import Offer, Push, Request, Since
from chrysalis_memory.state import State, decode
from chrysalis_memory.storage import MemoryStorage, Session
from chrysalis_memory.transaction import Transaction

REPLICAS_MAX = 1_000
"""A key may come with so many replica ids; a file takes a new one when it is copied or restored."""
_BOUND = "key "


class Rights(NamedTuple):
    """What the holder of a key may do."""

    name: str
    """Of the key."""
    relays: bool = False
    """Whether it may raise counters of replicas that are not its own, as a hub must."""
    importance_max: float = 1.0
    """The greatest importance it may bring."""
    access_max: int = COUNT_MAX
    """The greatest use count it may bring, for one replica and one memory."""
    owners: Mapping[str, str] = MappingProxyType({})
    """Replica ids whose key is settled before they are seen, each with the name of the key."""


def admit(
    storage: MemoryStorage,
    rights: Rights,
    request: Request,
    documents: Sequence[MemoryDocument],
) -> None:
    """Check a request against the rights of its sender, and bind its replica id to the key.

    Counts only grow and so does what is held, so what is found to be within the rights here is so
    still when it is merged.

    Args:
        storage: The store that is asked.
        rights: Of who asks.
        request: What is asked.
        documents: The memories of a :class:`Push`.

    Raises:
        PeerRefused: it goes beyond the rights; nothing was written.
        StorageError: the store could not.
    """
    replica = _replica_of(request)
    if replica is None:
        return
    is_bound = storage.read(lambda session: _check(session, rights, replica, request, documents))
    if not is_bound:
        storage.run(lambda transaction: _bind(transaction, rights, replica))


def _replica_of(request: Request) -> str | None:
    match request:
        case Since(sender, _, _) | Offer(sender, _):
            return sender.replica
        case Push(replica, _):
            return replica
        case _:
            return None


def _check(
    session: Session,
    rights: Rights,
    replica: str,
    request: Request,
    documents: Sequence[MemoryDocument],
) -> bool:
    """Check all of a request; tell whether its replica id is bound already."""
    is_bound = _check_replica(session, rights, replica)
    _Held(session, rights, replica).check(
        request.headers if isinstance(request, Offer) else (), documents
    )
    return is_bound


def _check_replica(session: Session, rights: Rights, replica: str) -> bool:
    settled = rights.owners.get(replica)
    owner = settled or session.peer(_BOUND + replica)
    if replica == session.meta("replica"):
        raise PeerRefused(
            f"{rights.name!r} speaks as replica {shown(replica)}, which is the one that is served "
            "here; open a copy at its own place, where it takes a new id"
        )
    if owner not in (None, rights.name):
        raise PeerRefused(
            f"{rights.name!r} speaks as replica {shown(replica)}, which belongs to another key; "
            "sync each file with its own key, and copy files by 'chrysalis clone'"
        )
    return owner is not None


def _bind(transaction: Transaction, rights: Rights, replica: str) -> None:
    session = transaction.session
    if _check_replica(session, rights, replica):
        return
    bound = sum(name.startswith(_BOUND) and owner == rights.name for name, owner in session.peers())
    if bound >= REPLICAS_MAX:
        raise PeerRefused(
            f"{rights.name!r} has come as {bound:,} replicas already; give it a new key"
        )
    session.set_peer(_BOUND + replica, rights.name)


class _Held:
    """Compares what a peer brings with what is held."""

    def __init__(self, session: Session, rights: Rights, replica: str) -> None:
        self._session = session
        self._rights = rights
        self._own = {replica}

    def check(self, headers: Collection[Header], documents: Sequence[MemoryDocument]) -> None:
        ids = [one.id for one in headers] + [one.id for one in documents]
        held = {header.id: (header, state) for header, state in self._session.load_many(ids)}
        for header in headers:
            known = held.get(header.id)
            self._check_counts(
                header.id, header.life, header.access, known[0] if known is not None else None
            )
        for document in documents:
            known = held.get(document.id)
            state = document.state
            mine = known[0] if known is not None else None
            self._check_counts(document.id, state.life, state.access, mine)
            if self._rights.importance_max < 1:
                self._check_importance(document.id, state, known)

    def _check_counts(
        self, memory_id: str, life: int, counts: Mapping[str, int], mine: Header | None
    ) -> None:
        if mine is not None and life < mine.life:
            return  # it is merged into nothing
        known: Mapping[str, int] = {}
        if mine is not None and life == mine.life:
            known = mine.access
        for replica, count in counts.items():
            if count <= known.get(replica, 0):
                continue
            name, most = self._rights.name, self._rights.access_max
            if count > most:
                raise PeerRefused(
                    f"{name!r} brings {count:,} uses of memory {shown(memory_id)}, counted by "
                    f"replica {shown(replica)}; its entry says access_max = {most}"
                )
            if not self._rights.relays and not self._is_own(replica):
                raise PeerRefused(
                    f"{name!r} raises the use counter of replica {shown(replica)}, which is not "
                    f"its own, to {count:,} for memory {shown(memory_id)}; let that replica sync "
                    f"itself, or say replicas = [...] or relays = true in the entry of {name!r}"
                )

    def _is_own(self, replica: str) -> bool:
        if replica not in self._own:
            settled = self._rights.owners.get(replica)
            if (settled or self._session.peer(_BOUND + replica)) != self._rights.name:
                return False
            self._own.add(replica)
        return True

    def _check_importance(
        self, memory_id: str, state: State, known: tuple[Header, bytes] | None
    ) -> None:
        """Refuse what counts after merging, is above the cap, and does not count here now."""
        held: kernel.Entries = {}
        if known is not None:
            if state.life < known[0].life:
                return
            if state.life == known[0].life and state.alive:
                held = decode(known[1])[1].importance
        for writer, (stamp, value, _) in kernel.join(held, state.importance).items():
            before = held.get(writer)
            is_new = before is None or before[:2] != (stamp, value)
            if stamp and is_new and value > self._rights.importance_max:
                name, most = self._rights.name, self._rights.importance_max
                raise PeerRefused(
                    f"{name!r} brings importance {value} for memory {shown(memory_id)}; "
                    f"its entry says importance_max = {most}"
                )
