"""Filters in SQL and in Python mean the same, by example and for random memories and filters."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LAWS, clock_at

from chrysalis_memory import Filter, MemoryCollection, MemoryDocument, MemoryStorage, codec
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.provenance import Among, Trust
from chrysalis_memory.query import OPERATORS, Query
from tests.postgres_server import drop_schema, schema_url
from tests.rows import put_row

NOW_US = 1_800_000_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = EPOCH + timedelta(microseconds=NOW_US)


def memory(memory_id: str, *, at: int = 1000, **fields: Any) -> MemoryDocument:
    """Return a document created at the moment ``at``, in microseconds since 1970."""
    source = fields.pop("source", "ada")
    document = MemoryDocument(memory_id, "text", None, source, clock=clock_at(at))
    for tag in fields.pop("tags", ()):
        document.add_tag(tag)
    for name, value in fields.items():
        arguments = value if isinstance(value, tuple) else (value,)
        getattr(document, f"set_{name}")(*arguments)
    return document


def found(storage: MemoryStorage, wanted: Filter) -> list[str]:
    query = Query(wanted, NOW_US)
    rows = storage.read(lambda session: session.select(query, "created", None))
    assert storage.read(lambda session: session.count(query)) == len(rows)
    return [codec.unpack(row.state)[1] for row in rows]


# By example


FILTERED = {
    "root": memory("root", tags=["a", "b"], importance=0.9, metadata={"n": 1, "s": "x"}),
    "user": memory("user", namespace="user", tags=["a"], metadata={"n": True}),
    "alice": memory("alice", namespace="user/alice", tags=["c"], metadata={"n": 2.5}),
    "user2": memory("user2", namespace="user2", memory_type="episodic", metadata={"n": "1"}),
    "bc": memory("bc", namespace="a/bc", confidence=0.8, metadata={"n": [1]}),
    "b": memory("b", namespace="a/b", memory_type="working", importance=0.1),
    "old": memory("old", archived=True),
    "late": memory("late", expires_at=NOW),
    "soon": memory("soon", expires_at=NOW + timedelta(microseconds=1)),
    "turn": memory("turn", episode="talk", at=5000, source="web:é%_"),
}
VISIBLE = set(FILTERED) - {"old", "late"}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, VISIBLE),
        ({"include_archived": True}, VISIBLE | {"old"}),
        ({"include_expired": True}, VISIBLE | {"late"}),
        ({"namespace": "user"}, {"user"}),
        ({"namespace": ""}, {"root", "soon", "turn"}),
        ({"namespace_prefix": "user"}, {"user", "alice"}),
        ({"namespace_prefix": "a/b"}, {"b"}),
        ({"namespace_prefix": "a"}, {"b", "bc"}),
        ({"namespace_prefix": ""}, VISIBLE),
        ({"memory_type": "episodic"}, {"user2"}),
        ({"memory_type": ["episodic", "working"]}, {"user2", "b"}),
        ({"tags_all": ["a", "b"]}, {"root"}),
        ({"tags_any": ["b", "c"]}, {"root", "alice"}),
        ({"tags_none": ["a", "c"]}, VISIBLE - {"root", "user", "alice"}),
        ({"minimum_importance": 0.5}, VISIBLE - {"b"}),
        ({"minimum_importance": 0.9}, {"root"}),
        ({"minimum_confidence": 0.8}, {"bc"}),
        ({"metadata": {"n": 1}}, {"root"}),
        ({"metadata": {"n": 1.0}}, {"root"}),
        ({"metadata": {"n": True}}, {"user"}),
        ({"metadata": {"n": "1"}}, {"user2"}),
        ({"metadata": {"n": [1]}}, {"bc"}),
        ({"metadata": {"n": None}}, {"b", "soon", "turn"}),
        ({"metadata": {"n": {"$gt": 1}}}, {"alice"}),
        ({"metadata": {"n": {"$gte": 1, "$lt": 2.5}}}, {"root"}),
        ({"metadata": {"n": {"$ne": 1}}}, VISIBLE - {"root"}),
        ({"metadata": {"n": {"$in": [1, "1", None]}}}, {"root", "user2", "b", "soon", "turn"}),
        ({"metadata": {"n": {"$nin": [1, "1"]}}}, VISIBLE - {"root", "user2"}),
        ({"metadata": {"n": {"$in": []}}}, set()),
        ({"metadata": {"s": {"$exists": True}}}, {"root"}),
        ({"metadata": {"s": {"$exists": False}}}, VISIBLE - {"root"}),
        ({"episode": "talk"}, {"turn"}),
        ({"created_from": EPOCH + timedelta(milliseconds=5)}, {"turn"}),
        ({"created_before": EPOCH + timedelta(milliseconds=5)}, VISIBLE - {"turn"}),
        ({"updated_from": EPOCH + timedelta(milliseconds=5)}, {"turn"}),
        ({"tags_all": "a", "namespace": "user"}, {"user"}),
        ({"sources": "web:é%_"}, {"turn"}),
        ({"sources": ["web:é*", "eve"]}, {"turn"}),
        ({"sources": "web:%*"}, set()),
        ({"sources": "ada", "namespace": ""}, {"root", "soon"}),
        ({"sources": "ada*", "sources_none": "ad*"}, set()),
        ({"sources": "*"}, VISIBLE),
        ({"sources": "web"}, set()),
        ({"sources_none": ["web:*", "eve"]}, VISIBLE - {"turn"}),
        ({"sources": [], "sources_none": []}, VISIBLE),
    ],
)
def test_a_filter_finds_exactly_the_memories_that_meet_it(
    storage: MemoryStorage, conditions: dict[str, Any], expected: set[str]
) -> None:
    storage.put_many(FILTERED.values())
    assert set(found(storage, Filter.of(**conditions))) == expected
    wanted = Filter.of(**conditions)
    matching = {i for i, document in FILTERED.items() if wanted.matches(document, now=NOW)}
    assert matching == expected


# At random


VALUES: list[Any] = [
    0, 1, -1, 1.0, 1.5, 2**53, 2**53 + 1, float(2**53), -(2**63), 1e300, -0.0, True, False, None,
    "", "1", "a", "B", "é", "ﬀ", "\U0001f98b", "a\\'b", [], [1], [1.0], ["1"], [None],
    {}, {"a": 1}, {"a": True},
]  # fmt: skip
COMPARED = [value for value in VALUES if type(value) in (int, float, str)]
NAMESPACES = (
    "",
    "user",
    "user2",
    "user/al",
    "user/al/x",
    "a/b",
    "a/bc",
    "a",
    "ü",
    "user0",
    "user.x",
)
TAGS = ("a", "b", "A", "ü", "%", "a/b")
SOURCES = ("ada", "ad", "web:a", "web:A", "web:é", "Web:a", "%", "a_a", "\U0001f98b:1")
PATTERNS = (*SOURCES, "*", "ad*", "web:*", "web:é*", "web:_*", "%*", "\U0001f98b*", "web:é:x*")
TYPES = ("semantic", "episodic", "working")
SCORES = (0.0, 0.3, 0.5, 0.7, 1.0)
MOMENTS = tuple(NOW + timedelta(microseconds=step) for step in (-1, 0, 1))
CREATED = (1, 2, 3, 1000)
COUNT = 6
"""At most so many memories at a time."""

metadata_values = st.dictionaries(st.sampled_from(("k", "l", "ü")), st.sampled_from(VALUES))
memories = st.fixed_dictionaries(
    {"at": st.sampled_from(CREATED)},
    optional={
        "source": st.sampled_from(SOURCES),
        "tags": st.lists(st.sampled_from(TAGS), max_size=3),
        "namespace": st.sampled_from(NAMESPACES),
        "memory_type": st.sampled_from(TYPES),
        "importance": st.sampled_from(SCORES),
        "confidence": st.sampled_from(SCORES),
        "metadata": metadata_values,
        "episode": st.sampled_from([("talk", 1), ("log", None)]),
        "archived": st.booleans(),
        "expires_at": st.sampled_from((*MOMENTS, None)),
    },
)


def operands(operator: str) -> st.SearchStrategy[Any]:
    if operator == "$exists":
        return st.booleans()
    if operator in ("$in", "$nin"):
        return st.lists(st.sampled_from(VALUES), max_size=3)
    return st.sampled_from(VALUES if operator in ("$eq", "$ne") else COMPARED)


one_operator = st.sampled_from(OPERATORS).flatmap(
    lambda name: operands(name).map(lambda value: {name: value})
)
two_operators = st.tuples(one_operator, one_operator).map(lambda pair: pair[0] | pair[1])
conditions_on_metadata = st.dictionaries(
    st.sampled_from(("k", "l", "missing")),
    st.one_of(one_operator, two_operators, st.sampled_from(VALUES)),
    min_size=1,
    max_size=2,
)
some_tags = st.lists(st.sampled_from(TAGS), max_size=2)
some_patterns = st.lists(st.sampled_from(PATTERNS), max_size=2)
times = st.sampled_from([EPOCH + timedelta(microseconds=at) for at in CREATED])
filters = st.fixed_dictionaries(
    {},
    optional={
        "namespace": st.sampled_from(NAMESPACES),
        "namespace_prefix": st.sampled_from(NAMESPACES),
        "memory_type": st.lists(st.sampled_from(TYPES), max_size=2),
        "tags_all": some_tags,
        "tags_any": some_tags,
        "tags_none": some_tags,
        "sources": some_patterns,
        "sources_none": some_patterns,
        "minimum_importance": st.sampled_from(SCORES),
        "minimum_confidence": st.sampled_from(SCORES),
        "metadata": conditions_on_metadata,
        "episode": st.sampled_from(("talk", "log", "none")),
        "created_from": times,
        "created_before": times,
        "updated_from": times,
        "updated_before": times,
        "include_archived": st.booleans(),
        "include_expired": st.booleans(),
    },
)
few_conditions = filters.flatmap(
    lambda drawn: (
        st.sets(st.sampled_from(sorted(drawn)), max_size=2).map(
            lambda names: {name: drawn[name] for name in names}
        )
        if drawn
        else st.just(drawn)
    )
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryStorage]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("filters") / "memory.db"
        with MemoryStorage(path, synchronous="NORMAL") as storage:
            yield storage
        return
    url = schema_url(request.getfixturevalue("postgres_server_url"))
    with MemoryStorage(url) as storage:
        yield storage
    drop_schema(url)


def fill(storage: MemoryStorage, documents: list[MemoryDocument]) -> None:
    """Make these the only memories, whatever was there."""
    storage.submit(lambda t: [put_row(t.session, d) for d in documents]).result()
    for i in range(len(documents), COUNT):
        storage.forget(f"m{i}")


def agree(storage: MemoryStorage, documents: list[MemoryDocument], wanted: Filter) -> None:
    matching = [document for document in documents if wanted.matches(document, now=NOW)]
    matching.sort(key=lambda document: (document.created_at, document.id))
    assert found(storage, wanted) == [document.id for document in matching]


@settings(LAWS, max_examples=150)
@given(
    drawn=st.lists(memories, min_size=1, max_size=COUNT),
    wanted=st.lists(st.one_of(few_conditions, filters), min_size=1, max_size=COUNT),
)
def test_the_store_finds_what_the_filter_matches(
    crowd: MemoryStorage, drawn: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    documents = [memory(f"m{i}", **fields) for i, fields in enumerate(drawn)]
    fill(crowd, documents)
    for conditions in wanted:
        agree(crowd, documents, Filter.of(**conditions))


@settings(LAWS, max_examples=150)
@given(
    drawn=st.lists(st.sampled_from(SOURCES), min_size=1, max_size=COUNT),
    factors=st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from((0, 0.5, 1)), min_size=1),
)
def test_the_store_finds_for_each_factor_the_memories_whose_source_has_it(
    crowd: MemoryStorage, drawn: list[str], factors: dict[str, float]
) -> None:
    documents = [memory(f"m{i}", source=source) for i, source in enumerate(drawn)]
    fill(crowd, documents)
    trust = Trust.of(factors)
    of_factor: dict[float, list[str]] = {factor: [] for factor in (0.0, 0.5, 1.0)}
    for document in documents:
        of_factor[trust.factor(document.source_instance)].append(document.id)

    def selected(among: Among | None) -> list[str]:
        query = Query(Filter(), NOW_US, among)
        rows = crowd.read(lambda session: session.select(query, "created", None))
        return [row.id for row in rows]

    wanted = [of_factor[factor] for factor in sorted({1.0, *factors.values()} - {0}, reverse=True)]
    assert [selected(one) for one in trust.classes()] == (wanted if trust.patterns else [])
    assert selected(trust.trusted()) == sorted(of_factor[0.5] + of_factor[1.0])


@settings(LAWS, max_examples=200)
@given(
    stored=st.lists(st.sampled_from(VALUES), min_size=1, max_size=COUNT),
    wanted=st.lists(st.one_of(one_operator, two_operators), min_size=1, max_size=6),
)
def test_the_store_compares_metadata_as_the_filter_does(
    crowd: MemoryStorage, stored: list[Any], wanted: list[dict[str, Any]]
) -> None:
    documents = [memory(f"m{i}", metadata={"k": value}) for i, value in enumerate(stored)]
    fill(crowd, documents)
    for operators in wanted:
        agree(crowd, documents, Filter(metadata={"k": operators}))


def test_a_collection_finds_what_a_store_finds(store: MemoryStorage) -> None:
    collection = MemoryCollection()
    for document in FILTERED.values():
        collection.put(document)
        store.put(document)
    for conditions in ({"tags_all": "a"}, {"namespace_prefix": "user"}, {"metadata": {"n": None}}):
        wanted = Filter.of(**conditions)
        in_memory = [document.id for document in collection.find(wanted, now=NOW)]
        assert in_memory == found(store, wanted)


# What is refused


@pytest.mark.parametrize(
    "conditions",
    [
        {"colour": "red"},
        {"namespace": "a//b"},
        {"memory_type": "emotional"},
        {"minimum_importance": 1.5},
        {"minimum_confidence": float("nan")},
        {"tags_all": [""]},
        {"tags_any": [1]},
        {"created_from": datetime(2030, 1, 1)},
        {"metadata": {"k": {"$like": "x"}}},
        {"metadata": {"k": {"$in": 1}}},
        {"metadata": {"k": {"$exists": 1}}},
        {"metadata": {"k": {"$gt": True}}},
        {"metadata": {"k": {"$lt": None}}},
        {"metadata": {"k": float("nan")}},
        {"metadata": {"": 1}},
        {"metadata": "k"},
        {"include_archived": "perhaps"},
        {"sources": [""]},
        {"sources_none": [1]},
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(conditions: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Filter.of(**conditions)
