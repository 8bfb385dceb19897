"""Syncing with a medium: a transport that answers every request itself, from segments.

Nobody is at the other end. What the protocol asks is answered from what lies there, and what it
pushes is left there as further segments; see :mod:`chrysalis_memory.replication.segments`.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from chrysalis_memory.codec import digest
from chrysalis_memory.crdt import counts
from chrysalis_memory.errors import InvalidFrame, UnsupportedProtocol
from chrysalis_memory.replication import frames, segments
from chrysalis_memory.replication.messages import (
    EPOCH_BYTES,
    WAITING_MAX,
    Item,
    Merged,
    Offer,
    Page,
    Push,
    Sender,
    Since,
    Wanted,
)
from chrysalis_memory.replication.protocol import PAGE
from chrysalis_memory.replication.replica import ITEMS_BYTES_MAX
from chrysalis_memory.replication.segments import Contents, Cursor, Segment

_LISTS_AT_ONCE = 16
_HELD_MAX = 1_000_000
_REASON_CHARACTERS_MAX = 400


class Medium(Protocol):
    """A place that keeps files; all that a transport needs of it.

    Paths are relative to the medium, with ``/`` between the parts. Every method blocks, may be
    called by several threads, and raises :class:`PeerUnavailable` if the medium cannot be reached
    and :class:`PeerRefused` if it does not let this replica in.
    """

    @property
    def name(self) -> str:
        """Where the medium is; the same for all ways to write it."""
        ...

    def folders(self) -> list[str]:
        """Return the names of all folders at the top."""
        ...

    def files(self, folder: str, *, after: str) -> list[str]:
        """Return the names of the files in a folder that sort behind ``after``, or more of them."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file, ``None`` if there is none.

        Raises:
            InvalidFrame: this file alone cannot be read, or is longer than a frame.
        """
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write a new file, whole or not at all; tell whether the path was free."""
        ...


class _Listing(NamedTuple):
    numbers: dict[str, list[int]]
    """By feed, in order."""
    strange: list[str]
    """Paths that end as segments do and are none."""

    def unread(self, read: Mapping[str, int]) -> Iterator[tuple[str, list[int]]]:
        """Yield each feed with the numbers that were not read."""
        for feed, numbers in self.numbers.items():
            beyond = [number for number in numbers if number >= read.get(feed, 1)]
            if beyond:
                yield feed, beyond


class _Reading:
    """A page while it is being filled."""

    def __init__(self, read: Mapping[str, int], limit: int, strange: Sequence[str]) -> None:
        self.read = dict(read)
        self.items: list[Item] = []
        self.size_bytes = 0
        self.is_full = False
        self.waiting = [
            f"{path}: no segment; a tool that copies files may have renamed one" for path in strange
        ]
        self._limit = limit

    def add(self, segment: Segment, contents: Contents | None) -> bool:
        """Take a segment in, or note that the page is full; ``None`` is passed over."""
        if contents is not None:
            size_bytes = self.size_bytes + contents.size_bytes
            is_over = len(self.items) + len(contents.items) > self._limit
            if self.items and (is_over or size_bytes > ITEMS_BYTES_MAX):
                self.is_full = True
                return False
            self.items += contents.items
            self.size_bytes = size_bytes
        self.read[segment.feed] = segment.number + 1
        return True

    def wait(self, segment: Segment, reason: str) -> None:
        """Note that a segment cannot be read yet."""
        self.waiting.append(f"{segment.path}: {reason}"[:_REASON_CHARACTERS_MAX])


