"""A knowledge graph as memories: entities, what was observed of them, and relations between them.

Each entity, each observation and each relation is one memory. So each is found by meaning,
forgotten by itself, and merged without conflict: replicas that add observations to one entity keep
them all. The text of each stands for itself, with names in it; the exact names are metadata. Ids
are derived from names and texts, so the same fact learned on two replicas is one memory; and an
observation that was edited since stays as it is, beside the first text if that is learned again.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.learning import NewMemory

KIND = "graph"
"""The metadata key of every part of a graph: ``"entity"``, ``"observation"`` or ``"relation"``."""
UNKNOWN_TYPE = "unknown"
"""The type of an entity that was forgotten elsewhere while something was observed of it here."""


class Entity(NamedTuple):
    """Something that has a name, and what is known of it."""

    name: str
    entity_type: str
    observations: tuple[str, ...] = ()


class Relation(NamedTuple):
    """How one entity stands to another; neither needs to be known."""

    source: str
    target: str
    relation_type: str


class Graph(NamedTuple):
    """Entities and relations, each in the order in which they were learned."""

    entities: list[Entity]
    relations: list[Relation]


# As memories


def of_entity(entity: Entity) -> list[NewMemory]:
    """Return an entity and each of its observations as memories to learn."""
    own = NewMemory.of(
        id=entity_id(entity.name),
        content=f"{entity.name} ({entity.entity_type})",
        metadata={KIND: "entity", "entity": entity.name, "entity_type": entity.entity_type},
    )
    return [own, *of_observations(entity.name, entity.observations)]


def of_observations(entity: str, observations: Iterable[str]) -> list[NewMemory]:
    """Return observations of an entity as memories to learn; equal ones are one."""
    return [
        NewMemory.of(
            content=f"{_subject(entity)}: {text}",
            metadata={KIND: "observation", "entity": entity},
            parents=[entity_id(entity)],
        )
        for text in dict.fromkeys(observations)
    ]


def of_relation(relation: Relation) -> NewMemory:
    """Return a relation as a memory to learn."""
    source, target, relation_type = relation
    return NewMemory.of(
        id=relation_id(relation),
        content=" ".join(map(_visible, (source, relation_type, target))),
        metadata={KIND: "relation", "from": source, "to": target, "relation_type": relation_type},
        related=list(dict.fromkeys([entity_id(source), entity_id(target)])),
    )


def of_line(line: str) -> list[NewMemory]:
    """Return what one line of the MCP server ``memory``'s JSON lines file says, to learn.

    Raises:
        InvalidDocument: it is neither an entity nor a relation.
        InvalidValue: a name or a text that is refused.
    """
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise InvalidDocument(f"not a line of JSON ({error}): {shown(line)}") from error
    match value:
        case {"type": "entity", "name": str(name), "entityType": str(kind), "observations": list()}:
            texts: list[Any] = value["observations"]
            if all(isinstance(text, str) for text in texts):
                return of_entity(Entity(name, kind, tuple(texts)))
        case {"type": "relation", "from": str(a), "to": str(b), "relationType": str(kind)}:
            return [of_relation(Relation(a, b, kind))]
        case _:
            pass
    raise InvalidDocument(f"neither an entity nor a relation of a knowledge graph: {shown(value)}")


def entity_id(name: str) -> str:
    """Return the id that an entity has on every replica."""
    return _derived("entity", name)


def relation_id(relation: Relation) -> str:
    """Return the id that a relation has on every replica."""
    return _derived("relation", *relation)


def _derived(*parts: str) -> str:
    return f"g-{codec.digest(codec.pack(list(parts))).hex()}"


# Back


def graph_of(memories: Iterable[MemoryDocument]) -> Graph:
    """Return the graph that memories make; those that are no part of one are left out.

    What was observed of an entity that is not among them stands under its name all the same.

    Args:
        memories: In the order in which their parts are to stand.
    """
    types: dict[str, str] = {}
    observed: dict[str, list[str]] = {}
    relations: list[Relation] = []
    for memory in memories:
        match part_of(memory):
            case Entity(name, entity_type, ()):
                types[name] = entity_type
                observed.setdefault(name, [])
            case Entity(name, _, (text,)):
                observed.setdefault(name, []).append(text)
            case Relation() as relation:
                relations.append(relation)
            case _:
                pass
    entities = [
        Entity(name, types.get(name, UNKNOWN_TYPE), tuple(texts))
        for name, texts in observed.items()
    ]
    return Graph(entities, relations)


def part_of(memory: MemoryDocument) -> Entity | Relation | None:
    """Return what one memory tells of a graph.

    Returns:
        An entity without observations; an entity with the one that was made; a relation; ``None``
        for a memory that is no part of a graph.
    """
    match memory.metadata:
        case {"graph": "entity", "entity": str(name), "entity_type": str(entity_type)}:
            return Entity(name, entity_type)
        case {"graph": "observation", "entity": str(name)}:
            text = memory.content.removeprefix(f"{_subject(name)}: ")
            return Entity(name, UNKNOWN_TYPE, (text,))
        case {"graph": "relation", "from": str(a), "to": str(b), "relation_type": str(kind)}:
            return Relation(a, b, kind)
        case _:
            return None


def names_of(memory: MemoryDocument) -> list[str]:
    """Return the entities that a memory tells of; none if it is no part of a graph."""
    match part_of(memory):
        case Entity(name):
            return [name]
        case Relation(source, target):
            return [source, target]
        case _:
            return []


def _visible(text: str) -> str:
    """Return a text that can be seen: a memory holds more than white space."""
    return text if text.strip() else json.dumps(text)


def _subject(entity: str) -> str:
    """Return a name as observations begin with it: quoted where its end could not be seen."""
    is_plain = ": " not in entity and not entity.startswith('"')
    return entity if is_plain else json.dumps(entity, ensure_ascii=False)
