"""A record says what a document says, without what merging needs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from chrysalis_memory import AgentMemory, MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.record import MemoryRecord, RecalledRecord


def full_document() -> MemoryDocument:
    memory = MemoryDocument("m", "Tea is at four", "episodic", "ada")
    memory.set_namespace("home/kitchen")
    memory.add_tag("tea")
    memory.add_tag("daily")
    memory.set_importance(0.9)
    memory.set_confidence(0.7)
    memory.set_metadata({"cups": 2, "with": {"milk": True}})
    memory.set_episode("monday", 3)
    memory.add_related("r")
    memory.add_parent("p")
    memory.add_evidence("a note on the fridge")
    memory.record_access("ada", 4)
    memory.set_expires_at(datetime(2990, 1, 2, tzinfo=UTC))
    memory.set_archived(True)
    return memory


def test_a_record_holds_every_field_of_its_document():
    memory = full_document()

    record = MemoryRecord.of(memory)

    assert record.model_dump() == {
        "id": "m",
        "content": "Tea is at four",
        "memory_type": "episodic",
        "namespace": "home/kitchen",
        "tags": ("tea", "daily"),
        "importance": 0.9,
        "confidence": 0.7,
        "metadata": {"cups": 2, "with": {"milk": True}},
        "episode": "monday",
        "position": 3,
        "related": ("r",),
        "parents": ("p",),
        "evidence": ("a note on the fridge",),
        "access_count": 4,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
        "expires_at": datetime(2990, 1, 2, tzinfo=UTC),
        "archived": True,
        "source": "ada",
        "sources": ("ada",),
        "writers": ("ada",),
        "version": memory.version,
    }


def test_a_record_of_a_plain_document_holds_the_defaults():
    record = MemoryRecord.of(MemoryDocument("m", "Tea is at four"))

    assert record.memory_type == "semantic"
    assert (record.importance, record.confidence) == (0.5, 0.5)
    assert (record.tags, record.metadata, record.episode) == ((), {}, None)
    assert not record.archived


def test_a_record_survives_json():
    record = MemoryRecord.of(full_document())

    assert MemoryRecord.model_validate_json(record.model_dump_json()) == record


def test_a_record_cannot_be_changed():
    record: Any = MemoryRecord.of(full_document())

    with pytest.raises(ValidationError, match="frozen"):
        record.content = "Coffee is at four"


def test_a_record_refuses_unknown_fields():
    values = MemoryRecord.of(full_document()).model_dump() | {"colour": "green"}

    with pytest.raises(ValidationError, match="colour"):
        MemoryRecord.model_validate(values)


def test_a_forgotten_memory_has_no_record():
    memory = full_document()
    memory.forget()

    with pytest.raises(InvalidValue, match="'m' was forgotten"):
        MemoryRecord.of(memory)


async def test_a_recalled_record_holds_the_score_and_its_parts():
    async with AgentMemory("ada", path=":memory:", embedder="hashing") as agent:
        await agent.learn("Tea is at four", importance=0.9)
        (found,) = await agent.recall("tea")

    record = RecalledRecord.recalled(found, found.explanation)

    assert record.content == "Tea is at four"
    assert record.score == found.score
    assert record.explanation.model_dump() == found.explanation.to_dict()
    assert RecalledRecord.model_validate_json(record.model_dump_json()) == record
