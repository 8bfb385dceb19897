"""Building the indexes of a store anew, in short transactions beside its other work."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from chrysalis_memory.backends.base import Space
from chrysalis_memory.transaction import Transaction

T = TypeVar("T")
Slice = Callable[[Transaction, int], int | None]
"""Rebuilds what stands behind a memory number; returns where to go on, ``None`` at the end."""


_PAUSE_SECONDS_MAX = 0.01


class Run(Protocol):
    """A way to run work as one transaction."""

    def __call__(self, work: Callable[[Transaction], T], /) -> T:
        """Run ``work`` and wait until it is durable."""
        ...


def rebuild(
    run: Run,
    spaces: Sequence[Space],
    memories: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Build the words and the vector index of every space anew.

    After each slice it pauses for as long as that took: a search of a million vectors that shares
    the interpreter with it all the while takes five times as long.

    Args:
        run: Runs each slice as a transaction.
        spaces: The spaces of the store.
        memories: How many memories there are.
        progress: Called after each slice with how much is done and how much there is.
    """
    slices: list[Slice] = [_words, *(partial(_vectors, space) for space in spaces)]
    total = memories * len(slices)
    for number, rebuild_slice in enumerate(slices):
        after: int | None = -1
        while after is not None:
            begun = time.monotonic()
            after = run(partial(_from, rebuild_slice, after))
            time.sleep(min(time.monotonic() - begun, _PAUSE_SECONDS_MAX))
            if progress is not None:
                done = memories if after is None else min(after + 1, memories)
                progress(memories * number + done, total)


def _from(rebuild_slice: Slice, after: int, transaction: Transaction) -> int | None:
    return rebuild_slice(transaction, after)


def _words(transaction: Transaction, after: int) -> int | None:
    return transaction.session.rebuild_words(after=after)


def _vectors(space: Space, transaction: Transaction, after: int) -> int | None:
    known = transaction.space(space.fingerprint)
    if known is None or known.number != space.number:
        return None  # dropped meanwhile
    return transaction.session.rebuild_index(space, after=after)
