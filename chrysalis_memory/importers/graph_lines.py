"""The JSON lines of the MCP ``memory`` server: entities with observations, and relations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chrysalis_memory import knowledge_graph
from chrysalis_memory.errors import InvalidDocument, InvalidValue
from chrysalis_memory.importers import reading
from chrysalis_memory.importers.found import Found
from chrysalis_memory.knowledge_graph import Entity, Relation
from chrysalis_memory.learning import NewMemory

Name = Annotated[str, Field(min_length=1)]


class _Entity(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["entity"]
    name: Name
    entity_type: Annotated[str, Field(alias="entityType")]
    observations: list[Name]


class _Relation(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["relation"]
    source: Annotated[Name, Field(alias="from")]
    target: Annotated[Name, Field(alias="to")]
    relation_type: Annotated[Name, Field(alias="relationType")]


def matches(line: dict[str, Any]) -> bool:
    """Tell whether a line is one of a graph."""
    return "entityType" in line or "relationType" in line


def memories(path: Path, namespace: str) -> Iterator[Found]:
    """Iterate over the entities, observations and relations of a file, each a memory.

    They are what the server of knowledge graphs of this package reads and writes.

    Args:
        path: The file.
        namespace: Where the memories belong; ``""`` leaves that open.

    Raises:
        InvalidDocument: a line that is neither an entity nor a relation.
    """
    given = {"namespace": namespace} if namespace else {}
    for where, line in reading.lines(path):
        for memory in _of_line(line, where):
            yield Found(where, memory.model_dump(exclude_unset=True) | given)


def _of_line(line: bytes, where: str) -> list[NewMemory]:
    fields = reading.json_object(line, where)
    try:
        if fields.get("type") == "entity":
            one = reading.checked(_Entity, fields, where)
            return knowledge_graph.of_entity(
                Entity(one.name, one.entity_type, tuple(one.observations))
            )
        if fields.get("type") == "relation":
            how = reading.checked(_Relation, fields, where)
            relation = Relation(how.source, how.target, how.relation_type)
            return [knowledge_graph.of_relation(relation)]
    except InvalidDocument:
        raise
    except InvalidValue as error:
        raise InvalidDocument(f"{where}: {error}") from error
    raise InvalidDocument(f'{where}: "type" is "entity" or "relation"')
