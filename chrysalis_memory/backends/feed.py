"""The part of the seam that replication uses: what changed, what is held, what waits.

Every local or merged change of a memory, or of its access counts, enters the change feed. A cursor
is a place in the feed of one store; it is opaque, and means nothing to another store.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from chrysalis_memory.changes import Feed, Header, Quarantined


class ChangeFeed(Protocol):
    """What replication reads and writes inside a session."""

    def feed(self, cursor: bytes, *, limit: int) -> Feed:
        """Return what changed since ``cursor``, oldest change first; ``b""`` is the beginning.

        Raises:
            InvalidValue: no cursor of this kind of store.
        """
        ...

    def head(self) -> bytes:
        """Return the cursor behind every change."""
        ...

    def is_beyond(self, cursor: bytes) -> bool:
        """Tell whether ``cursor`` lies beyond the head, so that this store lost what it had.

        Raises:
            InvalidValue: no cursor of this kind of store.
        """
        ...

    def changes_after(self, cursor: bytes) -> int:
        """Return how many changes lie beyond ``cursor``, or more; it is told at once.

        Raises:
            InvalidValue: no cursor of this kind of store.
        """
        ...

    def digest_sums(self) -> Sequence[int]:
        """Return, by bucket, the sum of all digests modulo 2**128.

        Digests of states, as numbers of big-endian bytes, and :func:`access_digest` of each count.
        """
        ...

    def headers_in(self, buckets: Collection[int], *, after: str, limit: int) -> list[Header]:
        """Return what is held of some buckets, by id in order of UTF-8 bytes, beyond ``after``."""
        ...

    def load_many(self, memory_ids: Sequence[str]) -> "list[tuple[Header, bytes]]":
        """Return the headers and states of those of the memories that are known, in any order."""
        ...

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """Get ready to :meth:`load` and save memories, in one go.

        Where several may write at once, this locks them in order of their ids, known or not, so
        that writers which take many cannot block one another for ever.
        """
        ...

    def prefetch_numbers(self, numbers: Iterable[int]) -> None:
        """Do as :meth:`prefetch`, for memories that are known by their numbers."""
        ...

    def peer(self, name: str) -> str | None:
        """Return what :meth:`set_peer` kept of a peer."""
        ...

    def set_peer(self, name: str, value: str) -> None:
        """Keep something of a peer; it is not replicated."""
        ...

    def peers(self) -> list[tuple[str, str]]:
        """Return all peers with what was kept of them, by name."""
        ...

    def quarantine(self, quarantined: Quarantined) -> None:
        """Keep a state apart; one with the same id and digest is kept once."""
        ...

    def quarantined(self, *, before: int | None = None, limit: int = 1000) -> list[Quarantined]:
        """Return the states kept apart whose stamp is less than ``before``, by stamp, then id."""
        ...

    def quarantined_count(self) -> int:
        """Return how many states are kept apart."""
        ...

    def quarantined_among(self, memory_ids: Sequence[str]) -> set[tuple[str, bytes]]:
        """Return the id and the digest of each state of these memories that is kept apart."""
        ...

    def release(self, quarantined: Quarantined) -> None:
        """Remove a state that was kept apart."""
        ...

    def quarantined_of(self, memory_id: str) -> list[Quarantined]:
        """Return the states of a memory that are kept apart."""
        ...

    def drop_unread(self, memory_id: str) -> int:
        """Remove the states of a memory that a repair could not read; return how many."""
        ...

    def note_residue(self) -> None:
        """Note that :meth:`Backend.clean` has something to do; part of the transaction."""
        ...
