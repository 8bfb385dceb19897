"""What is done to a store while something fails: learning, changing, merging, reindexing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from chrysalis_memory import Embedding, HybridLogicalClock, MemoryDocument, MemoryStorage, learning
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.storage import Space
from chrysalis_memory.transaction import Transaction
from tests.faults.looking import seen, vector_of

MEMORIES = 40
START_US = 1_700_000_000_000_000
NOW_US = START_US + 10_000_000_000
SPACE, SECOND = "first/16", "second/24"
_DIMENSIONS = {SPACE: 16, SECOND: 24}
_RED = 3
"""Every so many carry a tag; others are archived, forgotten or wait for a vector."""


class Operation(NamedTuple):
    """One thing to do, as one transaction."""

    name: str
    work: Callable[[Any], object]
    prepare: Callable[[MemoryStorage], object] = lambda _: None
    is_repair: bool = False
    """Whether it mends an index that ``prepare`` has made stale."""
    is_read: bool = False
    """Whether it is a read, whose ``work`` takes a session."""


class Ticks:
    """A wall clock that goes on by a millisecond at each look: the same stamps in every round."""

    def __init__(self) -> None:
        self._now = START_US

    def __call__(self) -> int:
        self._now += 1000
        return self._now


def clock() -> HybridLogicalClock:
    """Return a new clock that shows the same moments each time."""
    return HybridLogicalClock(Ticks())


def embedding(text: str, space: str = SPACE) -> Embedding:
    """Return the vector of a text in a space."""
    return Embedding(vector_of(text, _DIMENSIONS[space]), space, text)


def make_template(path: Path) -> None:
    """Write the store that every round begins with."""
    with MemoryStorage(path, "ada", clock=clock(), synchronous="NORMAL") as storage:
        storage.open_space(SPACE, "first", _DIMENSIONS[SPACE])
        for number in range(MEMORIES):
            storage.run(lambda t, number=number: _first(t, number))
        storage.run(lambda t: t.count_access({"m4": 2, "m5": 1}))
        storage.forget("m6")


def _first(transaction: Transaction, number: int) -> None:
    text = f"number {number} of rivers and tea"
    memory = transaction.new_document(f"m{number}", text, None)
    memory.add_tag("red" if number % _RED else "blue")
    memory.set_importance(number / MEMORIES)
    memory.set_namespace(f"user/{number % 4}")
    memory.set_metadata({"size": number % 5})
    if number == 8:
        memory.set_archived(True)
    waits = number in (9, 10)
    transaction.put(memory, None if waits else embedding(text))


def learn_text(
    text: str, *, embedded: bool = True, **options: Any
) -> Callable[[Transaction], object]:
    """Return the learning of a text, with its vector unless that is to wait."""
    new = NewMemory.of(content=text, **options)
    return lambda t: learning.learn(t, new, embedding(text) if embedded else None)


def _learn_some(transaction: Transaction) -> None:
    batch = [
        NewMemory.of(content="something new about tea", tags=["green"]),
        NewMemory.of(content="number 6 is back", id="m6"),
        NewMemory.of(content="number 7 is another", id="m7", importance=1.0),
        NewMemory.of(content="waits for its vector", metadata={"size": 9}),
    ]
    vectors = [embedding(one.content) for one in batch[:3]]
    learning.learn_many(transaction, batch, [*vectors, None])


def _update(transaction: Transaction) -> None:
    memory = transaction.require("m3")
    MemoryChange.of(
        content="number 3 was changed", add_tags=["green"], remove_tags=["blue"], importance=0.1,
        metadata={"size": 77},
    ).apply(memory)  # fmt: skip
    transaction.put(memory)


def _merge(transaction: Transaction) -> None:
    transaction.merge_many([MemoryDocument.from_bytes(data) for data in _FOREIGN])


def _foreign() -> list[bytes]:
    """Return what another replica has: new memories, known ones it has changed or forgotten."""
    stamps = clock()
    made: list[MemoryDocument] = []
    for number in range(1, 20, 2):
        memory = MemoryDocument(f"m{number}", "seen elsewhere", source_instance="b", clock=stamps)
        memory.add_tag("elsewhere")
        memory.record_access("b", number)
        made.append(memory)
    for number in range(8):
        text = f"number {number} of another replica"
        made.append(MemoryDocument(f"n{number}", text, source_instance="b", clock=stamps))
    for number in (12, 14):
        memory = MemoryDocument(f"m{number}", "gone", source_instance="b", clock=stamps)
        memory.forget()
        made.append(memory)
    return [memory.to_bytes() for memory in made]


_FOREIGN = _foreign()


def _space(transaction: Transaction, fingerprint: str) -> Space:
    return cast("Space", transaction.space(fingerprint))


def _open_second(storage: MemoryStorage) -> Space:
    return storage.open_space(SECOND, "second", _DIMENSIONS[SECOND])


def _embed(transaction: Transaction) -> None:
    space = _space(transaction, SECOND)
    for one in transaction.session.pending(space, limit=20):
        made = embedding(one.content, SECOND)
        transaction.session.save_vector(space, one.number, made.text_hash, made.vector)


def _embed_second(storage: MemoryStorage) -> None:
    _open_second(storage)
    for _ in range(2):
        storage.run(_embed)


def _damage_codes(storage: MemoryStorage) -> None:
    sql = "UPDATE vector_code_1 SET codes = zeroblob(length(codes)), change = change + 1"
    storage.run(lambda t: cast("Any", t.session).connection.execute(sql))


def _stale_words(storage: MemoryStorage) -> None:
    def work(transaction: Transaction) -> None:
        for number in range(15, 25):
            cast("Any", transaction.session).index_words(number, "of an older rule", is_known=True)

    storage.run(work)


def _write_some(storage: MemoryStorage) -> None:
    for work in (_learn_some, _update, lambda t: t.forget("m2")):
        storage.run(work)


def _rebuild_codes(transaction: Transaction) -> None:
    transaction.session.rebuild_index(_space(transaction, SPACE))


OPERATIONS = (
    Operation("learn", learn_text("the ferry leaves at seven", tags=["red"], importance=0.9)),
    Operation("learn_many", _learn_some),
    Operation("update", _update),
    Operation("forget", lambda t: t.forget("m2")),
    Operation("merge", _merge),
    Operation("count_access", lambda t: t.count_access({"m4": 1, "m11": 3, "m6": 1})),
    Operation(
        "open_space",
        lambda t: t.session.create_space(SECOND, "second", _DIMENSIONS[SECOND], None),
    ),
    Operation("put_vectors", _embed, _open_second),
    Operation(
        "activate_space",
        lambda t: t.session.activate_space(_space(t, SECOND)),
        _embed_second,
    ),
    Operation("rebuild_index", _rebuild_codes, _damage_codes, is_repair=True),
    Operation("recall", lambda session: seen(session, NOW_US), _write_some, is_read=True),
    Operation("rebuild_words", lambda t: t.session.rebuild_words(), _stale_words, is_repair=True),
)