class MediumTransport:
    """Lets a store sync with all others that use the same medium.

    It serves one store. Whatever it read or wrote it does not ask for again, so keeping it for
    several syncs saves work; a new one does no harm.

    Args:
        medium: Where the segments lie.
        poll_seconds: How long to wait between looks at the medium when told to wait for news.
    """

    def __init__(self, medium: Medium, *, poll_seconds: float = 1.0) -> None:
        self._medium = medium
        self._poll_seconds = poll_seconds
        # A request that was given up may still be at work when the next one comes.
        self._lock = threading.Lock()
        self._sender: Sender | None = None
        self._next = 1
        self._held: dict[bytes, dict[str, int]] = {}
        self._written: set[Segment] = set()
        self._begun: tuple[bytes, _Listing] | None = None
        self._ahead: tuple[Segment, Contents] | None = None

    @property
    def name(self) -> str:
        """Where the medium is."""
        return self._medium.name

    async def pull(self, frame: bytes) -> bytes:
        """See :meth:`Transport.pull`."""
        request = frames.request(frame)
        if not isinstance(request, Since):
            raise InvalidFrame(f"files at rest do not answer a {type(request).__name__}")
        until = time.monotonic() + request.wait_seconds
        while True:
            page = await asyncio.to_thread(self._page, request)
            left_seconds = until - time.monotonic()
            if page.is_news(request.cursor) or left_seconds <= 0:
                return frames.encode(page)
            await asyncio.sleep(min(self._poll_seconds, left_seconds))

    async def push(self, frame: bytes) -> bytes:
        """See :meth:`Transport.push`."""
        request = frames.request(frame)
        if isinstance(request, Offer):
            return frames.encode(await asyncio.to_thread(self._wanted, request))
        if isinstance(request, Push):
            return frames.encode(await asyncio.to_thread(self._keep, request))
        raise InvalidFrame(f"files at rest take no {type(request).__name__}")

    async def close(self) -> None:
        """See :meth:`Transport.close`."""

    # Reading

    def _page(self, request: Since) -> Page:
        with self._lock:
            own = segments.feed_of(request.sender)
            cursor = Cursor.unpack(request.cursor) or Cursor(secrets.token_bytes(EPOCH_BYTES), {})
            is_going_on = self._begun is not None and self._begun[0] == request.cursor
            if self._begun is None or not is_going_on:
                listing = self._list(cursor)
                lost = _lost(cursor, listing)
                if own in lost or self._is_behind(request.sender, cursor, listing):
                    return _page_of(cursor, self.name, behind=True)
                if lost:
                    cursor = Cursor(secrets.token_bytes(EPOCH_BYTES), {})
                    self._held.clear()
                    self._written.clear()
                    listing = self._list(cursor)
            else:
                listing = self._begun[1]
            self._know(request.sender, listing.numbers.get(own, []))
            reading = _Reading(cursor.read, request.limit, listing.strange)
            self._fill(reading, listing)
            left = sum(len(numbers) for _, numbers in listing.unread(reading.read))
            page = _page_of(cursor._replace(read=reading.read), self.name)._replace(
                items=reading.items,
                more=reading.is_full,
                left=left * PAGE,
                waiting=tuple(reading.waiting[:WAITING_MAX]),
            )
            self._begun = (page.cursor, listing) if page.more else None
            return page

    def _list(self, cursor: Cursor) -> _Listing:
        """List what was not read yet, and the last segment of each feed that was."""
        feeds = sorted(filter(segments.is_feed, self._medium.folders()))

        def files(feed: str) -> list[str]:
            last_read = cursor.read.get(feed, 1) - 1
            before = Segment(feed, max(last_read - 1, 0)).path
            return self._medium.files(feed, after=before.partition("/")[2])

        with ThreadPoolExecutor(_LISTS_AT_ONCE) as pool:
            found = dict(zip(feeds, pool.map(files, feeds), strict=True))
        numbers: dict[str, list[int]] = {}
        strange: list[str] = []
        for feed, names in found.items():
            known = {name: segments.number_of(name) for name in names}
            numbers[feed] = sorted(number for number in known.values() if number is not None)
            strange += [f"{feed}/{name}" for name, number in known.items() if number is None]
        return _Listing(numbers, sorted(strange))

    def _is_behind(self, sender: Sender, cursor: Cursor, listing: _Listing) -> bool:
        """Tell whether a segment of its own, unknown to the replica, tells of more changes."""
        own = segments.feed_of(sender)
        for number in dict(listing.unread(cursor.read)).get(own, []):
            segment = Segment(own, number)
            if segment in self._written:
                continue
            try:
                contents = self._contents(segment)
            except (InvalidFrame, UnsupportedProtocol):
                continue  # reading comes to it again, and names it
            if contents is not None and contents.changes > sender.changes:
                return True
        return False

    def _fill(self, reading: _Reading, listing: _Listing) -> None:
        for feed, numbers in listing.unread(reading.read):
            for number in numbers:
                due = Segment(feed, reading.read.get(feed, 1))
                if number != due.number:
                    reading.wait(due, "has not arrived, but later ones have")
                    break
                if not self._take(reading, due):
                    break
            if reading.is_full:
                return

    def _take(self, reading: _Reading, segment: Segment) -> bool:
        """Add a segment to a page; tell whether its feed's next one is due."""
        if segment in self._written:
            return reading.add(segment, None)
        try:
            contents = self._contents(segment)
        except (InvalidFrame, UnsupportedProtocol) as error:
            reading.wait(segment, str(error))
            return False
        if contents is None:
            reading.wait(segment, "has gone again")
            return False
        if not reading.add(segment, contents):
            self._ahead = (segment, contents)
            return False
        for item in contents.items:
            self._note(item)
        return True

    def _contents(self, segment: Segment) -> Contents | None:
        if self._ahead is not None and self._ahead[0] == segment:
            return self._ahead[1]
        frame = self._medium.read(segment.path)
        return None if frame is None else segments.decode(segment, frame)

    # Writing

    def _know(self, sender: Sender, numbers: Sequence[int]) -> None:
        """Note who is served, and which number it writes next."""
        self._sender = sender
        self._next = max(numbers, default=0) + 1

    def _wanted(self, request: Offer) -> Wanted:
        with self._lock:
            if self._sender is None or self._sender[:2] != request.sender[:2]:
                raise InvalidFrame("an offer by one who has not asked first what is new")
            self._sender = request.sender
            ids = [one.id for one in request.headers if not self._holds(one.digest, one.access)]
            return Wanted(ids, behind=False)

    def _keep(self, request: Push) -> Merged:
        with self._lock:
            sender = self._sender
            if sender is None or sender.replica != request.replica:
                raise InvalidFrame("memories pushed by one who has not offered them")
            new = [one for one in request.items if not self._holds(digest(one.state), one.access)]
            for at in range(0, len(new), PAGE):
                self._write(sender, new[at : at + PAGE])
            return Merged(0, 0)

    def _write(self, sender: Sender, items: Sequence[Item]) -> None:
        """Leave a segment under the next free number."""
        while True:
            segment = Segment(segments.feed_of(sender), self._next)
            frame = segments.encode(segment, items, sender.changes)
            self._next += 1
            if self._medium.create(segment.path, frame):
                break
            # An object store may have created it and lost the answer. Otherwise another process
            # syncs the same memory, and this segment is the next.
            if self._medium.read(segment.path) == frame:
                break
        self._written.add(segment)
        for item in items:
            self._note(item)

    # What the medium is known to hold

    def _note(self, item: Item) -> None:
        key = digest(item.state)
        if len(self._held) >= _HELD_MAX:
            self._held.clear()
        self._held[key] = counts.join(self._held.get(key, {}), dict(item.access))

    def _holds(self, key: bytes, access: Mapping[str, int]) -> bool:
        held = self._held.get(key)
        return held is not None and all(held.get(one, 0) >= n for one, n in access.items())


def _lost(cursor: Cursor, listing: _Listing) -> set[str]:
    """Return the feeds whose last segment that was read is gone."""
    return {
        feed for feed, due in cursor.read.items() if due - 1 not in listing.numbers.get(feed, ())
    }


def _page_of(cursor: Cursor, name: str, *, behind: bool = False) -> Page:
    return Page(
        replica=name[-_REASON_CHARACTERS_MAX:],
        headers=[],
        items=[],
        cursor=cursor.pack(),
        more=False,
        root=b"",
        apart=0,
        left=0,
        behind=behind,
    )
