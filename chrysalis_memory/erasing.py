"""Erasing: forgetting so that no byte of a memory is left in a store's file or its log."""

import logging
from collections.abc import Sequence

from chrysalis_memory.backends.base import Backend
from chrysalis_memory.errors import ErasureIncomplete, MemoryNotFound, StorageError, StoreBusy
from chrysalis_memory.rebuild import Run
from chrysalis_memory.transaction import Transaction

logger = logging.getLogger("chrysalis_memory")


def erase(backend: Backend, run: Run, memory_ids: Sequence[str]) -> int:
    """Forget memories and leave no byte of them; see :meth:`.MemoryStorage.erase`."""
    backend.check_cleanable()

    def work(transaction: Transaction) -> int:
        transaction.prefetch(memory_ids)
        for memory_id in memory_ids:
            is_known = transaction.load(memory_id) is not None
            if not transaction.session.drop_unread(memory_id) and not is_known:
                raise MemoryNotFound(memory_id)
        forgotten = sum(transaction.forget(memory_id) for memory_id in memory_ids)
        transaction.session.note_residue()
        return forgotten

    forgotten = run(work)
    try:
        backend.clean(at_once=True)
    except StorageError as error:
        shown = ", ".join(map(repr, memory_ids[:3])) + (", ..." if len(memory_ids) > 3 else "")
        reason = (
            "somebody reads an earlier state of the file, or writes to it"
            if isinstance(error, StoreBusy)
            else str(error)
        )
        raise ErasureIncomplete(
            f"{shown} is forgotten for good, but bytes of it remain in the file or its log "
            f"until it is erased once more: {reason}; call erase again"
        ) from error
    return forgotten


def tidy(backend: Backend, *, pauses: bool = True) -> None:
    """Leave no byte of what merging has forgotten, if that is possible now; otherwise later.

    It costs nothing where nothing was forgotten, and never fails: what cannot be done now is done
    after the next merge or sync, or when a store is closed.

    Args:
        backend: The engine of the store.
        pauses: Whether to leave it for later if the last time was not long ago.
    """
    try:
        backend.clean(at_once=False, pauses=pauses)
    except StorageError as error:
        logger.info("bytes of what was forgotten will be removed later: %s", error)
