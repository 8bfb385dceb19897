"""A repair makes every derived part of a store anew, and recall is that of an undamaged store."""

import json
from typing import Any

import numpy as np
import pytest

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage, integrity
from chrysalis_memory.integrity import UNREADABLE
from chrysalis_memory.query import Filter
from chrysalis_memory.repair import RepairReport, repair
from chrysalis_memory.search import SearchRequest, active_space, find_candidates

TOPICS = ("tea", "coffee", "garden", "house", "river")


def fill(storage: MemoryStorage) -> None:
    rng = np.random.default_rng(3)
    for number in range(40):
        topic = TOPICS[number % 5]
        memory = MemoryDocument(id=f"m{number}", content=f"The {topic} number {number} is here")
        memory.add_tag(topic)
        memory.set_metadata({"n": number, "s": "é", "f": 0.1})
        memory.set_importance(number / 40, "ada")
        vector = rng.standard_normal(8).astype(np.float32)
        storage.put(memory, Embedding(vector, "toy", memory.content))
    storage.record_access({"m1": 2, "m2": 1})
    storage.forget("m3")


def run(storage: MemoryStorage, sql: str) -> None:
    def work(transaction: Any) -> None:
        database = getattr(transaction.session, "database", None)
        (transaction.session.connection.execute if database is None else database.run)(sql)

    storage.submit(work).result(20)


def is_file(storage: MemoryStorage) -> bool:
    return storage.read(lambda session: hasattr(session, "connection"))


def mend(storage: MemoryStorage) -> RepairReport:
    return repair(storage.read, lambda work: storage.run(lambda t: work(t.session)))


def recalled(storage: MemoryStorage) -> list[Any]:
    """What searches of every kind find."""

    def work(session: Any) -> list[Any]:
        found: list[Any] = []
        vector = np.eye(8, dtype=np.float32)[2]
        for wanted in (Filter(), Filter(tags_all=("tea",)), Filter(metadata={"n": {"$gt": 20}})):
            request = SearchRequest(
                vector, "toy", ("garden", "river", "number"), storage.query(wanted), 10
            )
            candidates = find_candidates(session, active_space(session), request).candidates
            found += [
                (c.id, c.similarity, c.bm25, c.importance, c.access_count) for c in candidates
            ]
            found.append(session.count(storage.query(wanted)))
        return [*found, session.tag_counts(storage.query(Filter())), *session.digest_sums()]

    return storage.read(work)


LOSSLESS = (
    "DELETE FROM tag WHERE tag = 'tea'",
    "UPDATE tag SET tag = 'wrong' WHERE tag = 'tea'",
    "DELETE FROM metadata",
    "UPDATE memory SET importance = 0, namespace = 'x', content = 'other' WHERE id = 'm5'",
    "UPDATE memory SET archived = {true}, source = 'x' WHERE id < 'm2'",
    "DELETE FROM memory_word",
    "UPDATE memory_word SET tokens = ' x ', length = 1 WHERE memory > 30",
    "DELETE FROM digest_sum",
    "UPDATE digest_sum SET sum = {zero}",
    "INSERT INTO pending SELECT {bucket}1, number FROM memory WHERE id = 'm3'",
)
ONLY_FILES = (
    "UPDATE memory SET digest = zeroblob(16) WHERE id = 'm5'",
    "UPDATE word_statistics SET memories = 7, tokens = 3",
    "DELETE FROM word_statistics",
    "INSERT INTO memory_text (memory_text, rowid, tokens) VALUES ('delete', 1, ' tea ')",
    "UPDATE vector_code_1 SET codes = zeroblob(2048)",
    "UPDATE vector_code_1 SET present = zeroblob(32)",
    "DELETE FROM vector_code_1",
)  # fmt: skip
ONLY_DATABASES = (
    "UPDATE change_part SET memories = 7, tokens = 3",
    "UPDATE word_count SET memories = memories + 1",
    "DELETE FROM word_count",
    "DELETE FROM memory_change WHERE memory < 10",
    "INSERT INTO tag VALUES (1, 9999, 'ghost')",
    "UPDATE memory SET digest = '\\x00' WHERE id = 'm5'",
)


