"""A knowledge graph as memories: entities, observations of them, relations between them.

Each is one memory, so that what is added on two replicas at once merges, and recall finds a single
observation. Its text names what it is about, to be found by; the exact strings of the graph are in
the metadata and are never read back out of the text. Ids are derived from the strings and the
namespace: adding the same again joins, and the same graph in two namespaces is two.
"""

from typing import Any

from chrysalis_memory import codec

NAMESPACE = "graph"
"""Where a graph belongs unless another namespace is named."""
ENTITY, OBSERVATION, RELATION = "entity", "observation", "relation"
"""The values of the metadata key ``"kind"``."""


def entity_id(name: str, *, namespace: str = NAMESPACE) -> str:
    """Return the id of the memory that stands for an entity."""
    return _id(namespace, ENTITY, name)


def entity(name: str, entity_type: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return an entity as the fields of a :class:`NewMemory`; the type is not part of its id."""
    metadata = {"kind": ENTITY, "name": name, "entity_type": entity_type}
    return {
        "id": entity_id(name, namespace=namespace),
        "content": f"{name} ({entity_type})",
        "namespace": namespace,
        "metadata": metadata,
    }


def observation_id(name: str, text: str, *, namespace: str = NAMESPACE) -> str:
    """Return the id of the memory that is one observation of an entity."""
    return _id(namespace, OBSERVATION, name, text)


def observation(name: str, text: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return an observation of the entity ``name`` as the fields of a :class:`NewMemory`."""
    return {
        "id": observation_id(name, text, namespace=namespace),
        "content": f"{name}: {text}",
        "namespace": namespace,
        "metadata": {"kind": OBSERVATION, "name": name, "observation": text},
        "parents": [entity_id(name, namespace=namespace)],
    }


def relation_id(source: str, target: str, relation_type: str, *, namespace: str = NAMESPACE) -> str:
    """Return the id of the memory that is a relation."""
    return _id(namespace, RELATION, source, target, relation_type)


def relation(
    source: str, target: str, relation_type: str, *, namespace: str = NAMESPACE
) -> dict[str, Any]:
    """Return a relation from one entity to another as the fields of a :class:`NewMemory`."""
    ends = {"from": source, "to": target, "relation_type": relation_type}
    both = [entity_id(source, namespace=namespace), entity_id(target, namespace=namespace)]
    return {
        "id": relation_id(source, target, relation_type, namespace=namespace),
        "content": f"{source} {relation_type} {target}",
        "namespace": namespace,
        "metadata": {"kind": RELATION, **ends},
        "related": list(dict.fromkeys(both)),
    }


def _id(*parts: str) -> str:
    return f"graph-{codec.digest(codec.pack(list(parts))).hex()}"
