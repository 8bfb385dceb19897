"""How segments and cursors are written."""

import pytest

from chrysalis_memory import MemoryDocument
from chrysalis_memory.errors import InvalidFrame, ReplicationError
from chrysalis_memory.replication import frames, segments
from chrysalis_memory.replication.messages import (
    CURSOR_BYTES_MAX,
    FRAME_BYTES_MAX,
    Item,
    Merged,
    Page,
    Sender,
)
from chrysalis_memory.replication.segments import Cursor, Segment

FEED = "0123456789abcdef-fedcba9876543210"
OTHER = "00000000000000aa-00000000000000bb"
ITEM = Item(MemoryDocument(id="m", content="text").to_bytes(), {"r": 3})


def test_a_feed_is_named_by_its_replica_and_epoch() -> None:
    sender = Sender("0123456789abcdef", bytes.fromhex("fedcba9876543210"), 4)
    assert FEED == segments.feed_of(sender)


@pytest.mark.parametrize("replica", ["", "ada", "../../etc", "0123456789ABCDEF"])
def test_a_replica_whose_id_could_be_any_path_has_no_feed(replica: str) -> None:
    with pytest.raises(InvalidFrame, match="hexadecimal"):
        segments.feed_of(Sender(replica, bytes(8), 0))


def test_a_segment_is_named_by_its_number() -> None:
    assert f"{FEED}/00000042.chrysalis" == Segment(FEED, 42).path
    assert 42 == segments.number_of("00000042.chrysalis")


@pytest.mark.parametrize(
    "name",
    ["42.chrysalis", "00000042 (Ada's conflicted copy).chrysalis", "00000042.chrysalis.tmp",
     ".00000042.chrysalis.ab.partial", "00000042.sync-conflict-1.chrysalis", "00000042"],
)  # fmt: skip
def test_a_file_of_any_other_name_is_no_segment(name: str) -> None:
    assert None is segments.number_of(name)


def test_a_segment_holds_memories_and_how_many_changes_there_had_been() -> None:
    frame = segments.encode(Segment(FEED, 7), [ITEM], 99)
    assert segments.Contents([ITEM], 99, len(frame)) == segments.decode(Segment(FEED, 7), frame)


@pytest.mark.parametrize(
    "place",
    [Segment(FEED, 8), Segment(OTHER, 7), Segment(OTHER[:17] + FEED[17:], 7)],
    ids=["number", "feed", "replica"],
)
def test_a_segment_in_the_place_of_another_is_refused(place: Segment) -> None:
    frame = segments.encode(Segment(FEED, 7), [ITEM], 99)
    with pytest.raises(InvalidFrame, match="another segment"):
        segments.decode(place, frame)


def test_a_frame_that_is_no_page_is_no_segment() -> None:
    with pytest.raises(InvalidFrame, match="Merged"):
        segments.decode(Segment(FEED, 7), frames.encode(Merged(0, 0)))


def test_a_segment_with_a_memory_that_is_none_is_refused_whole() -> None:
    frame = segments.encode(Segment(FEED, 7), [ITEM, Item(b"\x93\x01\xa1x\x00", {})], 99)
    with pytest.raises(InvalidFrame, match="refused"):
        segments.decode(Segment(FEED, 7), frame)


def test_a_segment_that_no_page_could_carry_is_not_written() -> None:
    large = [Item(bytes(1 << 20), {})] * (FRAME_BYTES_MAX >> 20)
    with pytest.raises(InvalidFrame, match="too large"):
        segments.encode(Segment(FEED, 1), large[1:], 0)


def test_a_cursor_keeps_the_number_that_is_next_of_every_feed() -> None:
    cursor = Cursor(b"epochxyz", {FEED: 7, OTHER: 1 << 40})
    assert cursor == Cursor.unpack(cursor.pack())
    assert b"epochxyz" == cursor.pack()[:8]


@pytest.mark.parametrize("packed", [b"", b"short", b"epochxyz1"])
def test_bytes_that_are_no_cursor_of_a_medium_are_told(packed: bytes) -> None:
    assert None is Cursor.unpack(packed)


def test_more_feeds_than_a_cursor_holds_are_an_error_that_says_what_to_do() -> None:
    def following(count: int) -> Cursor:
        return Cursor(bytes(8), {f"{n:016x}-{n:016x}": 1 for n in range(count)})

    assert len(following(segments.FEEDS_MAX).pack()) <= CURSOR_BYTES_MAX
    with pytest.raises(ReplicationError, match="empty it"):
        following(segments.FEEDS_MAX + 1).pack()


def test_the_longest_segment_fits_in_a_page_with_the_longest_cursor_and_reasons() -> None:
    room = segments.SEGMENT_BYTES_MAX - len(segments.encode(Segment(FEED, 1), [], 0)) - 64
    frame = segments.encode(Segment(FEED, 1), [Item(bytes(room), {})], 0)
    items = frames.decode(frame).items  # type: ignore[union-attr]
    page = Page("r", [], items, bytes(CURSOR_BYTES_MAX), True, b"", 0, 0, False, ("ü" * 400,) * 100)
    assert len(frames.encode(page)) <= FRAME_BYTES_MAX
