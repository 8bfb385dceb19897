"""Vectors stored as int8: a quarter of the bytes, the same answers, beside float32 in one file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrysalis_memory import AgentMemory, Embedding, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.vector_blobs import decode, encode
from chrysalis_memory.embedding import unit_vector
from chrysalis_memory.errors import InvalidValue, StorageError
from chrysalis_memory.hygiene import duplicates
from chrysalis_memory.query import Query
from chrysalis_memory.search import active_space

COUNT = 400
DIMENSION = 96
KINDS = ("float32", "int8")
EVERYTHING = Query(Filter(), 1_800_000_000_000_000)
LIMITS = [
    vector_index.Limits(exact_below=0, held_bytes=0),
    vector_index.Limits(exact_below=0),
    vector_index.Limits(),
]
"""For a space whose vectors are read, one whose codes and vectors are held, and a small one."""

Open = Callable[..., MemoryStorage]


@pytest.fixture
def vectors() -> np.ndarray:
    made = np.random.default_rng(11).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def fill(storage: MemoryStorage, vectors: np.ndarray, numbers: Any) -> None:
    def work(transaction: Any) -> None:
        for i in numbers:
            document = transaction.new_document(f"m{i:03}", f"text {i}", None)
            document.add_tag("even" if i % 2 == 0 else "odd")
            transaction.put(document, Embedding(vectors[i], "model", f"text {i}"))

    storage.submit(work).result()


def blob_lengths(storage: MemoryStorage) -> dict[int, int]:
    sql = "SELECT length(vector), count(*) FROM vector_1 GROUP BY 1"
    return storage.read(lambda s: dict(s.connection.execute(sql).fetchall()))


def nearest(storage: MemoryStorage, vector: np.ndarray, k: int, **options: Any) -> Any:
    query = options.pop("query", EVERYTHING)
    return storage.read(lambda s: s.nearest(active_space(s), vector, k, query, **options)).pairs


@given(
    st.integers(1, 3000).flatmap(lambda dimension: st.tuples(st.just(dimension), st.integers(0))),
    st.floats(1, 1000),
)
def test_what_was_decoded_is_encoded_to_the_same_bytes_and_has_unit_length(drawn, outlier) -> None:
    dimension, seed = drawn
    values = np.random.default_rng(seed).normal(size=dimension)
    values[0] *= outlier
    blob = encode(unit_vector(values), "int8")

    (decoded,) = decode([blob], dimension)

    assert dimension == len(blob)
    assert encode(decoded, "int8") == blob
    assert np.linalg.norm(decoded) == pytest.approx(1, abs=1e-6)


def test_an_int8_vector_points_where_the_vector_pointed(vectors: np.ndarray) -> None:
    decoded = decode([encode(vector, "int8") for vector in vectors], DIMENSION)
    assert np.vecdot(decoded, vectors).min() > 0.9998


def test_equal_blobs_give_equal_rows_whatever_lies_beside_them(vectors: np.ndarray) -> None:
    blobs = [encode(vectors[i % 7], KINDS[i % 3 == 0]) for i in range(60)]
    together = decode(blobs, DIMENSION)
    alone = np.concatenate([decode([blob], DIMENSION) for blob in blobs])
    np.testing.assert_array_equal(alone, together)


def test_int8_takes_a_quarter_of_the_bytes(open_store: Open, vectors: np.ndarray) -> None:
    for kind, length in (("float32", 4 * DIMENSION), ("int8", DIMENSION)):
        storage = open_store(f"{kind}.db", vector_storage=kind)
        fill(storage, vectors, range(5))
        assert blob_lengths(storage) == {length: 5}


def test_hardly_any_of_the_nearest_are_lost(open_store: Open, vectors: np.ndarray) -> None:
    storage = open_store(vector_storage="int8")
    fill(storage, vectors, range(COUNT))
    asked = vectors[:50] + 0.05
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    hits = 0
    for vector in asked:
        true = set((np.argsort(-(vectors @ vector))[:10] + 1).tolist())
        hits += len(true & {number for number, _ in nearest(storage, vector, 10)})
    assert hits / 500 > 0.98


@pytest.mark.parametrize("limits", LIMITS, ids=["large", "middling", "small"])
@pytest.mark.parametrize("filled_by", [("int8", "int8"), KINDS], ids=["int8", "both"])
def test_an_exact_search_finds_what_ranking_all_similarities_finds(
    open_store: Open,
    vectors: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    filled_by: tuple[str, str],
    limits: vector_index.Limits,
) -> None:
    monkeypatch.setattr(vector_index, "LIMITS", limits)
    for half, kind in enumerate(filled_by):
        storage = open_store(vector_storage=kind)
        fill(storage, vectors, range(half, COUNT, 2))
        # The same vector twice, so that something ties: in both kinds where both are there.
        copy = MemoryDocument(f"copy {half}", f"copy {half}")
        storage.put(copy, Embedding(vectors[7], "model", f"copy {half}"))

    def look(session: Any) -> None:
        space = active_space(session)
        for vector in (*vectors[:9], -vectors[3]):
            for query in (EVERYTHING, Query(Filter.of(tags_all="even"), EVERYTHING.now_us)):
                matching = [row.number for row in session.select(query, "created", None)]
                true = session.similarities(space, vector, matching)
                for k in (1, 2, 10, COUNT * 2):
                    found = session.nearest(space, vector, k, query, accuracy="exact").pairs
                    last = sorted(true.values(), reverse=True)[: min(k, len(true))][-1]
                    assert dict(found) == {n: c for n, c in true.items() if c >= last}

    storage.read(look)
    assert len(blob_lengths(storage)) == len(set(filled_by))


def test_codes_are_those_of_what_was_stored_so_an_index_built_anew_is_the_same(
    open_store: Open, vectors: np.ndarray
) -> None:
    """A component that became zero has another sign than before."""

    def codes(session: Any) -> list[Any]:
        return list(CodeTable(session.connection, active_space(session)).chunks_since(0))

    storage = open_store(vector_storage="int8")
    fill(storage, vectors, range(COUNT))
    before = storage.read(codes)
    storage.rebuild_indexes()
    assert storage.read(codes) == before


@pytest.mark.parametrize("limits", LIMITS, ids=["large", "middling", "small"])
def test_the_vector_of_a_stored_text_finds_it_first_with_nearly_one(
    open_store: Open,
    vectors: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    limits: vector_index.Limits,
) -> None:
    monkeypatch.setattr(vector_index, "LIMITS", limits)
    storage = open_store(vector_storage="int8")
    fill(storage, vectors, range(COUNT))
    for number in (1, 200, COUNT):
        ((found, similarity),) = nearest(storage, vectors[number - 1], 1)
        assert (found, similarity) == (number, pytest.approx(1, abs=3e-4))
        stored = storage.read(lambda s, n=number: s.vector(active_space(s), n))
        ((found, similarity),) = nearest(storage, stored, 1)
        assert (found, similarity) == (number, pytest.approx(1, abs=1e-6))


def test_the_setting_applies_to_what_is_stored_from_then_on(
    open_store: Open, vectors: np.ndarray
) -> None:
    fill(open_store(), vectors, range(4))
    fill(open_store(vector_storage="int8"), vectors, range(4, 9))
    storage = open_store()
    fill(storage, vectors, range(9, 10))
    assert blob_lengths(storage) == {4 * DIMENSION: 5, DIMENSION: 5}
    for number in range(1, 11):
        assert nearest(storage, vectors[number - 1], 1)[0][0] == number


def test_replicas_that_learned_the_same_texts_in_any_order_give_the_same_results(
    open_store: Open, vectors: np.ndarray
) -> None:
    """Also where a text took over the vector that another memory of the same text had."""
    first, second = (open_store(f"{i}.db", vector_storage="int8") for i in range(2))
    fill(first, vectors, range(40))
    fill(second, vectors, reversed(range(40)))
    for storage in (first, second):
        for i in range(0, 40, 3):
            storage.put(MemoryDocument(f"again {i:03}", f"text {i}"))
        assert storage.pending(storage.spaces()[0], limit=99) == []

    def found(storage: MemoryStorage, vector: np.ndarray) -> list[tuple[float, str]]:
        pairs = nearest(storage, vector, 99)
        ids = storage.load([number for number, _ in pairs])
        return sorted((cosine, memory.id) for (_, cosine), memory in zip(pairs, ids, strict=True))

    for vector in vectors[:12]:
        assert found(first, vector) == found(second, vector)


@pytest.mark.parametrize("filled_by", [("int8", "int8"), KINDS], ids=["int8", "both"])
def test_near_duplicates_are_found_among_both_kinds(
    open_store: Open, vectors: np.ndarray, filled_by: tuple[str, str]
) -> None:
    for half, kind in enumerate(filled_by):
        storage = open_store(vector_storage=kind)
        fill(storage, vectors, range(half, 20, 2))
        copy = MemoryDocument(f"copy {half}", f"copy {half}")
        storage.put(copy, Embedding(vectors[4], "model", f"copy {half}"))
    (group,) = duplicates(storage, threshold=0.999)
    assert {memory.id for memory in group.memories} == {"m004", "copy 0", "copy 1"}


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        (b"", "0 bytes"),
        (bytes(DIMENSION - 1), "95 bytes"),
        (bytes(2 * DIMENSION), "192 bytes"),
        (bytes(DIMENSION), "zeros"),
    ],
)
def test_a_damaged_vector_is_reported_and_not_read_as_another(
    open_store: Open, vectors: np.ndarray, blob: bytes, what: str
) -> None:
    storage = open_store()
    fill(storage, vectors, range(6))
    sql = "UPDATE vector_1 SET vector = ? WHERE memory = 3"
    storage.submit(lambda t: t.session.connection.execute(sql, (blob,))).result()
    with pytest.raises(StorageError, match=f"{what}.*damaged"):
        nearest(storage, vectors[0], 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_of_another_length_is_refused_and_nothing_is_changed(
    open_store: Open, vectors: np.ndarray, kind: str
) -> None:
    """A float32 vector of a quarter of the dimension would else be read as int8."""
    storage = open_store(vector_storage=kind)
    fill(storage, vectors, range(3))
    before = nearest(storage, vectors[0], 9)
    (space,) = storage.spaces()
    wrong = Embedding(vectors[1][: DIMENSION // 4], "model", "text 1")
    with pytest.raises(InvalidValue, match="does not belong to a space of dimension 96"):
        storage.put_vectors(space, [(2, wrong)])
    assert nearest(storage, vectors[0], 9) == before


def test_another_kind_is_refused(open_store: Open) -> None:
    with pytest.raises(InvalidValue, match="vector_storage is 'float32' or 'int8', got 'int4'"):
        open_store(":memory:", vector_storage="int4")


async def test_an_agent_stores_what_its_settings_say(
    start_agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: AgentMemory = await start_agent(file="given.db", vector_storage="int8")
    monkeypatch.setenv("CHRYSALIS_VECTOR_STORAGE", "int8")
    from_environment: AgentMemory = await start_agent(file="environment.db")
    for agent in (given, from_environment):
        await agent.learn("Tea is served at four o'clock")
        await agent.learn("The user prefers Python over JavaScript")
        assert blob_lengths(agent.storage) == {256: 2}
        (found,) = await agent.recall("When is tea served?", k=1, mode="semantic")
        assert found.content == "Tea is served at four o'clock"
