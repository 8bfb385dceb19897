"""Conversations as memories: each message one, in the episode of its conversation."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.importers import reading
from chrysalis_memory.importers.found import Found

_ROLES = ("user", "assistant")


class Turn(NamedTuple):
    """A message of a conversation."""

    key: str
    """What it is called in the export."""
    role: str
    text: str
    at: float | str | None
    """Seconds since 1970, or ISO text."""


def have(document: object, key: str) -> bool:
    """Tell whether a document is a list of conversations that have ``key``."""
    items = cast("list[Any]", document) if isinstance(document, list) else []
    return bool(items) and isinstance(items[0], dict) and key in items[0]


def of(document: object, where: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the conversations of an export, each with its name in errors.

    Raises:
        InvalidDocument: the document is no list.
    """
    if not isinstance(document, list):
        raise InvalidDocument(
            f"{where}: an export is a list of conversations, got {_kind(document)}"
        )
    for number, value in enumerate(cast("list[Any]", document), 1):
        yield f"{where}: conversation {number}", value


def memories(
    turns: Iterable[Turn], *, episode: str, title: str | None, where: str, namespace: str
) -> Iterator[Found]:
    """Iterate over the messages that user and assistant wrote, numbered from 0.

    Args:
        turns: All messages, first to last.
        episode: The conversation's id.
        title: What it is called.
        where: Its name in errors.
        namespace: Where the memories belong; ``""`` leaves that open.

    Raises:
        InvalidDocument: a moment that is none.
    """
    said = (turn for turn in turns if turn.role in _ROLES and turn.text)
    for position, turn in enumerate(said):
        place = f"{where}, message {shown(turn.key)}"
        metadata: dict[str, Any] = {"role": turn.role}
        if title:
            metadata["conversation"] = title
        if turn.at is not None:
            metadata["said_at"] = reading.said_at(turn.at, place)
        fields: dict[str, Any] = {
            "content": turn.text, "memory_type": "episodic", "metadata": metadata,
            "episode": episode, "position": position,
        }  # fmt: skip
        yield Found(place, fields | ({"namespace": namespace} if namespace else {}))


def _kind(value: object) -> str:
    return f"{type(value).__name__}: {shown(value)}"
