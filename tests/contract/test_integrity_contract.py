"""A check finds every backend whole after ordinary work, and says what does not fit."""

from typing import Any

import numpy as np

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage, integrity


def fill(storage: MemoryStorage) -> None:
    vector = np.array([1.0, 0.0], np.float32)
    for number in range(3):
        memory = MemoryDocument(id=f"m{number}", content=f"Tea number {number}: don't spill it")
        memory.add_tag("tea")
        memory.set_metadata({"n": 2**53 + 1, "f": 0.1, "b": True, "j": [1, None], "s": "é"})
        embedding = Embedding(vector, "toy", memory.content) if number else None
        storage.put(memory, embedding)
    storage.update("m1", lambda memory: memory.set_content("Coffee, which has another vector"))
    storage.update("m1", lambda memory: memory.remove_tag("tea"))
    storage.record_access({"m1": 2, "m2": 1})
    storage.forget("m2")


def run(storage: MemoryStorage, sql: str) -> None:
    def work(transaction: Any) -> None:
        database = getattr(transaction.session, "database", None)
        (transaction.session.connection.execute if database is None else database.run)(sql)

    storage.submit(work).result(20)


def test_a_store_is_whole_after_ordinary_work(storage: MemoryStorage) -> None:
    assert integrity.check(storage.read)[:2] == (0, [])
    fill(storage)

    report = integrity.check(storage.read)
    assert report[:2] == (3, [])
    assert (report.upkeep.waiting, report.upkeep.quarantined, report.unreadable) == (2, 0, 0)


def test_what_does_not_fit_the_state_is_named_with_its_memory(storage: MemoryStorage) -> None:
    fill(storage)
    for sql in (
        "DELETE FROM tag",
        "DELETE FROM metadata WHERE key = 'f'",
        "DELETE FROM pending",
        "UPDATE access SET count = 7",
        "UPDATE memory SET namespace = 'x' WHERE id = 'm1'",
        "DELETE FROM memory_word WHERE memory = (SELECT number FROM memory WHERE id = 'm1')",
    ):
        run(storage, sql)
    found = {
        (one.memory, one.what.split(" of bucket")[0])
        for one in integrity.check(storage.read).problems
    }

    assert found >= {
        ("m0", "its tag rows are not what its state says"),
        ("m0", "its metadata rows are not what its state says"),
        ("m1", "the column namespace is not what its state says"),
        ("m1", "its words are not those of its text"),
        ("m1", "it has no vector of 'toy' and does not wait for one"),
        (None, "the sum"),
    }
    assert {one.memory for one in integrity.check(storage.read).problems} == {"m0", "m1", None}
