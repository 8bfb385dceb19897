"""Items of a LangGraph store as memories: their ids, places, texts and records.

An item is one memory. Its text is the first that is indexed, its metadata hold the whole value as
one register, so that of two replicas' values one wins whole. Each further text that is indexed is
a memory beneath it, for a vector of its own.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from chrysalis_memory import codec, wire
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Condition

RECORD = "langgraph.record"
"""Metadata of an item: its key, its value, and how many of its texts are indexed."""
ITEM = "langgraph.item"
"""Metadata of an item and of what lies beneath it: the item's id."""
PART = "langgraph.part"
"""Metadata of whatever is searched by meaning: which of the item's texts it is, from 0."""
TTL_MINUTES = "langgraph.ttl_minutes"

_RECORD_BYTES_MAX = wire.METADATA_BYTES_MAX - 1024
_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
_FILTER_KEY = re.compile(r"[A-Za-z0-9_.-]+")

Labels = tuple[str, ...]


class Address(NamedTuple):
    """What names an item."""

    labels: Labels
    key: str

    @property
    def id(self) -> str:
        """The id of the item's memory, the same on every replica."""
        parts = [[codec.check_text(label, what="label") for label in self.labels],
                 codec.check_text(self.key, what="key")]  # fmt: skip
        return f"item-{codec.digest(codec.pack(parts)).hex()}"


class Record(NamedTuple):
    """An item as its memory holds it."""

    labels: Labels
    key: str
    value: dict[str, Any]
    texts: int
    created_at: datetime
    updated_at: datetime


def namespace_of(labels: Sequence[str]) -> str:
    """Return the namespace that stands for labels, in which ``/`` parts one from the next."""
    return "/".join(label.replace("%", "%25").replace("/", "%2F") for label in labels)


def labels_of(namespace: str) -> Labels:
    """Return the labels that a namespace stands for."""
    return tuple(unquote(segment) for segment in namespace.split("/")) if namespace else ()


def plain(address: Address, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value as it will be read again.

    Raises:
        InvalidValue: it is not JSON, or larger than metadata may be.
    """
    text = codec.canonical_json(value)
    if (size := len(text.encode())) > _RECORD_BYTES_MAX:
        raise InvalidValue(
            f"the value of {address.key!r} in {address.labels} takes {size:,} bytes of JSON, the "
            f"limit is {_RECORD_BYTES_MAX:,}; split it, or put long text into a file"
        )
    return codec.parse_json(text)


def memories(
    address: Address, value: dict[str, Any], texts: Sequence[str], *, text: str, ttl: float | None
) -> list[dict[str, Any]]:
    """Return what to learn for an item: its own memory, then one for each further text.

    Args:
        address: What names the item.
        value: Its value, as :func:`plain` returned it.
        texts: What is indexed, each to get a vector of its own; may be empty.
        text: What the memory says where nothing is indexed.
        ttl: After how many minutes it expires; ``None``: never.
    """
    spoken = [one for one in dict.fromkeys(texts) if one.strip()]
    record = {"key": address.key, "value": value, "texts": len(spoken)}
    shared = {
        "namespace": namespace_of(address.labels),
        "expires_at": None if ttl is None else expiry(ttl),
    }
    # ``None`` takes back what an earlier value has left.
    own = {RECORD: record, ITEM: address.id, PART: 0 if spoken else None, TTL_MINUTES: ttl}
    item = {"id": address.id, "content": spoken[0] if spoken else text, "metadata": own}
    parts = [
        {
            "id": f"{address.id}-{number}",
            "content": one,
            "parents": [address.id],
            "metadata": {ITEM: address.id, PART: number, TTL_MINUTES: ttl},
        }
        for number, one in enumerate(spoken[1:], 1)
    ]
    return [shared | one for one in (item, *parts)]


def expiry(ttl_minutes: float) -> datetime:
    """Return when something expires that was used now."""
    return datetime.now(UTC) + timedelta(minutes=ttl_minutes)


def entry(memory: MemoryDocument, name: str) -> Any:
    """Return one entry of a memory's metadata, without reading the others; ``None`` if absent."""
    register = memory.state.metadata.get(name)
    return None if register is None else codec.parse_json(register[2])


def item_id(memory: MemoryDocument) -> str:
    """Return the item that a memory is of; in a view of a memory, its id is another."""
    return entry(memory, ITEM)


def record_of(memory: MemoryDocument) -> Record | None:
    """Return the item that a memory holds; ``None`` if it holds none."""
    record = entry(memory, RECORD)
    if record is None:
        return None
    return Record(
        labels=labels_of(memory.namespace),
        key=record["key"],
        value=record["value"],
        texts=record["texts"],
        created_at=cast("datetime", memory.created_at),
        # Using an item moves its expiry, which is no change of the item.
        updated_at=wire.moment(memory.state.metadata[RECORD][0]),
    )


def check_filter(wanted: Mapping[str, Any]) -> None:
    """Refuse a filter that no item could be meant by.

    Raises:
        InvalidValue: a key or an operator that is unknown, an operand that cannot be compared.
    """
    for key, value in wanted.items():
        if not isinstance(key, str) or not _FILTER_KEY.fullmatch(key):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(
                f"Invalid filter key: {codec.shown(key)}; "
                "use letters, digits, '_', '-', and '.' between the keys of nested values"
            )
        if _is_nested(value):
            check_filter(value)
        else:
            _conditions(value)


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether an item's value has what a checked filter asks for."""
    return all(_holds(_at(value, key), condition) for key, condition in wanted.items())


def _holds(found: Any, wanted: Any) -> bool:
    if _is_nested(wanted):
        return isinstance(found, Mapping) and matches(cast("Mapping[str, Any]", found), wanted)
    return all(condition.holds({"value": found}) for condition in _conditions(wanted))


def _is_nested(wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return False
    keys = list(cast("Mapping[Any, Any]", wanted))
    return bool(keys) and not any(str(key).startswith("$") for key in keys)


def _conditions(wanted: Any) -> list[Condition]:
    operators = {"$eq": wanted}
    if isinstance(wanted, Mapping) and wanted:
        operators = cast("dict[str, Any]", wanted)
    if unknown := [name for name in operators if name not in _OPERATORS]:
        raise InvalidValue(f"filter operator {unknown[0]!r} is unknown; use {' '.join(_OPERATORS)}")
    return [Condition("value", name, operand) for name, operand in operators.items()]


def _at(value: Mapping[str, Any], path: str) -> Any:
    if path in value:
        return value[path]
    found: Any = value
    for key in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, Any]", found).get(key)
    return found
