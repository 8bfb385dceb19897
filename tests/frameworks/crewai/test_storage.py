"""CrewAI's memory on an agent's memory, through CrewAI's own entry points."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crewai.llms.base_llm import BaseLLM
from crewai.memory.storage.backend import EmbeddingDimensionMismatchError, StorageBackend
from crewai.memory.types import MemoryRecord
from crewai.memory.unified_memory import Memory

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.integrations.crewai import ChrysalisStorage

OPTIONS: dict[str, Any] = {"embedder": "hashing", "synchronous": "NORMAL"}


class NeverAsked(BaseLLM):
    """A model that must not be called: every field is given."""

    def call(self, *_: Any, **__: Any) -> str:
        raise AssertionError("the model was asked")


@pytest.fixture
def agent(tmp_path: Path) -> AgentMemory:
    return AgentMemory("crew", path=tmp_path / "memory.db", **OPTIONS)


@pytest.fixture
def storage(agent: AgentMemory) -> Iterator[ChrysalisStorage]:
    storage = ChrysalisStorage(agent)
    yield storage
    storage.close()


@pytest.fixture
def memory(storage: ChrysalisStorage) -> Memory:
    return Memory(storage=storage, embedder=storage.embed, llm=NeverAsked(model="none"))


def remember(memory: Memory, text: str, scope: str = "/tea", **fields: Any) -> MemoryRecord:
    given = {"categories": ["fact"], "importance": 0.5} | fields
    found = memory.remember(text, scope=scope, **given)
    assert found is not None
    return found


def test_it_is_a_storage_backend(storage: ChrysalisStorage) -> None:
    assert isinstance(storage, StorageBackend)


def test_what_a_crew_remembers_it_recalls(memory: Memory) -> None:
    remember(memory, "Tea is served at four")
    remember(memory, "The printer is on the second floor", scope="/office")
    found = memory.recall("When is tea served?", depth="shallow", limit=1)
    assert [("Tea is served at four", "/tea", ["fact"])] == [
        (one.record.content, one.record.scope, one.record.categories) for one in found
    ]


def test_what_a_crew_remembers_is_a_memory_that_the_agent_recalls(
    memory: Memory, agent: AgentMemory
) -> None:
    record = remember(memory, "Tea is served at four", importance=0.9)
    found = Anywhere(agent).run(lambda: agent.recall("tea"))[0]
    assert (record.id, "crewai/tea", ["fact"], 0.9) == (
        found.id, found.namespace, found.get_tags(), found.get_importance()
    )  # fmt: skip


def test_a_record_comes_back_as_it_was_saved(storage: ChrysalisStorage) -> None:
    record = MemoryRecord(
        id="one", content="Tea is served at four", scope="/team/ada", categories=["b", "a"],
        metadata={"day": "Monday", "n": 3, "list": [1, {"x": None}]}, importance=0.25,
        created_at=datetime(2026, 1, 2, 3, 4, 5), last_accessed=datetime(2026, 2, 3),
        source="ada", private=True,
    )  # fmt: skip
    storage.save([record])
    assert record == storage.get_record("one")


def test_an_update_replaces_every_field(storage: ChrysalisStorage) -> None:
    storage.save([
        MemoryRecord(
            id="one", content="old", scope="/a", categories=["x", "y"], metadata={"m": 1, "n": 2},
            importance=0.9, source="ada",
        )
    ])  # fmt: skip
    new = MemoryRecord(id="one", content="new", categories=["y", "z"], metadata={"n": 3})
    storage.update(new)
    assert new == storage.get_record("one")
    assert 1 == storage.count()


def test_memory_updates_a_record_by_its_id(memory: Memory) -> None:
    record = remember(memory, "Tea is served at four")
    memory.update(record.id, content="Tea is served at five", importance=0.1)
    found = memory.recall("tea", depth="shallow")[0].record
    assert ("Tea is served at five", 0.1, record.id) == (found.content, found.importance, found.id)


def test_search_is_bounded_by_scope_category_metadata_and_score(storage: ChrysalisStorage) -> None:
    storage.save(
        [
            MemoryRecord(id="a", content="tea at four", scope="/x", categories=["t"]),
            MemoryRecord(id="b", content="tea at five", scope="/x/y", metadata={"n": None, "d": 1}),
            MemoryRecord(id="c", content="tea at six", scope="/xy"),
        ]
    )

    def ids(**conditions: Any) -> list[str]:
        found = storage.search(storage.embed(["tea"])[0], **conditions)
        return sorted(record.id for record, _ in found)

    assert ["a", "b", "c"] == ids()
    assert ["a", "b"] == ids(scope_prefix="/x")
    assert ["a", "b"] == ids(scope_prefix="x/")
    assert ["b"] == ids(scope_prefix="/x/y")
    assert ["a"] == ids(categories=["t", "u"])
    assert ["b"] == ids(metadata_filter={"d": 1})
    assert [] == ids(metadata_filter={"d": {"$gt": 0}})
    assert [] == ids(min_score=0.999)
    assert 1 == len(ids(limit=1))


def test_scores_are_cosines_best_first(storage: ChrysalisStorage) -> None:
    storage.save([MemoryRecord(content="tea at four"), MemoryRecord(content="tea at five, Ada")])
    scores = [score for _, score in storage.search(storage.embed(["tea at four"])[0])]
    assert pytest.approx(1.0, abs=1e-5) == scores[0]
    assert scores == sorted(scores, reverse=True)


def test_scopes_and_categories_are_counted(storage: ChrysalisStorage) -> None:
    early, late = datetime(2026, 1, 1), datetime(2026, 2, 1)
    storage.save(
        [
            MemoryRecord(content="one", scope="/", created_at=late),
            MemoryRecord(content="two", scope="/a", categories=["x"], created_at=early),
            MemoryRecord(content="three", scope="/a/b/c", categories=["x", "y"], created_at=late),
        ]
    )
    assert ["/a"] == storage.list_scopes()
    assert ["/a/b"] == storage.list_scopes("/a/")
    assert {"x": 2, "y": 1} == storage.list_categories()
    assert {"x": 1, "y": 1} == storage.list_categories("/a/b")
    assert (3, 2, 1, 0) == tuple(storage.count(scope) for scope in (None, "/a", "/a/b", "/b"))
    info = storage.get_scope_info("/a")
    assert ("/a", 2, ["x", "y"], early, late, ["/a/b"]) == (
        info.path, info.record_count, info.categories, info.oldest_record, info.newest_record,
        info.child_scopes,
    )  # fmt: skip
    assert ("/b", 0, None) == (
        (empty := storage.get_scope_info("/b")).path, empty.record_count, empty.oldest_record
    )  # fmt: skip


def test_deleting_takes_what_meets_every_condition_and_nothing_else(
    storage: ChrysalisStorage, agent: AgentMemory
) -> None:
    old = datetime(2020, 1, 1)
    Anywhere(agent).run(lambda: agent.learn("not of the crew", id="other"))
    storage.save(
        [
            MemoryRecord(id="a", content="one", scope="/", categories=["x"], created_at=old),
            MemoryRecord(id="b", content="two", scope="/s", categories=["x"], metadata={"k": 1}),
            MemoryRecord(id="c", content="three", scope="/s", created_at=old),
            MemoryRecord(id="d", content="four", scope="/s/t"),
        ]
    )
    assert 1 == storage.delete(scope_prefix="/s", older_than=datetime(2021, 1, 1))
    assert 1 == storage.delete(record_ids=["a", "b"], metadata_filter={"k": 1})
    assert 0 == storage.delete(record_ids=["other", "unknown"])
    assert 1 == storage.delete(categories=["x"], older_than=datetime.now(UTC))
    assert ["d"] == [record.id for record in storage.list_records()]
    storage.reset()
    assert (0, 1) == (storage.count(), Anywhere(agent).run(agent.count))


def test_records_are_listed_newest_first_page_by_page(storage: ChrysalisStorage) -> None:
    start = datetime(2026, 1, 1)
    storage.save(
        [
            MemoryRecord(id=str(n), content=f"n{n}", created_at=start - timedelta(days=n))
            for n in range(5)
        ]
    )
    assert ["0", "1"] == [record.id for record in storage.list_records(limit=2)]
    assert ["3", "4"] == [record.id for record in storage.list_records(limit=9, offset=3)]


def test_another_embedder_is_refused_instead_of_finding_nothing(
    storage: ChrysalisStorage, tmp_path: Path
) -> None:
    width = len(storage.embed(["x"])[0])
    other = [1.0] + [0.0] * (width - 1)
    with pytest.raises(InvalidValue, match=r"embedder=storage\.embed"):
        storage.save([MemoryRecord(content="Tea is served at four", embedding=other)])
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.save([MemoryRecord(content="Tea is served at four", embedding=[1.0, 0.0])])
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.search([1.0, 0.0])
    assert 0 == storage.count()


@pytest.mark.parametrize("key", ["crewai", "crewai_last_accessed"])
def test_metadata_keys_that_are_taken_are_refused(storage: ChrysalisStorage, key: str) -> None:
    with pytest.raises(InvalidValue, match=f"taken: \\['{key}'\\]"):
        storage.save([MemoryRecord(content="Tea is served at four", metadata={key: 1})])


def test_what_another_face_learned_is_a_record_too(
    storage: ChrysalisStorage, agent: AgentMemory
) -> None:
    Anywhere(agent).run(lambda: agent.learn("tea at four", namespace="crewai/x", tags=["t"]))
    (found,) = storage.list_records()
    assert ("tea at four", "/x", ["t"], None) == (
        found.content, found.scope, found.categories, found.created_at.tzinfo
    )  # fmt: skip


def test_an_id_of_a_memory_elsewhere_is_left_alone(
    storage: ChrysalisStorage, agent: AgentMemory
) -> None:
    Anywhere(agent).run(lambda: agent.learn("mine", id="one"))
    assert storage.get_record("one") is None
    with pytest.raises(InvalidValue, match="outside 'crewai'"):
        storage.save([MemoryRecord(id="one", content="theirs")])


async def test_the_async_methods_work_from_any_loop(storage: ChrysalisStorage) -> None:
    await storage.asave([MemoryRecord(id="a", content="tea at four")])
    vector = storage.embed(["tea at four"])[0]
    assert ["a"] == [record.id for record, _ in await storage.asearch(vector)]
    assert 1 == await storage.adelete(record_ids=["a"])


def test_uses_are_counted_and_the_last_is_noted(memory: Memory, agent: AgentMemory) -> None:
    record = remember(memory, "Tea is served at four")
    memory.recall("tea", depth="shallow")
    assert record.last_accessed < memory.list_records()[0].last_accessed
    found = Anywhere(agent).run(lambda: agent.get(record.id))
    assert found is not None
    assert 1 == found.get_access_count()


def test_closing_crewais_memory_stops_the_agents(memory: Memory, agent: AgentMemory) -> None:
    remember(memory, "Tea is served at four")
    memory.close()
    assert agent.loop is None


def test_what_two_crews_remember_merges(tmp_path: Path, agent: AgentMemory) -> None:
    other = AgentMemory("bob", path=tmp_path / "other.db", **OPTIONS)
    here, there = ChrysalisStorage(agent), ChrysalisStorage(other)
    here.save([MemoryRecord(id="a", content="tea at four")])
    there.save([MemoryRecord(id="b", content="coffee at ten")])
    Anywhere(agent).run(lambda: agent.merge(other.storage))
    assert ["a", "b"] == sorted(record.id for record in here.list_records())
    here.close()
    there.close()
