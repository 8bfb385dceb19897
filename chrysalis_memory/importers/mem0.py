"""What mem0's ``get_all`` returns: a list of memories, or an object whose ``results`` is one."""

from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.importers import reading
from chrysalis_memory.importers.found import Found

_WHOSE = ("user_id", "agent_id", "run_id")


class _Memory(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str | None = None
    memory: str
    metadata: dict[str, Any] | None = None
    categories: list[str] | None = None
    created_at: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None


def matches(document: object) -> bool:
    """Tell whether a JSON document is such a list."""
    items = _items(document)
    first = items[0] if items else None
    return isinstance(first, dict) and "memory" in first


def memories(document: object, where: str, namespace: str) -> Iterator[Found]:
    """Iterate over the memories; categories become tags, and whose they are becomes metadata.

    The id is made of mem0's, so that a memory that was changed there is changed here by the next
    import.

    Args:
        document: The JSON that ``get_all`` returned.
        where: Its name in errors.
        namespace: Where the memories belong; ``""`` leaves that open.

    Raises:
        InvalidDocument: it is no such list; the message says which memory.
    """
    items = _items(document)
    if items is None:
        raise InvalidDocument(
            f'{where}: expected a list or {{"results": [...]}}, got {shown(document)}'
        )
    for number, value in enumerate(items, 1):
        place = f"{where}: memory {number}"
        one = reading.checked(_Memory, value, place)
        metadata = {name: whose for name in _WHOSE if (whose := getattr(one, name))}
        metadata |= one.metadata or {}
        if one.created_at is not None:
            metadata["said_at"] = reading.said_at(one.created_at, place)
        fields: dict[str, Any] = {
            "content": one.memory, "metadata": metadata, "tags": one.categories or []
        }  # fmt: skip
        if one.id is not None:
            fields["id"] = "-".join(filter(None, ("mem0", namespace, one.id)))
        yield Found(place, fields | ({"namespace": namespace} if namespace else {}))


def _items(document: object) -> list[Any] | None:
    if isinstance(document, dict):
        document = cast("dict[str, Any]", document).get("results")
    return cast("list[Any]", document) if isinstance(document, list) else None
