"""Vector search beyond a few thousand: codes, their cache, filters and rebuilding."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chrysalis_memory import Embedding, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite import code_cache, vector_index
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.codes import CodeRanking, codes_of
from chrysalis_memory.embedding import unit_vector
from chrysalis_memory.query import Query
from chrysalis_memory.search import active_space

COUNT = 3_000
DIMENSION = 64
NOW_US = 1_800_000_000_000_000
EVERYTHING = Query(Filter(), NOW_US)


@pytest.fixture
def vectors() -> np.ndarray:
    made = np.random.default_rng(5).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def filled(
    open_store: Callable[..., MemoryStorage], vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> MemoryStorage:
    """A store with ``COUNT`` memories, every 20th tagged rare, searched by codes."""
    limits = vector_index.Limits(exact_below=100, rows_exact=50, asked_max=3)
    monkeypatch.setattr(vector_index, "LIMITS", limits)
    store = open_store()

    def work(transaction: Any) -> None:
        for i, vector in enumerate(vectors):
            document = transaction.new_document(f"m{i}", f"text {i}", None)
            document.add_tag("rare" if i % 20 == 0 else "common")
            if i % 500 == 0:
                document.add_tag("rarest")
            transaction.put(document, Embedding(vector, "model", f"text {i}"))

    store.submit(work).result()
    return store


def nearest(
    store: MemoryStorage, vector: np.ndarray, k: int, query: Query = EVERYTHING, **options: Any
) -> list[tuple[int, float]]:
    return store.read(lambda s: s.nearest(active_space(s), vector, k, query, **options)).pairs


def best(vectors: np.ndarray, vector: np.ndarray, k: int, step: int = 1) -> list[int]:
    """Return the numbers of the nearest among every ``step``-th; numbers begin at 1."""
    ranked = np.argsort(-(vectors[::step] @ vector), kind="stable")[:k]
    return (ranked * step + 1).tolist()


def overlap(found: list[tuple[int, float]], true: list[int]) -> float:
    return len({number for number, _ in found} & set(true)) / len(true)


def test_a_code_has_one_bit_per_positive_component() -> None:
    code = codes_of(np.array([[0.5, -0.5, 0.0, 1.0] + [0.0] * 62], np.float32))
    assert code.tolist() == [[0b1001, 0]]


@pytest.mark.parametrize("near", [slice(0, 900), slice(0, None, 16), slice(1, None, 16)])
@pytest.mark.parametrize("n", [1, 40, 400, 5_000, 20_000])
def test_the_nearest_codes_and_all_that_tie_are_found_wherever_they_lie(
    n: int, near: slice
) -> None:
    chunks, bits = np.arange(40) * 3, 128
    distances = np.random.default_rng(n).integers(50, 80, 40 * 256).astype(np.uint16)
    distances[near] -= 40
    distances[5::7] = bits + 1  # absent
    here = np.flatnonzero(distances <= bits)
    ranking = CodeRanking(chunks, distances, bits, len(here))

    last = np.sort(distances[here])[min(n, len(here)) - 1]
    numbers = here // 256 * 768 + here % 256
    assert ranking.top(n).tolist() == numbers[distances[here] <= last].tolist()


def test_most_of_the_nearest_are_found_and_all_of_them_by_an_exact_search(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    asked = [unit_vector(vector) for vector in vectors[:40] + 0.05]
    recall = {
        accuracy: np.mean(
            [
                overlap(nearest(filled, v, 10, accuracy=accuracy), best(vectors, v, 10))
                for v in asked
            ]
        )
        for accuracy in ("fast", "balanced", "exact")
    }
    assert recall["exact"] == 1.0
    assert recall["fast"] <= recall["balanced"]
    assert recall["balanced"] > 0.98


def test_a_search_says_whether_it_was_exact_and_how_much_it_compared(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    rarest = Query(Filter.of(tags_all="rarest"), NOW_US)

    def asked(query: Query, accuracy: Any) -> tuple[bool, int]:
        found = filled.read(
            lambda s: s.nearest(active_space(s), vectors[0], 3, query, accuracy=accuracy)
        )
        return found.exact, found.compared

    assert asked(EVERYTHING, "exact") == (True, COUNT)
    exact, compared = asked(EVERYTHING, "fast")
    assert (exact, compared < COUNT) == (False, True)
    assert asked(rarest, "balanced") == (True, 6)


def test_balanced_looks_further_only_while_that_may_find_nearer_ones(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    def compared(k: int, accuracy: Any) -> int:
        return filled.read(
            lambda s: s.nearest(active_space(s), vectors[5], k, EVERYTHING, accuracy=accuracy)
        ).compared

    at_once = compared(1, "fast")
    assert compared(1, "balanced") == at_once  # the vector itself is far nearer than any other
    assert compared(10, "balanced") > compared(10, "fast") == at_once


def test_the_index_measures_how_much_it_finds(
    filled: MemoryStorage,
    open_store: Callable[..., MemoryStorage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert filled.statistics().index_recall is None
    measured = filled.statistics(measure_index=True).index_recall
    assert measured is not None
    assert 0.9 < measured <= 1
    filled.submit(
        lambda t: t.session.connection.execute("UPDATE vector_code_1 SET codes = randomblob(2048)")
    ).result(20)
    monkeypatch.setattr(vector_index, "_ROUNDS", 1)  # else it would look until it finds them
    with MemoryStorage(filled.path, "ada") as damaged:
        worse = damaged.statistics(measure_index=True).index_recall
    assert worse is not None
    assert worse < 0.9
    assert open_store("empty.db").statistics(measure_index=True).index_recall is None


def test_rebuilding_tells_how_far_it_is(filled: MemoryStorage) -> None:
    told: list[tuple[int, int]] = []
    filled.rebuild_indexes(lambda done, total: told.append((done, total)))
    assert told[-1] == (2 * COUNT, 2 * COUNT)  # their words, then their vectors
    assert len(told) > 1
    assert told == sorted(told)


def test_any_number_of_results_can_be_asked_for(filled: MemoryStorage, vectors: np.ndarray) -> None:
    found = nearest(filled, vectors[0], COUNT + 5_000)
    assert [number for number, _ in found] == best(vectors, vectors[0], COUNT)


@pytest.mark.parametrize(("tag", "step"), [("rare", 20), ("rarest", 500)])
def test_a_filter_gives_k_while_k_match_however_often_it_is_asked(
    filled: MemoryStorage, vectors: np.ndarray, tag: str, step: int
) -> None:
    query = Query(Filter.of(tags_all=tag), NOW_US)
    for _ in range(3):
        found = nearest(filled, vectors[7], 6, query)
        assert [number for number, _ in found] == best(vectors, vectors[7], 6, step)


def test_a_remembered_filter_follows_changes_and_time(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    query = Query(Filter.of(tags_all="rarest"), NOW_US)
    first = [nearest(filled, vectors[0], 6, query) for _ in range(2)][-1]
    filled.update("m0", lambda document: document.remove_tag("rarest"))
    filled.update("m1", lambda document: document.add_tag("rarest"))
    second = [number for number, _ in nearest(filled, vectors[1], 6, query)]
    assert first[0][0] == 1
    assert (second[0], 1 in second, len(second)) == (2, False, 6)
    filled.update("m1", lambda document: document.set_expires_at(document.created_at))
    assert 2 not in [number for number, _ in nearest(filled, vectors[1], 6, query)]


def test_all_that_tie_with_the_last_are_returned(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    def work(transaction: Any) -> None:
        for i in range(300):
            document = transaction.new_document(f"tie{i}", "the same", None)
            transaction.put(document, Embedding(vectors[9], "model", "the same"))

    filled.submit(work).result()
    found = nearest(filled, vectors[9], 5)
    assert len(found) == 301
    assert len({cosine for _, cosine in found}) == 1


@pytest.mark.parametrize("held_bytes", [0, 32 << 20], ids=["read", "held"])
def test_only_memories_that_have_a_vector_have_a_similarity(
    filled: MemoryStorage,
    vectors: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    held_bytes: int,
) -> None:
    limits = vector_index.LIMITS._replace(held_bytes=held_bytes)
    monkeypatch.setattr(vector_index, "LIMITS", limits)
    filled.forget("m6")
    filled.put(MemoryDocument(id="no vector", content="nobody has embedded this"))

    def look(session: Any) -> dict[int, float]:
        space = active_space(session)
        session.nearest(space, vectors[0], 10, EVERYTHING)  # what is held, is held from here on
        return session.similarities(space, vectors[0], [COUNT + 1, 9, 7, 0, 8, COUNT + 2, 1])

    found = filled.read(look)
    assert list(found) == [1, 8, 9]
    assert list(found.values()) == pytest.approx((vectors[[0, 7, 8]] @ vectors[0]).tolist())


def test_codes_that_may_not_be_held_are_read_from_the_file(
    filled: MemoryStorage, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [nearest(filled, v, 10) for v in vectors[:5]]
    monkeypatch.setattr(code_cache, "CODES_BYTES_MAX", 1000)
    with MemoryStorage(filled.path, "ada") as other:
        assert [nearest(other, v, 10) for v in vectors[:5]] == held
        assert other._backend._caches.codes._views == {}


def test_a_transaction_sees_its_own_vectors_and_nobody_else_does_when_it_fails(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    before = nearest(filled, -vectors[0], 3)
    seen: list[float] = []

    def work(transaction: Any) -> None:
        document = transaction.new_document("new", "new text", None)
        transaction.put(document, Embedding(-vectors[0], "model", "new text"))
        session = transaction.session
        found = session.nearest(active_space(session), -vectors[0], 1, EVERYTHING).pairs
        seen.append(found[0][1])
        raise RuntimeError("after the search")

    with pytest.raises(RuntimeError):
        filled.submit(work).result()
    assert seen == [pytest.approx(1.0, abs=1e-6)]
    assert nearest(filled, -vectors[0], 3) == before


def test_an_old_snapshot_finds_what_was_forgotten_since_and_nothing_newer(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    def look(session: Any) -> tuple[list[Any], list[Any]]:
        space = active_space(session)
        before = session.nearest(space, vectors[42], 5, EVERYTHING).pairs
        filled.forget("m42")
        filled.put(MemoryDocument(id="new", content="new"), Embedding(vectors[42], "model", "new"))
        later.append(nearest(filled, vectors[42], 5))  # the cache goes on to the later state
        return before, session.nearest(space, vectors[42], 5, EVERYTHING).pairs

    later: list[Any] = []
    before, again = filled.read(look)
    assert (before[0][0], before) == (43, again)
    assert later[0][0][0] == COUNT + 1
    assert later[0][1:] == before[1:]


def test_codes_of_a_space_that_was_dropped_are_given_back(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    nearest(filled, vectors[0], 1)
    filled.activate_space(filled.open_space("another", "another", 2))
    assert nearest(filled, np.array([1, 0], np.float32), 1) == []
    (space,) = filled.spaces()
    assert set(filled._backend._caches.codes._views) == {space.number}


def test_rewriting_vectors_does_not_make_the_index_larger(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    sql = "SELECT (SELECT page_count FROM pragma_page_count)"
    pages = [filled.read(lambda s: s.connection.execute(sql).get)]
    for turn in range(3):

        def work(transaction: Any, turn: int = turn) -> None:
            space = active_space(transaction.session)
            table = CodeTable(transaction.session.connection, space)
            for number in range(1, COUNT + 1):
                table.put({number: vectors[(number + turn) % COUNT]})

        filled.submit(work).result()
        pages.append(filled.read(lambda s: s.connection.execute(sql).get))
    assert pages == pages[:1] * 4


def test_a_damaged_index_is_mended_in_slices_between_which_others_write(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    filled.submit(
        lambda t: t.session.connection.execute(
            "DELETE FROM vector_code_1 WHERE chunk BETWEEN 2 AND 9"
        )
    ).result()
    after: int | None = -1
    slices = 0
    while after is not None:
        space = filled.spaces()[0]
        after = filled.submit(
            lambda t, space=space, after=after: t.session.rebuild_index(space, after=after, limit=2)
        ).result()
        filled.put(MemoryDocument(id=f"between {slices}", content="written between"))
        slices += 1
    assert slices == 7
    query = unit_vector(vectors[700] + 0.01)
    assert overlap(nearest(filled, query, 10), best(vectors, query, 10)) >= 0.8


def test_searches_beside_a_writer_see_exactly_what_their_snapshot_holds(
    filled: MemoryStorage, vectors: np.ndarray
) -> None:
    ended = threading.Event()
    failures: list[str] = []

    def look(session: Any) -> None:
        space = active_space(session)
        found = session.nearest(space, vectors[3], COUNT * 2, EVERYTHING).pairs
        held = session.connection.execute("SELECT memory FROM vector_1").fetchall()
        if {number for number, _ in found} != {number for (number,) in held}:
            failures.append("a search differs from its snapshot")

    def search() -> None:
        while not ended.is_set():
            filled.read(look)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(60):
        if i % 2:
            filled.forget(f"m{i}")
        else:
            text = f"extra {i}"
            filled.put(MemoryDocument(id=text, content=text), Embedding(vectors[i], "model", text))
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_vector_replaced_by_one_with_the_same_signs_is_seen_by_whoever_held_the_old_one(
    open_store: Callable[..., MemoryStorage],
) -> None:
    store = open_store()
    moved, other, query = (
        np.array(vector, np.float32) for vector in ((0.9, 0.1), (0.5, 0.5), (1, 0))
    )
    store.put(MemoryDocument(id="moved", content="a"), Embedding(moved, "model", "a"))
    store.put(MemoryDocument(id="other", content="b"), Embedding(other, "model", "b"))
    assert [1] == [number for number, _ in nearest(store, query, 1)]
    store.put(MemoryDocument(id="moved", content="a"), Embedding(moved[::-1].copy(), "model", "a"))
    assert [2] == [number for number, _ in nearest(store, query, 1)]
