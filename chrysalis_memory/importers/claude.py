"""The export of Claude: ``conversations.json``, each conversation a list of messages.

What the user and the assistant wrote is kept; thoughts, tool calls, attachments and files are not.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from chrysalis_memory.importers import conversations, reading
from chrysalis_memory.importers.found import Found


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Part(_Shape):
    type: str
    text: str | None = None


class _Message(_Shape):
    uuid: str
    sender: str
    text: str = ""
    content: list[_Part] = []
    created_at: str | None = None


class _Conversation(_Shape):
    uuid: str
    name: str | None = None
    chat_messages: list[_Message]


def matches(document: object) -> bool:
    """Tell whether a JSON document is such an export."""
    return conversations.have(document, "chat_messages")


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
        turns = (
            conversations.Turn(one.uuid, _role(one), _text(one), one.created_at)
            for one in conversation.chat_messages
        )
        yield from conversations.memories(
            turns,
            episode=conversation.uuid,
            title=conversation.name,
            where=place,
            namespace=namespace,
        )


def _role(message: _Message) -> str:
    return "user" if message.sender == "human" else message.sender


def _text(message: _Message) -> str:
    parts = [part.text.strip() for part in message.content if part.type == "text" and part.text]
    return "\n\n".join(filter(None, parts)) or message.text.strip()
