"""What replicas tell of their changes: headers, pages of a feed, sums of digests."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from chrysalis_memory import codec

BUCKETS = 256
"""Memories are summed up by so many buckets, each a share of all ids."""
SUM_MODULUS = 1 << 128


class Header(NamedTuple):
    """What tells whether one holds the same of a memory."""

    id: str
    life: int
    digest: bytes
    """Of the state without access counts: 16 bytes."""
    access: Mapping[str, int]
    """Access counts by replica."""


class Feed(NamedTuple):
    """A page of the change feed."""

    headers: list[Header]
    """Of what changed, as it is now, each memory once."""
    cursor: bytes
    """Where to go on."""
    more: bool
    """Whether there was more than the page holds."""


class Quarantined(NamedTuple):
    """A state whose stamps lie too far in the future to be merged now."""

    id: str
    digest: bytes
    """Tells it, its access counts included, from other states of the memory."""
    stamp: int
    """The greatest stamp, in microseconds since 1970."""
    state: bytes
    """Canonical bytes, access counts included."""
    source: str
    """Who sent it."""


def bucket_of(memory_id: str) -> int:
    """Return the bucket of a memory, 0 to 255, by a hash of its id."""
    return hashlib.blake2b(memory_id.encode(), digest_size=1).digest()[0]


def access_digest(memory_id: str, replica: str, count: int) -> int:
    """Return what one access count adds to the sum of its bucket."""
    return int.from_bytes(codec.digest(codec.pack((memory_id, replica, count))))