@pytest.mark.parametrize("sql", [*LOSSLESS, *ONLY_FILES, *ONLY_DATABASES])
def test_what_is_derived_is_made_anew_and_recall_is_as_before(storage: MemoryStorage, sql: str):
    kind = is_file(storage)
    if sql in (ONLY_DATABASES if kind else ONLY_FILES):
        return  # a table that this engine does not have
    fill(storage)
    before = recalled(storage)
    own = {"true": "1", "zero": "zeroblob(16)", "bucket": ""}
    other = {"true": "true", "zero": "0", "bucket": "1, "}
    run(storage, sql.format(**(own if kind else other)) if "{" in sql else sql)
    assert integrity.check(storage.read).problems != []

    done = mend(storage)

    assert done.left.problems == []
    assert done.set_apart == []
    assert recalled(storage) == before


def test_a_vector_that_is_none_of_its_text_is_given_up_and_waits(storage: MemoryStorage):
    fill(storage)
    zero = "zeroblob(16)" if is_file(storage) else "'\\x00'"
    run(storage, f"UPDATE vector_1 SET text_hash = {zero} WHERE memory = 7")

    assert mend(storage).left == integrity.IntegrityReport(
        40, [], integrity.check(storage.read).upkeep, 0
    )
    (space,) = storage.spaces()
    assert len(storage.pending(space, limit=9)) == 1


def test_a_state_that_cannot_be_read_is_kept_apart_and_all_else_works(storage: MemoryStorage):
    fill(storage)
    bad = "x'930102'" if is_file(storage) else "'\\x930102'"
    run(storage, f"UPDATE memory SET state = {bad} WHERE id = 'm1'")

    done = mend(storage)

    assert (done.set_apart, done.left.problems, done.left.unreadable) == (["m1"], [], 1)
    assert storage.get("m1") is None
    (kept,) = storage.read(lambda session: session.settings(UNREADABLE)).values()
    assert {key: json.loads(kept)[key] for key in ("id", "state")} == {
        "id": "m1",
        "state": "930102",
    }
    assert list(json.loads(kept)["uses"].values()) == [2]
    storage.put(MemoryDocument(id="m1", content="It came back by a sync"))
    assert integrity.check(storage.read).is_whole


def test_what_could_not_be_read_goes_when_its_memory_is_forgotten(storage: MemoryStorage):
    fill(storage)
    bad = "x'930102'" if is_file(storage) else "'\\x930102'"
    run(storage, f"UPDATE memory SET state = {bad} WHERE id IN ('m1', 'm2')")
    mend(storage)
    storage.put(MemoryDocument(id="m1", content="It came back by a sync"))
    storage.forget("m1")

    kept = storage.read(lambda session: session.settings(UNREADABLE)).values()
    assert [json.loads(one)["id"] for one in kept] == ["m2"]
    if is_file(storage):
        assert storage.erase("m2") == 0
        assert storage.read(lambda session: session.settings(UNREADABLE)) == {}


def test_what_could_not_be_read_stays_when_a_later_life_of_its_memory_arrives(
    storage: MemoryStorage,
):
    fill(storage)
    bad = "x'930102'" if is_file(storage) else "'\\x930102'"
    run(storage, f"UPDATE memory SET state = {bad} WHERE id = 'm1'")
    mend(storage)
    storage.put(MemoryDocument(id="m1", content="It was revived elsewhere").revived(2))

    kept = storage.read(lambda session: session.settings(UNREADABLE)).values()
    assert [json.loads(one)["id"] for one in kept] == ["m1"]


def test_what_was_forgotten_stays_forgotten_when_its_state_cannot_be_read(storage: MemoryStorage):
    fill(storage)
    bad = "x'930102'" if is_file(storage) else "'\\x930102'"
    run(storage, f"UPDATE memory SET state = {bad} WHERE id = 'm3'")

    done = mend(storage)

    # Its digest proves what its bytes were.
    assert (done.set_apart, done.left.problems) == ([], [])
    old = MemoryDocument(id="m3", content="An old copy of it")
    assert storage.merge([old]) == 0
    assert storage.get("m3") is None
