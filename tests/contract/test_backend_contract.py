"""What every backend does, asked through sessions, on every backend of ``conftest.BACKENDS``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chrysalis_memory import Filter, HybridLogicalClock, MemoryDocument, MemoryStorage, codec, wire
from chrysalis_memory.backends.base import Neighbours, Term, WeightedTerm
from chrysalis_memory.errors import EmbeddingSpaceMismatch, StoreClosed
from chrysalis_memory.provenance import Among
from chrysalis_memory.query import Query
from chrysalis_memory.transaction import document_of
from tests.rows import put_row

NOW_US = 1_800_000_000_000_000
EVERYTHING = Query(Filter(), NOW_US)
SECRET = WeightedTerm(Term(("secret",)), 1.0)


def memory(memory_id: str, text: str = "", *, at: int = 1000, **fields: Any) -> MemoryDocument:
    """Return a document created at the moment ``at``, in microseconds."""
    clock = HybridLogicalClock(lambda: at)
    document = MemoryDocument(memory_id, text or f"text of {memory_id}", None, "ada", clock=clock)
    for tag in fields.pop("tags", ()):
        document.add_tag(tag)
    for name, value in fields.items():
        getattr(document, f"set_{name}")(value)
    return document


def write(storage: MemoryStorage, work: Callable[[Any], Any]) -> Any:
    return storage.submit(lambda transaction: work(transaction.session)).result(20)


def save(storage: MemoryStorage, *documents: MemoryDocument) -> list[int]:
    return write(storage, lambda session: [put_row(session, document) for document in documents])


def selected(
    storage: MemoryStorage, order: Any = "created", limit: int | None = None, **conditions: Any
) -> list[str]:
    query = Query(Filter.of(**conditions), NOW_US)
    rows = storage.read(lambda session: session.select(query, order, limit))
    assert storage.read(lambda s: s.count(query)) == len(rows) or limit is not None
    return [codec.unpack(row.state)[1] for row in rows]


def test_writes_hold_and_others_are_told_where_one_listener_fails(
    storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("the loop is closed")

    told: list[int] = []
    storage.on_group_end(fail)
    storage.on_group_end(lambda: told.append(1))
    assert save(storage, memory("a")) != save(storage, memory("b"))
    storage.put(memory("c"))
    assert selected(storage) == ["a", "b", "c"]
    assert "the loop is closed" in caplog.text
    assert len(told) >= 2


# Rows


def test_a_saved_memory_is_loaded_as_it_was_saved(storage: MemoryStorage) -> None:
    saved = memory("m", tags=["a"], importance=0.9, metadata={"n": [1, None]}, namespace="x/y")
    (number,) = save(storage, saved)
    loaded = storage.read(lambda session: session.load("m"))
    assert loaded.number == number
    assert document_of(loaded, "ada", storage.clock) == saved


def test_an_unknown_id_loads_as_none(storage: MemoryStorage) -> None:
    assert storage.read(lambda session: session.load("nobody")) is None


def test_saving_an_id_again_keeps_its_number_and_replaces_its_columns(
    storage: MemoryStorage,
) -> None:
    first, *_ = save(storage, memory("m", tags=["old"], namespace="a"), memory("other"))
    (second,) = save(storage, memory("m", "new text", tags=["new"], namespace="b"))
    assert first == second
    assert selected(storage, tags_all="old") == []
    assert selected(storage, tags_all="new", namespace="b") == ["m"]
    assert selected(storage, namespace="a") == []


def test_orders_are_by_creation_by_recency_and_by_importance_with_ties_by_id(
    storage: MemoryStorage,
) -> None:
    save(
        storage,
        memory("b", at=2000, importance=0.9),
        memory("c", at=1000, importance=0.9),
        memory("a", at=2000, importance=0.9),
        memory("d", at=3000),
    )
    assert selected(storage, "created") == ["c", "a", "b", "d"]
    assert selected(storage, "recent") == ["d", "b", "a", "c"]
    assert selected(storage, "importance") == ["c", "a", "b", "d"]
    assert selected(storage, "recent", limit=2) == ["d", "b"]


def test_numbers_are_loaded_in_the_order_asked_and_unknown_ones_are_left_out(
    storage: MemoryStorage,
) -> None:
    a, b = save(storage, memory("a"), memory("b"))
    rows = storage.read(lambda session: session.load_numbers([b, 999_999, a]))
    assert [row.number for row in rows] == [b, a]
    assert storage.read(lambda session: session.load_numbers([])) == []


def test_everything_comes_in_pages_and_includes_the_forgotten(storage: MemoryStorage) -> None:
    gone = memory("gone")
    gone.forget()
    numbers = save(storage, memory("a"), gone, memory("b"))
    first = storage.read(lambda session: session.everything(after=0, limit=2))
    rest = storage.read(lambda session: session.everything(after=first[-1].number, limit=2))
    assert [row.number for row in first + rest] == sorted(numbers)
    assert selected(storage) == ["a", "b"]


def test_settings_of_the_file_are_read_as_last_written(storage: MemoryStorage) -> None:
    write(storage, lambda session: session.set_meta("key", "first"))
    write(storage, lambda session: session.set_meta("key", "second"))
    assert storage.read(lambda session: session.meta("key")) == "second"
    assert storage.read(lambda session: session.meta("other")) is None


def test_the_size_counts_what_is_stored(storage: MemoryStorage) -> None:
    before = storage.read(lambda session: session.size_bytes())
    save(storage, *(memory(f"m{i}", "word " * 5000) for i in range(20)))
    assert storage.read(lambda session: session.size_bytes()) > before


# Change numbers


def test_the_change_number_of_a_memory_rises_with_every_change(
    storage: MemoryStorage, backend: Any
) -> None:
    seen: list[int] = []
    for i, text in enumerate(("one", "two", "three")):
        storage.put(memory("m", text, at=1000 + i))
        storage.put(memory(f"other-{text}"))
        seen.append(backend.changes(storage)["m"])
    assert seen == sorted(set(seen))
    assert len(backend.changes(storage)) == 4


def test_state_that_is_known_already_leaves_the_change_number(
    storage: MemoryStorage, backend: Any
) -> None:
    document = memory("m", tags=["a"], importance=0.7, metadata={"k": 1})
    storage.put(document)
    before = backend.changes(storage)
    storage.put(document)
    assert storage.merge([document.copy()]) == 0
    assert backend.changes(storage) == before


def test_tags_are_counted_most_frequent_first_then_by_name(storage: MemoryStorage) -> None:
    save(storage, memory("x", tags=["b", "a"]), memory("y", tags=["c", "a"]))
    assert storage.read(lambda s: s.tag_counts(EVERYTHING)) == [("a", 2), ("b", 1), ("c", 1)]


def test_namespaces_are_counted_in_the_order_of_their_names(storage: MemoryStorage) -> None:
    placed = [memory(str(number)) for number in range(4)]
    for document, namespace in zip(placed, ["b/c", "Z", "b", "b/c"], strict=True):
        document.set_namespace(namespace)
    save(storage, memory("root"), *placed)
    assert storage.read(lambda s: s.namespace_counts(EVERYTHING)) == [
        ("", 1), ("Z", 1), ("b", 1), ("b/c", 2),
    ]  # fmt: skip


# Access


def test_access_counts_grow_per_replica_and_never_fall(storage: MemoryStorage) -> None:
    (number,) = save(storage, memory("m"))
    write(storage, lambda session: session.save_access(number, {"r1": 5, "r2": 1}))
    write(storage, lambda session: session.save_access(number, {"r1": 3, "r3": 2}))
    assert storage.read(lambda s: s.load("m").access) == {"r1": 5, "r2": 1, "r3": 2}
    assert [prior.access_count for prior in storage.read(lambda s: s.priors([number]))] == [8]


def test_priors_carry_what_recall_weighs(storage: MemoryStorage) -> None:
    document = memory("m", importance=0.75, confidence=0.25)
    (number,) = save(storage, document)
    (prior,) = storage.read(lambda session: session.priors([number, 12_345]))
    updated = round(document.updated_at.timestamp() * 1e6)
    assert prior == (number, "m", 0.75, 0.25, 0, updated, document.source_instance)


# Transactions


def test_a_write_that_raises_leaves_nothing(storage: MemoryStorage) -> None:
    def work(session: Any) -> None:
        put_row(session, memory("m", tags=["a"]))
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError, match="after the write"):
        write(storage, work)
    assert selected(storage) == []
    assert storage.read(lambda s: s.tag_counts(EVERYTHING)) == []


def test_a_snapshot_does_not_see_what_is_written_meanwhile(storage: MemoryStorage) -> None:
    def work(session: Any) -> tuple[int, int]:
        before = session.count(EVERYTHING)
        save(storage, memory("m"))
        return before, session.count(EVERYTHING)

    assert storage.read(work) == (0, 0)
    assert selected(storage) == ["m"]


def test_after_close_reads_and_writes_say_so(storage: MemoryStorage) -> None:
    storage.close()
    storage.close()
    with pytest.raises(StoreClosed):
        storage.read(lambda session: session.spaces())
    with pytest.raises(StoreClosed):
        storage.submit(lambda transaction: transaction)


# Forgotten memories


def test_a_forgotten_memory_leaves_no_row_in_any_index(
    storage: MemoryStorage, backend: Any
) -> None:
    document = memory("m", "a secret text", tags=["a", "b"], metadata={"k": "secret"})
    (number,) = save(storage, document)
    write(storage, lambda s: s.save_access(number, {"r": 3}))
    space = write(storage, lambda s: s.create_space("f", "model", 4, None))
    vector = np.asarray([1, 0, 0, 0], dtype=np.float32)
    text = codec.text_hash(document.content)
    assert write(storage, lambda s: s.save_vector(space, number, text, vector))
    assert set(backend.derived_rows(storage, number).values()) == {0, 1, 2}
    document.forget()
    save(storage, document)
    assert set(backend.derived_rows(storage, number).values()) == {0}
    assert storage.read(lambda s: s.best_by_words([SECRET], EVERYTHING, limit=5)) == []
    assert storage.read(lambda s: s.document_frequencies([SECRET.term])) == [0]
    assert storage.read(lambda s: s.nearest(space, vector, 5, EVERYTHING)).pairs == []
    assert storage.read(lambda s: s.pending_count(space)) == 0


# Vectors


def unit(*values: float) -> Any:
    vector = np.zeros(4, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def embed(storage: MemoryStorage, space: Any, number: int, text: str, vector: Any) -> bool:
    return write(storage, lambda s: s.save_vector(space, number, codec.text_hash(text), vector))


def nearest(storage: MemoryStorage, space: Any, k: int, **conditions: Any) -> list[int]:
    query = Query(Filter.of(**conditions), NOW_US)
    return [n for n, _ in storage.read(lambda s: s.nearest(space, unit(1), k, query)).pairs]


@pytest.fixture
def space(storage: MemoryStorage) -> Any:
    return write(storage, lambda session: session.create_space("f1", "model", 4, "name:4"))


def pending(storage: MemoryStorage, space: Any) -> list[str]:
    assert storage.read(lambda s: s.pending_count(space)) == len(storage.pending(space, limit=99))
    return [memory.id for memory in storage.pending(space, limit=99)]


def test_a_vector_is_kept_and_replaced(storage: MemoryStorage, space: Any) -> None:
    (number,) = save(storage, memory("m", "text"))
    assert embed(storage, space, number, "text", unit(1))
    assert embed(storage, space, number, "text", unit(3, 4))
    assert storage.read(lambda s: s.vector(space, number)).tolist() == unit(3, 4).tolist()
    found = storage.read(lambda s: s.nearest(space, unit(1), 5, EVERYTHING)).pairs
    assert found == [(number, pytest.approx(0.6, abs=1e-6))]
    similar = storage.read(lambda s: s.similarities(space, unit(1), [number, 12_345]))
    assert similar == {number: pytest.approx(0.6, abs=1e-6)}


def test_a_changed_text_waits_for_its_vector(storage: MemoryStorage, space: Any) -> None:
    (number,) = save(storage, memory("m", "text"))
    assert pending(storage, space) == ["m"]
    embed(storage, space, number, "text", unit(1))
    assert pending(storage, space) == []
    save(storage, memory("m", "text", tags=["new"]))
    assert pending(storage, space) == []
    save(storage, memory("m", "other text"))
    assert pending(storage, space) == ["m"]
    assert storage.read(lambda s: s.vector(space, number)) is None
    assert not embed(storage, space, number, "text", unit(1))
    assert nearest(storage, space, 5) == []


def test_a_text_whose_vector_is_known_takes_that(storage: MemoryStorage, space: Any) -> None:
    first, second = save(storage, memory("a", "same"), memory("b", "another"))
    embed(storage, space, first, "same", unit(0, 1))
    save(storage, memory("b", "same"), memory("c", "same"))
    assert pending(storage, space) == []
    assert storage.read(lambda s: s.vector(space, second)).tolist() == unit(0, 1).tolist()


def test_nearest_gives_k_while_k_match(storage: MemoryStorage, space: Any) -> None:
    documents = [memory(f"m{i:02}", tags=["rare"] if i >= 57 else []) for i in range(60)]
    numbers = save(storage, *documents)
    for i, number in enumerate(numbers):
        embed(storage, space, number, f"text of m{i:02}", unit(1, i / 10))
    assert nearest(storage, space, 3, tags_all="rare") == numbers[57:]
    assert nearest(storage, space, 2) == numbers[:2]
    assert len(nearest(storage, space, 99)) == 60


def test_a_rebuilt_index_gives_the_same_answers(storage: MemoryStorage, space: Any) -> None:
    for i, number in enumerate(save(storage, *(memory(f"m{i}") for i in range(9)))):
        embed(storage, space, number, f"text of m{i}", unit(1, i))
    before = storage.read(lambda s: s.nearest(space, unit(1, 4), 9, EVERYTHING))
    write(storage, lambda session: session.rebuild_index(space))
    assert storage.read(lambda s: s.nearest(space, unit(1, 4), 9, EVERYTHING)) == before


def test_a_space_that_was_dropped_meanwhile_cannot_be_activated(storage: MemoryStorage) -> None:
    first, second = storage.open_space("one", "m", 8), storage.open_space("two", "m", 8)
    storage.activate_space(second)
    with pytest.raises(EmbeddingSpaceMismatch, match="replaced meanwhile"):
        storage.activate_space(first)
    assert [(space.fingerprint, space.active) for space in storage.spaces()] == [("two", True)]


def test_the_first_space_is_active_and_activating_another_drops_it(
    storage: MemoryStorage, space: Any
) -> None:
    (number,) = save(storage, memory("m", "text"))
    embed(storage, space, number, "text", unit(1))
    second = write(storage, lambda session: session.create_space("f2", "model 2", 3, None))
    assert (space.active, second.active, pending(storage, second)) == (True, False, ["m"])
    assert (storage.spaces(), space.name) == ([space, second], "name:4")
    assert nearest(storage, space, 1) == [number]
    write(storage, lambda session: session.activate_space(second))
    assert storage.spaces() == [second._replace(active=True)]
    third = write(storage, lambda session: session.create_space("f3", "model", 4, None))
    write(storage, lambda session: session.drop_space(third))
    assert [one.fingerprint for one in storage.spaces()] == ["f2"]


# Words


def hits(storage: MemoryStorage, *words: str, limit: int = 9) -> dict[int, float]:
    """Return the BM25 of the best matches, every word being worth 1."""

    def work(session: Any) -> dict[int, float]:
        weighted = [WeightedTerm(session.term(word), 1.0) for word in words]
        best = session.best_by_words(weighted, EVERYTHING, limit=limit)
        assert session.bm25(weighted, [*dict(best), 10**9]) == dict(best)
        return dict(best)

    return storage.read(work)


def test_words_are_found_folded_and_stemmed_and_rarer_ones_count_more(
    storage: MemoryStorage,
) -> None:
    numbers = save(storage, memory("a", "Running café"), memory("b", "running on"), memory("c"))
    assert list(hits(storage, "RUN")) == numbers[:2]
    assert list(hits(storage, "cafe")) == numbers[:1]
    found = hits(storage, "run", "cafe")
    assert found[numbers[0]] > found[numbers[1]] > 0
    assert len(hits(storage, "run", limit=1)) == 1
    terms = ["Runs", "on", "Runs on", "caf*", "absent"]
    held = storage.read(lambda s: s.document_frequencies([s.term(word) for word in terms]))
    assert held == [2, 1, 1, 1, 0]
    assert storage.read(lambda s: s.document_count()) == 3


def test_bm25_is_what_the_formula_says(storage: MemoryStorage) -> None:
    texts = ["tea tea milk", "tea and then something that is rather longer", "milk", "nothing"]
    numbers = save(storage, *(memory(f"m{i}", text) for i, text in enumerate(texts)))
    idfs = {"tea": 2.0, "milk": 0.5, "coffee": 9.0}
    weighted = [WeightedTerm(Term((word,)), idf) for word, idf in idfs.items()]
    found = storage.read(lambda s: s.bm25(weighted, numbers))
    mean = sum(len(text.split()) for text in texts) / len(texts)

    def expected(text: str) -> float:
        norm = 0.9 * (1 - 0.4 + 0.4 * len(text.split()) / mean)
        counts = {word: text.split().count(word) for word in idfs}
        return sum(idfs[w] * f * 1.9 / (f + norm) for w, f in counts.items())

    assert found == pytest.approx({n: expected(texts[i]) for i, n in enumerate(numbers[:3])})
    assert storage.read(lambda s: s.bm25([], numbers)) == {}
    assert storage.read(lambda s: s.bm25(weighted, [])) == {}


def test_words_are_counted_among_what_matches(storage: MemoryStorage) -> None:
    numbers = save(
        storage,
        memory("a", "tea and milk", namespace="here"),
        memory("b", "tea", namespace="here/below", archived=True),
        memory("c", "tea and very much milk in it", namespace="elsewhere"),
    )
    here = Query(Filter(namespace_prefix="here", include_archived=True), NOW_US)

    def work(session: Any) -> list[Any]:
        tea, none = session.term("tea"), session.term("")
        every = Query(Filter(include_archived=True), NOW_US)
        return [
            sorted(session.holding(tea, here)),
            sorted(session.holding(tea, every)),
            session.holding(none, here),
            session.word_totals(here),
            session.word_totals(every),
            session.bm25([WeightedTerm(tea, 1.0)], numbers[:1], mean_length=3.0),
        ]

    # With the mean as its length, BM25 is (k1 + 1) / (1 + k1) = 1.
    assert storage.read(work) == [
        numbers[:2], numbers, [], (2, 4), (3, 11), {numbers[0]: pytest.approx(1.0)},
    ]  # fmt: skip


# Episodes


def test_neighbours_follow_position_then_id_within_an_episode_of_a_namespace(
    storage: MemoryStorage,
) -> None:
    def turn(memory_id: str, episode: str | None, position: int | None, at: str = "") -> Any:
        document = memory(memory_id)
        if episode is not None:
            document.set_episode(episode, position)
        if at:
            document.set_namespace(at)
        return document

    ids = ["a", "c", "b", "d", "other", "elsewhere", "unplaced", "alone"]
    numbers = save(
        storage,
        turn("a", "talk", 1),
        turn("c", "talk", 2),
        turn("b", "talk", 2),
        turn("d", "talk", 7),
        turn("other", "other talk", 3),
        turn("elsewhere", "talk", 3, "team"),
        turn("unplaced", "talk", None),
        turn("alone", None, None),
    )
    number = dict(zip(ids, numbers, strict=True))
    found = storage.read(lambda s: s.neighbours(numbers, EVERYTHING))
    assert found == {
        number["a"]: Neighbours(None, number["b"]),
        number["b"]: Neighbours(number["a"], number["c"]),
        number["c"]: Neighbours(number["b"], number["d"], number["a"]),
        number["d"]: Neighbours(number["c"], None, number["b"]),
        number["other"]: Neighbours(),
        number["elsewhere"]: Neighbours(),
    }

    def context(memory_id: str, count: int) -> list[str]:
        around = storage.read(lambda s: s.context(number[memory_id], EVERYTHING, count=count))
        return [ids[numbers.index(one)] for one in around]

    assert context("c", 1) == ["b", "d"]
    assert context("c", 9) == ["a", "b", "d"]
    assert context("alone", 9) == context("unplaced", 9) == []


def test_neighbours_of_any_are_those_in_the_order_of_all(storage: MemoryStorage) -> None:
    documents = [memory(f"{i:02}", "why?" if i % 3 == 0 else "so") for i in range(14)]
    for i, document in enumerate(documents):
        document.set_episode("talk", i // 2 * 5)
        document.set_archived(i in (2, 5, 6, 13))
    numbers = save(storage, *documents)
    for wanted in (Filter(), Filter(include_archived=True)):
        query = Query(wanted, NOW_US)
        seen = [i for i in range(14) if wanted.include_archived or not documents[i].archived]
        for asked in range(14):
            found = storage.read(lambda s, i=asked, q=query: s.neighbours([numbers[i]], q))
            earlier = [i for i in seen if i < asked]
            later = [i for i in seen if i > asked]
            assert set(found) == {numbers[i] for i in (*earlier[-1:], asked, *later[:1])}
            for i in range(14):
                if numbers[i] in found:
                    before, after = [j for j in seen if j < i], [j for j in seen if j > i]
                    assert found[numbers[i]] == Neighbours(
                        numbers[before[-1]] if before else None,
                        numbers[after[0]] if after else None,
                        numbers[before[-2]] if len(before) > 1 else None,
                        asks=i % 3 == 0 and bool(after),
                        answers=bool(before) and before[-1] % 3 == 0,
                    )


def test_neighbours_tell_who_asks_and_who_answers(storage: MemoryStorage) -> None:
    texts = ["Where were you?", "在哪里\uff1f Nowhere.", "Home.", "أين\u061f"]
    documents = [memory(str(i), text) for i, text in enumerate(texts)]
    for position, document in enumerate(documents):
        document.set_episode("talk", position)
    numbers = save(storage, *documents)
    found = storage.read(lambda s: s.neighbours(numbers, EVERYTHING))
    told = [(found[number].asks, found[number].answers) for number in numbers]
    # Nobody comes after the last one to answer it.
    assert told == [(True, False), (True, True), (False, True), (False, False)]


def test_archived_expired_and_forgotten_memories_are_nobodys_neighbours(
    storage: MemoryStorage,
) -> None:
    documents = [memory(name) for name in "abcde"]
    for position, document in enumerate(documents):
        document.set_episode("talk", position)
    documents[1].set_archived(True)
    documents[2].set_expires_at(wire.moment(NOW_US))
    documents[3].forget()
    numbers = save(storage, *documents)
    found = storage.read(lambda s: s.neighbours([numbers[0]], EVERYTHING))
    first, last = Neighbours(None, numbers[4]), Neighbours(numbers[0])
    assert found == {numbers[0]: first, numbers[4]: last}
    # One that is passed over has neighbours, but is none.
    found = storage.read(lambda s: s.neighbours([numbers[1]], EVERYTHING))
    assert found == {numbers[1]: Neighbours(numbers[0], numbers[4])} | {
        numbers[0]: first,
        numbers[4]: last,
    }
    everything = Query(Filter(include_archived=True, include_expired=True), NOW_US)
    found = storage.read(lambda s: s.neighbours([numbers[0]], everything))
    assert found == {
        numbers[0]: Neighbours(None, numbers[1]),
        numbers[1]: Neighbours(numbers[0], numbers[2]),
    }
    assert storage.read(lambda s: s.matching(numbers, EVERYTHING)) == [numbers[0], numbers[4]]


# Token vectors


def test_token_vectors_stay_as_long_as_their_text(storage: MemoryStorage) -> None:
    numbers = save(storage, memory("m", "one"), memory("n", "two"), memory("o", "three"))
    space = write(storage, lambda s: s.create_space("f", "model", 4, None))

    def put(number: int, text: str) -> bool:
        return write(storage, lambda s: s.save_tokens(space, number, codec.text_hash(text), b"x"))

    def kept() -> list[int]:
        waiting = storage.read(lambda s: s.without_tokens(space, limit=9))
        found = storage.read(lambda s: s.tokens_of(space, numbers))
        assert set(found) | {one.number for one in waiting} >= set(found)
        assert not set(found) & {one.number for one in waiting}
        return sorted(found)

    assert [put(numbers[0], "one"), put(numbers[1], "two"), put(numbers[2], "else")] == [1, 1, 0]
    assert kept() == numbers[:2]
    changed = memory("m", "one")
    changed.set_content("changed")
    save(storage, changed)
    assert kept() == numbers[1:2]
    forgotten = memory("n", "two")
    forgotten.forget()
    save(storage, forgotten)
    assert kept() == []
    put(numbers[2], "three")
    write(storage, lambda s: s.rebuild_index(space))
    assert kept() == []


@pytest.mark.parametrize(
    "word",
    ['"', "'", '"a" OR "b"', "NEAR(a b)", "a*", "^a", "-a", "content:a", "🦋", "...", "é", ""],
)
def test_no_query_is_read_as_syntax(storage: MemoryStorage, word: str) -> None:
    save(storage, memory("m", "something else entirely"))
    assert hits(storage, word) == {}


# Sources


def test_sources_are_counted_commonest_first_then_by_name(storage: MemoryStorage) -> None:
    def of(memory_id: str, source: str) -> MemoryDocument:
        return MemoryDocument(memory_id, "text", source_instance=source)

    storage.put_many([of("1", "b"), of("2", "é"), of("3", "B"), of("4", "b"), of("5", "z")])
    storage.forget("5")

    def counts(query: Query) -> list[tuple[str, int]]:
        return storage.read(lambda session: session.source_counts(query))

    assert counts(EVERYTHING) == [("b", 2), ("B", 1), ("é", 1)]
    assert counts(Query(Filter.of(sources="b*"), NOW_US)) == [("b", 2)]
    only = Among((("b", False),), others=True)
    assert counts(EVERYTHING._replace(among=only)) == [("B", 1), ("é", 1)]
