"""Vector search in PostgreSQL when there are too many to compare: HNSW, filters, exactness."""

from typing import Any

import numpy as np
import psycopg
import pytest

from chrysalis_memory import Embedding, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.postgres import vector_table
from chrysalis_memory.backends.postgres.vector_table import Limits
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Query
from tests.postgres_server import drop_schema

COUNT = 600
DIMENSION = 32
VECTORS = np.random.default_rng(3).normal(size=(COUNT, DIMENSION))
ASKED = np.random.default_rng(4).normal(size=(20, DIMENSION))


def query(**conditions: Any) -> Query:
    return Query(Filter.of(**conditions), 1_800_000_000_000_000)


@pytest.fixture
def filled(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(vector_table, "LIMITS", Limits(exact_below=100, rows_exact=8))
    with MemoryStorage(postgres_url) as storage:

        def work(transaction: Any) -> None:
            for i, vector in enumerate(VECTORS):
                document = MemoryDocument(f"m{i:03}", f"text {i}")
                document.set_namespace("rare" if i % 100 == 0 else "some" if i % 10 == 1 else "")
                transaction.put(document, Embedding(vector, "space", document.content))

        storage.submit(work).result()
        yield storage


def found(storage: MemoryStorage, vector: Any, k: int = 10, **options: Any) -> Any:
    accuracy = options.pop("accuracy", "balanced")
    asked = Embedding(vector, "space", "asked").vector
    space = storage.spaces()[0]
    wanted = query(**options)
    return storage.read(lambda s: s.nearest(space, asked, k, wanted, accuracy=accuracy))


def true_nearest(storage: MemoryStorage, vector: Any, k: int, namespace: str | None) -> list[int]:
    units = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    cosines = units @ (vector / np.linalg.norm(vector))
    numbers = {one.id: one.number for one in all_of(storage)}
    kept = [one for one in storage.all() if namespace in (None, one.namespace)]
    ranked = sorted(kept, key=lambda one: -cosines[int(one.id[1:])])
    return [numbers[one.id] for one in ranked[:k]]


def all_of(storage: MemoryStorage) -> Any:
    return storage.read(lambda s: s.everything(after=0, limit=COUNT))


@pytest.mark.parametrize("namespace", [None, "rare", "some", ""])
def test_the_index_finds_nearly_all_and_never_fewer_than_match(
    filled: MemoryStorage, namespace: str | None
) -> None:
    options = {} if namespace is None else {"namespace": namespace}
    shares: list[float] = []
    for vector in ASKED:
        nearest = found(filled, vector, **options)
        true = true_nearest(filled, vector, 10, namespace)
        assert len(nearest.pairs) == len(true)
        assert nearest.exact == (namespace in ("rare", "some"))
        shares.append(len(set(true) & dict(nearest.pairs).keys()) / len(true))
    assert sum(shares) / len(shares) >= 0.98


def test_all_are_compared_when_that_is_asked(filled: MemoryStorage) -> None:
    for vector in ASKED:
        nearest = found(filled, vector, accuracy="exact")
        assert nearest.exact
        assert nearest.compared == COUNT
        assert [number for number, _ in nearest.pairs] == true_nearest(filled, vector, 10, None)


def test_cosines_are_those_of_the_true_vectors(filled: MemoryStorage) -> None:
    asked = Embedding(ASKED[0], "space", "asked").vector
    units = {f"m{i:03}": Embedding(v, "space", "x").vector for i, v in enumerate(VECTORS)}
    ids = {one.number: one.id for one in all_of(filled)}
    for number, cosine in found(filled, ASKED[0]).pairs:
        assert cosine == float(np.vecdot(units[ids[number]], asked))


def test_memories_that_were_forgotten_or_archived_are_not_found(filled: MemoryStorage) -> None:
    first, second, *_ = true_nearest(filled, ASKED[0], 3, None)
    ids = {one.number: one.id for one in all_of(filled)}
    filled.forget(ids[first])
    filled.update(ids[second], lambda document: document.set_archived(True))
    nearest = found(filled, ASKED[0])
    assert not {first, second} & dict(nearest.pairs).keys()
    assert len(nearest.pairs) == 10


def test_a_rebuilt_index_answers_as_before(filled: MemoryStorage) -> None:
    before = [found(filled, vector, accuracy="exact") for vector in ASKED]
    filled.rebuild_indexes()
    assert [found(filled, vector, accuracy="exact") for vector in ASKED] == before
    again = [set(dict(found(filled, vector).pairs)) for vector in ASKED]
    shares = [len(a & set(dict(b.pairs))) / 10 for a, b in zip(again, before, strict=True)]
    assert sum(shares) / len(shares) >= 0.98


def test_vectors_too_long_for_the_index_are_compared_and_longer_ones_refused(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_table, "LIMITS", Limits(exact_below=2, rows_exact=1))
    vectors = np.random.default_rng(1).normal(size=(5, 4096))
    with MemoryStorage(postgres_url) as storage:
        for i, vector in enumerate(vectors):
            storage.put(MemoryDocument(f"m{i}", f"t{i}"), Embedding(vector, "long", f"t{i}"))
        nearest = found(storage, vectors[3], k=1)
        assert (nearest.exact, nearest.compared, nearest.pairs[0][1]) == (True, 5, pytest.approx(1))
        with pytest.raises(InvalidValue, match="16,000"):
            storage.open_space("longer", "longer", 16_001)
        assert len(storage.spaces()) == 1


def test_a_role_without_special_rights_can_do_all_this(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_table, "LIMITS", Limits(exact_below=20, rows_exact=5))
    if "user=postgres" not in postgres_url:
        pytest.skip("needs a server that lets any role in")
    role = f"role_{postgres_url[-12:]}"
    schema = postgres_url.rpartition("%3D")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in (
            "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public",
            f"CREATE ROLE {role} LOGIN",
            f"CREATE SCHEMA {schema} AUTHORIZATION {role}",
        ):
            connection.execute(statement.encode())
    url = postgres_url.replace("user=postgres", f"user={role}")
    try:
        with MemoryStorage(url) as storage:
            for i, vector in enumerate(VECTORS[:40]):
                document = MemoryDocument(f"m{i:03}", f"text {i}")
                document.set_namespace("some" if i % 4 == 0 else "")
                storage.put(document, Embedding(vector, "space", document.content))
            assert len(found(storage, ASKED[0]).pairs) == 10
            assert len(found(storage, ASKED[0], namespace="some").pairs) == 10
            assert storage.statistics(measure_index=True).index_recall == 1.0
            storage.rebuild_indexes()
            assert storage.count() == 40
    finally:
        drop_schema(postgres_url)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


def test_a_space_that_was_activated_meanwhile_takes_the_vectors_of_its_old_handle(
    postgres_url: str,
) -> None:
    with MemoryStorage(postgres_url) as storage:
        storage.put(MemoryDocument("m", "text"))
        storage.open_space("first", "first", DIMENSION)
        before = storage.open_space("second", "second", DIMENSION)
        storage.activate_space(before)
        (waiting,) = storage.pending(before, limit=9)
        made = Embedding(VECTORS[0], "second", "text")
        assert storage.put_vectors(before, [(waiting.number, made)]) == 1
        assert storage.pending(before, limit=9) == []
        stored = storage.read(lambda s: s.vector(before, waiting.number))
        assert stored.tolist() == made.vector.tolist()
