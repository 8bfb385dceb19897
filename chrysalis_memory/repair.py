"""Making anew what is derived from the states of a store, and keeping apart what cannot be read.

A state is believed if its digest is the one that was written with it, or if all that was derived
of it agrees with it: then the digest is what was damaged. What is not believed is never deleted.
It is kept as a setting of the store, and its memory is taken out, so that all else works and a sync
with a replica that has it brings it back. A memory that was forgotten stays forgotten.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from chrysalis_memory import codec, wire
from chrysalis_memory import state as states
from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow
from chrysalis_memory.backends.wholeness import UNREADABLE
from chrysalis_memory.database_url import DatabaseURL, require_file
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.integrity import (
    IntegrityReport,
    Read,
    check,
    pages,
    true_state,
    wrong,
    wrong_columns,
)
from chrysalis_memory.opening import open_backend
from chrysalis_memory.shape import LIFE_MAX
from chrysalis_memory.transaction import row_of

T = TypeVar("T")


class Run(Protocol):
    """A way to run work as one transaction."""

    def __call__(self, work: Callable[[Session], T], /) -> T:
        """Run ``work`` and wait until it is durable."""
        ...


class RepairReport(NamedTuple):
    """What a repair came to."""

    mended: int
    """How many memories had something made anew."""
    set_apart: list[str]
    """The ids of memories whose state could not be read; see :data:`.wholeness.UNREADABLE`."""
    left: IntegrityReport
    """What a check found afterwards."""


def repair(
    read: Read, run: Run, progress: Callable[[int, int], None] | None = None
) -> RepairReport:
    """Make everything anew that is derived from the states of a store, and check it again.

    Nobody else should write meanwhile; if somebody does, the check afterwards tells what is left.

    Args:
        read: Works on a snapshot of the store.
        run: Runs work as one transaction.
        progress: Told how far the check afterwards is.

    Raises:
        StorageError: the store is so damaged that its memories cannot be read.
    """
    run(lambda session: session.mend_indexes())
    found = read(_found)
    set_apart = [one.row.id for one in found if run(lambda session, one=one: _mend(session, one))]
    set_apart += run(_mend_quarantine)
    run(lambda session: session.mend_rest())
    return RepairReport(len(found), set_apart, check(read, progress))


def _found(session: Session) -> list[IndexedMemory]:
    spaces = session.spaces()
    return [one for page in pages(session) for one in page if any(wrong(one, spaces))]


def _mend(session: Session, one: IndexedMemory) -> bool:
    """Mend a memory, and tell whether its state was set apart."""
    stored = one.row
    try:
        state = true_state(stored)
    except InvalidValue as error:
        why = str(error)
    else:
        row = row_of(stored.id, state, states.greatest_stamp(state))
        if row.digest == stored.digest or not any(wrong_columns(stored, row)):
            session.rewrite(one.number, row)
            return False
        why = "neither its digest nor its columns are those of its state"
    forgotten = _forgotten(stored)
    if forgotten is not None and forgotten.digest == stored.digest:
        session.rewrite(one.number, forgotten)  # exactly the bytes that were written
        return False
    _keep(session, stored.id, stored.state, why, dict(one.access))
    if forgotten is None:
        session.remove(one.number)
    else:
        session.rewrite(one.number, forgotten)
    return True


def _forgotten(stored: MemoryRow) -> MemoryRow | None:
    """Return the row of a memory that was forgotten, by its life; ``None`` for a living one."""
    if stored.life % 2 or not 0 < stored.life < LIFE_MAX:
        return None
    return row_of(stored.id, states.tombstone(stored.life), 0)


def _mend_quarantine(session: Session) -> list[str]:
    set_apart: list[str] = []
    for kept in session.quarantined(limit=session.quarantined_count() or 1):
        try:
            wire.from_bytes(kept.state)
        except InvalidValue as error:
            _keep(session, kept.id, kept.state, f"in quarantine: {error}", {})
            session.release(kept)
            set_apart.append(kept.id)
    return set_apart


def _keep(session: Session, memory_id: str, state: bytes, why: str, uses: dict[str, int]) -> None:
    kept = {"id": memory_id, "state": state.hex(), "why": why, "uses": uses}
    session.set_meta(UNREADABLE + codec.digest(state + memory_id.encode()).hex(), json.dumps(kept))


def check_store(
    path: str | Path | DatabaseURL,
    *,
    mends: bool = False,
    progress: Callable[[int, int], None] | None = None,
    timeout_seconds: float = 5.0,
    key: EncryptionKey | None = None,
) -> RepairReport:
    """Check a store that is not open, or mend it, even one too damaged to be opened otherwise.

    Args:
        path: A file or the URL of a database.
        mends: Whether to repair it.
        progress: Told how far the check is.
        timeout_seconds: How long a write waits for another process.
        key: What a file is encrypted with.

    Raises:
        NotADatabase: there is none, or its schema is not ours.
        StorageError: it is so damaged that its memories cannot be read.
    """
    require_file(path)
    opened = open_backend(
        path, timeout_seconds=timeout_seconds, synchronous="FULL", examines=False, key=key
    )
    try:
        if mends:
            return repair(opened.backend.read, opened.backend.run, progress)
        return RepairReport(0, [], check(opened.backend.read, progress))
    finally:
        opened.backend.close()
