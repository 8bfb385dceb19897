"""Segments: what replicas leave for one another in a place that only keeps files.

A *medium* is a shared folder that some tool copies between machines, or a bucket of an object
store. It answers no questions and merges nothing, so replicas leave their memories in it::

    <medium>/<replica>-<epoch>/00000001.chrysalis
                               00000002.chrysalis

- Each folder is the *feed* of one replica in one epoch, named by 16 hexadecimal digits of each.
  That replica alone adds to it. Its segments are numbered from 1 without a gap. A replica that
  takes a new name (its file was copied or restored) begins another folder; the old one is then
  somebody else's.
- A *segment* is one frame: a ``Page`` with at most 1,000 whole memories, about 4 MiB. The cursor of
  that page holds the epoch, the segment's number, and how many changes the replica had had in
  this epoch, each number as 8 big-endian bytes. Of a memory that changes again a later segment
  holds the new state; nothing is ever taken out of an earlier one.
- It is created whole and never overwritten: a number that is taken is left to whoever took it.
- What begins with a dot, does not end in ``.chrysalis``, or lies elsewhere is none of ours.

A reader keeps, for every feed, the number it reads next. What this promises:

- Nothing is skipped. A segment is read after all earlier ones of its feed; where one is missing or
  still incomplete, that feed waits, others do not, and the next sync tries again.
- Nothing damaged is merged. The frame's digest, its place (the cursor says what the name says) and
  every memory in it are checked first; what fails is named in ``Report.waiting`` at each sync.
- Nothing that was lost stays unnoticed. If the last segment that was read of any feed is gone,
  because the medium was emptied or replaced, the reader begins it anew: it reads all there is, and
  leaves whatever it holds beyond that. A replica whose own segments are gone takes a new name for
  it, so that numbers never mean two things.
- A restored replica is told. If a segment of its own that it does not know of was left after more
  changes than it has had, it takes a new name. What a killed sync left is just read again.

So a medium may be emptied at any time, to make it small again: each replica that syncs afterwards
leaves what is missing. It is emptied by removing the folders of feeds, never single segments.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidFrame, ReplicationError
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import (
    CURSOR_BYTES_MAX,
    EPOCH_BYTES,
    FRAME_BYTES_MAX,
    Item,
    Page,
    Sender,
    document_of,
)

SUFFIX = ".chrysalis"
SEGMENT_BYTES_MAX = FRAME_BYTES_MAX - (1 << 20)
"""The longest segment: what a page says beside its memories must fit in a frame with them."""

_FEED = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
_FEED_BYTES = 16
_NUMBER = re.compile(r"([0-9]{8})" + re.escape(SUFFIX))
_NUMBER_BYTES = 8
_ENTRY_BYTES = _FEED_BYTES + _NUMBER_BYTES
FEEDS_MAX = (CURSOR_BYTES_MAX - EPOCH_BYTES) // _ENTRY_BYTES
"""A cursor holds the numbers of so many feeds."""


class Segment(NamedTuple):
    """The place of a segment."""

    feed: str
    number: int

    @property
    def path(self) -> str:
        """Where it lies in the medium, with ``/`` between the parts."""
        return f"{self.feed}/{self.number:08}{SUFFIX}"


class Contents(NamedTuple):
    """What a segment holds."""

    items: list[Item]
    changes: int
    """How many changes the replica had had in this epoch."""
    size_bytes: int


def feed_of(sender: Sender) -> str:
    """Return the name of a replica's feed.

    Raises:
        InvalidFrame: a replica id that is not 16 hexadecimal digits.
    """
    feed = f"{sender.replica}-{sender.epoch.hex()}"
    if not is_feed(feed):
        raise InvalidFrame(
            f"a replica that writes segments has an id of 16 hexadecimal digits, "
            f"got {shown(sender.replica)}"
        )
    return feed


def is_feed(name: str) -> bool:
    """Tell whether a folder of this name is a feed."""
    return _FEED.fullmatch(name) is not None


def number_of(name: str) -> int | None:
    """Return the number of the segment in a file of this name, ``None`` if it is none."""
    match = _NUMBER.fullmatch(name)
    return int(match[1]) if match else None


def encode(segment: Segment, items: Sequence[Item], changes: int) -> bytes:
    """Return a segment as bytes.

    Raises:
        InvalidFrame: it would be too long to be read by everybody.
    """
    cursor = _place(segment) + changes.to_bytes(_NUMBER_BYTES)
    frame = frames.encode(
        Page(
            replica=segment.feed.partition("-")[0],
            headers=[],
            items=list(items),
            cursor=cursor,
            more=False,
            root=b"",
            apart=0,
            left=0,
            behind=False,
        )
    )
    if len(frame) > SEGMENT_BYTES_MAX:
        raise InvalidFrame(
            f"a segment of {len(frame):,} bytes is over {SEGMENT_BYTES_MAX:,}; "
            "a memory has grown too large, give it fewer tags, links or metadata"
        )
    return frame


def decode(segment: Segment, frame: bytes) -> Contents:
    """Check the bytes of a segment, and all that they hold, and return it.

    Raises:
        InvalidFrame: not whole, changed, in the wrong place, or with a memory that is none.
        UnsupportedProtocol: written by a newer version.
    """
    page = frames.decode(frame)
    if not isinstance(page, Page):
        raise InvalidFrame(f"a {type(page).__name__} is no segment")
    place, changes = page.cursor[:-_NUMBER_BYTES], page.cursor[-_NUMBER_BYTES:]
    if place != _place(segment) or page.replica != segment.feed.partition("-")[0]:
        raise InvalidFrame("this is another segment, which was renamed or copied here")
    for item in page.items:
        document_of(item)
    return Contents(page.items, int.from_bytes(changes), len(frame))


def _place(segment: Segment) -> bytes:
    epoch = bytes.fromhex(segment.feed.partition("-")[2])
    return epoch + segment.number.to_bytes(_NUMBER_BYTES)


class Cursor(NamedTuple):
    """How far a medium was read."""

    epoch: bytes
    """Random, from when this reader began with the medium, or began it anew."""
    read: Mapping[str, int]
    """By feed, the number that is read next."""

    def pack(self) -> bytes:
        """Return the cursor as messages carry it.

        Raises:
            ReplicationError: more feeds than a cursor can hold.
        """
        if len(self.read) > FEEDS_MAX:
            raise ReplicationError(
                f"{len(self.read):,} feeds are more than the {FEEDS_MAX:,} that can be "
                "followed in one medium; empty it, so that each replica begins anew"
            )
        return self.epoch + b"".join(
            bytes.fromhex(feed.replace("-", "")) + number.to_bytes(_NUMBER_BYTES)
            for feed, number in sorted(self.read.items())
        )

    @classmethod
    def unpack(cls, packed: bytes) -> "Cursor | None":
        """Return the cursor that was packed, ``None`` if that is none of a medium."""
        epoch, entries = packed[:EPOCH_BYTES], packed[EPOCH_BYTES:]
        if len(epoch) < EPOCH_BYTES or len(entries) % _ENTRY_BYTES:
            return None
        read: dict[str, int] = {}
        for at in range(0, len(entries), _ENTRY_BYTES):
            feed = entries[at : at + _FEED_BYTES].hex("-", _FEED_BYTES // 2)
            read[feed] = int.from_bytes(entries[at + _FEED_BYTES : at + _ENTRY_BYTES])
        return cls(epoch, read)
