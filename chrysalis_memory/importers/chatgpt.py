"""The export of ChatGPT: ``conversations.json``, each conversation a tree of messages.

Asking again or editing a message makes a branch; the branch that was shown last is read, from its
end, ``current_node``, up to the root. What the user and the assistant wrote is kept; instructions,
tool calls and their results, files and pictures are not.
"""

from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.importers import conversations, reading
from chrysalis_memory.importers.found import Found


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Author(_Shape):
    role: str


class _Content(_Shape):
    content_type: str
    parts: list[Any] = []


class _Message(_Shape):
    author: _Author
    content: _Content
    create_time: float | None = None
    metadata: dict[str, Any] | None = None


class _Node(_Shape):
    message: _Message | None = None
    parent: str | None = None


class _Conversation(_Shape):
    id: str | None = None
    conversation_id: str | None = None
    title: str | None = None
    mapping: dict[str, _Node]
    current_node: str | None = None


def matches(document: object) -> bool:
    """Tell whether a JSON document is such an export."""
    return conversations.have(document, "mapping")


def memories(document: object, where: str, namespace: str) -> Iterator[Found]:
    """Iterate over the messages of an export, conversation by conversation.

    Args:
        document: The content of ``conversations.json``.
        where: Its name in errors.
        namespace: Where the memories belong; ``""`` leaves that open.

    Raises:
        InvalidDocument: it is no such export; the message says which conversation.
    """
    for place, value in conversations.of(document, where):
        conversation = reading.checked(_Conversation, value, place)
        name = conversation.conversation_id or conversation.id
        if not name:
            raise InvalidDocument(f"{place}: a conversation has an id")
        turns = (
            conversations.Turn(key, message.author.role, _text(message), message.create_time)
            for key, message in _shown(conversation, place)
        )
        yield from conversations.memories(
            turns, episode=name, title=conversation.title, where=place, namespace=namespace
        )


def _shown(conversation: _Conversation, place: str) -> list[tuple[str, _Message]]:
    """Return the messages of the branch that was shown last, first to last."""
    found: list[tuple[str, _Message]] = []
    if not conversation.mapping:
        return found
    seen: set[str] = set()
    key = conversation.current_node
    if key is None:
        raise InvalidDocument(f"{place}: current_node is missing")
    while key is not None:
        node = conversation.mapping.get(key)
        if node is None or key in seen:
            reason = "leads in a circle" if node else "is not in the mapping"
            raise InvalidDocument(f"{place}: message {key!r} {reason}")
        seen.add(key)
        if node.message is not None and _is_said(node.message):
            found.append((key, node.message))
        key = node.parent
    return found[::-1]


def _is_said(message: _Message) -> bool:
    hidden = (message.metadata or {}).get("is_visually_hidden_from_conversation")
    return message.content.content_type in ("text", "multimodal_text") and not hidden


def _text(message: _Message) -> str:
    return "\n\n".join(filter(None, map(_part, message.content.parts)))


def _part(part: object) -> str:
    """Return the text of a part; pictures and files have none, speech has what was understood."""
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        part = fields.get("text") if fields.get("content_type") == "audio_transcription" else ""
    return part.strip() if isinstance(part, str) else ""
