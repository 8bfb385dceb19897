"""Frames that were cut, changed, replayed or come from the future."""

import random
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage, codec
from chrysalis_memory.changes import Header
from chrysalis_memory.errors import InvalidFrame, ReplicationError, UnsupportedProtocol
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import (
    MESSAGES,
    AskBuckets,
    AskSums,
    Holdings,
    Item,
    Items,
    Merged,
    Message,
    Offer,
    Page,
    Push,
    Sender,
    Since,
    Sums,
    Want,
    Wanted,
)
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import answer
from tests.faults.mutations import damaged, enveloped

FUZZED = 20_000
DIGEST = bytes(range(16))
HEADER = Header("m", 1, DIGEST, {"r": 3})
ITEM = Item(MemoryDocument(id="m", content="text").to_bytes(), {"r": 3})
SENDER = Sender("r", bytes(8), 4)
SAMPLES: list[Message] = [
    Since(SENDER, b"", 10, 1.5),
    Page("r", [HEADER], [ITEM], b"c", True, DIGEST, 2, 7, False, ("x: not whole",)),
    Want(["m"]),
    Items([ITEM]),
    Offer(SENDER, [HEADER]),
    Wanted(["m"], False),
    Push("r", [ITEM]),
    Merged(1, 0),
    AskSums(),
    Sums(bytes(16 * 256)),
    AskBuckets([0, 255], "m", 10),
    Holdings([HEADER], False),
]

SINCE = {"type": "Since", **SAMPLES[0]._asdict()}


def framed(values: dict[str, Any]) -> bytes:
    return enveloped(codec.pack(values))


def test_there_is_a_sample_of_every_message() -> None:
    assert set(MESSAGES.values()) == {type(sample) for sample in SAMPLES}


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert message == frames.decode(frames.encode(message))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_fields_of_a_newer_version_are_passed_over(message: Message) -> None:
    values = {"type": type(message).__name__, **message._asdict(), "since_version_9": [1]}
    assert message == frames.decode(framed(values))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_that_lacks_a_field_is_refused(message: Message) -> None:
    for left_out in message._fields:
        values = {"type": type(message).__name__, **message._asdict()}
        del values[left_out]
        with pytest.raises(InvalidFrame, match=left_out):
            frames.decode(framed(values))


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"type": "Teleport"}, UnsupportedProtocol, "Teleport"),
        ({}, UnsupportedProtocol, "upgrade"),
        ({"type": "Want", "ids": "m"}, InvalidFrame, "list"),
        ({"type": "Want", "ids": [7]}, InvalidFrame, "7"),
        ({"type": "Want", "ids": ["m"] * 5001}, InvalidFrame, "5000"),
        (SINCE | {"limit": -1}, InvalidFrame, "-1"),
        (SINCE | {"wait_seconds": 1e9}, InvalidFrame, "300"),
        (SINCE | {"cursor": "x"}, InvalidFrame, "cursor"),
        (SINCE | {"sender": ["r", bytes(7), 4]}, InvalidFrame, "epoch"),
        ({"type": "Items", "items": [[b"x"]]}, InvalidFrame, "two parts"),
        ({"type": "Items", "items": [[b"x", {"r": -1}]]}, InvalidFrame, "-1"),
        ({"type": "Merged", "changed": True, "quarantined": 0}, InvalidFrame, "True"),
        ({"type": "Wanted", "ids": [], "behind": 1}, InvalidFrame, "flag"),
        ({"type": "Sums", "sums": b"short"}, InvalidFrame, "4096"),
        ({"type": "AskBuckets", "buckets": [256], "after": "", "limit": 1}, InvalidFrame, "256"),
    ],
)
def test_a_message_whose_values_are_wrong_is_refused_with_the_value(
    values: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        frames.decode(framed(values))


def test_a_frame_of_another_version_asks_for_an_upgrade() -> None:
    frame = bytearray(frames.encode(AskSums()))
    frame[4] = frames.VERSION + 1
    with pytest.raises(UnsupportedProtocol, match="upgrade"):
        frames.decode(bytes(frame))


def test_a_message_that_no_frame_holds_is_refused_where_it_is_made() -> None:
    item = Item(bytes(frames.FRAME_BYTES_MAX), {})
    with pytest.raises(InvalidFrame, match="fewer memories"):
        frames.encode(Items([item]))


def test_an_answer_is_no_request_and_a_request_no_answer() -> None:
    with pytest.raises(InvalidFrame, match="Merged"):
        frames.request(frames.encode(Merged(0, 0)))
    with pytest.raises(InvalidFrame, match="AskSums"):
        frames.answer(frames.encode(AskSums()))


def fuzzed(chance: random.Random, good: list[bytes]) -> bytes:
    """Return a frame with something wrong, or a good one once more."""
    frame = chance.choice(good)
    match chance.randrange(7):
        case 0:
            return frame
        case 1:  # whole, but its payload is not what it says
            payload = bytearray(frame[frames.HEADER_BYTES :])
            payload[chance.randrange(len(payload))] = chance.randrange(256)
            return enveloped(bytes(payload))
        case _:
            return damaged(chance, frame)


def content(store: MemoryStorage) -> dict[str, list[Any]]:
    def read(session: Any) -> dict[str, list[Any]]:
        return {
            table: session.connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("memory", "tag", "access", "memory_word", "digest_sum", "quarantine")
        }

    return store.read(read)


def test_twenty_thousand_fuzzed_frames_are_answered_or_refused_by_name_and_change_nothing_refused(
    tmp_path: Path,
) -> None:
    chance = random.Random(4)
    with MemoryStorage(tmp_path / "m.db", "ada", synchronous="NORMAL") as store:
        store.put(MemoryDocument(id="m", content="text"))
        replica = Replica(store)
        good = [frames.encode(sample) for sample in SAMPLES]
        refused = answered = 0
        before = content(store)
        for number in range(FUZZED):
            frame = fuzzed(chance, good)
            try:
                answer(replica, frame)
            except ReplicationError:
                refused += 1
                if number % 50 == 0:
                    assert before == content(store)
            else:
                answered += 1
                before = content(store)
    assert FUZZED == refused + answered
    assert refused > FUZZED / 2
    assert answered > FUZZED / 20


def test_a_push_with_one_bad_memory_changes_nothing(tmp_path: Path) -> None:
    with MemoryStorage(tmp_path / "m.db", "ada") as store:
        before = content(store)
        bad = Item(codec.pack((1, "x", -3)), {})
        with pytest.raises(InvalidFrame, match="life"):
            answer(Replica(store), frames.encode(Push("r", [ITEM, bad])))
        assert before == content(store)
