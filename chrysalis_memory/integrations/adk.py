"""Google ADK's memory kept in an agent's memory: a ``BaseMemoryService`` (extra ``adk``)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chrysalis_memory import codec, wire
from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.agent.view import MemoryView
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import ChrysalisError, InvalidValue
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.learning import NewMemory

try:
    from google.adk.events.event import Event
    from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
    from google.adk.memory.memory_entry import MemoryEntry
    from google.adk.sessions.session import Session
    from google.genai.types import Content, Part
except ImportError as error:
    raise ChrysalisError(
        f"Google ADK's memory needs the module {error.name or 'google.adk'!r}, which is not "
        "installed: pip install 'chrysalis-memory[adk]'"
    ) from error

__all__ = ["ChrysalisMemoryService"]


class ChrysalisMemoryService(BaseMemoryService):
    """ADK's long-term memory, found by meaning and by words.

    Every event with text is a memory in the namespace of its app and user, and a turn of its
    session. Of an event its text is kept, neither files nor function calls. An event is learned
    once: adding its session again changes nothing, and brings nothing back that was deleted.

    Args:
        memory: Where events are kept; started here if it is not yet, and then stopped by
            :meth:`close`.
        namespace: Where in it; a user's memories lie in ``namespace/app/user``.
        k: How many memories a search returns at most.

    Raises:
        InvalidValue: the namespace or ``k`` is refused, or the memory is a view.
    """

    def __init__(self, memory: AgentMemory, *, namespace: str = "adk", k: int = 10) -> None:
        if not wire.check_namespace(namespace):
            raise InvalidValue("events need a namespace of their own, such as 'adk', got ''")
        if isinstance(memory, MemoryView):
            # A view does not tell what was forgotten, and that must not be learned again.
            raise InvalidValue(
                "this service takes the whole memory, not a view of it; it keeps each user's "
                "events in a namespace of their own"
            )
        self._k = wire.check_limit(k, what="k")
        self._memory = memory
        self._root = namespace
        self._anywhere = Anywhere(memory)

    def close(self) -> None:
        """Stop the memory if it was started here; closing twice is allowed."""
        self._anywhere.close()

    async def add_session_to_memory(self, session: Session) -> None:
        """Learn the events of a session that are not known yet."""
        await self.add_events_to_memory(
            app_name=session.app_name,
            user_id=session.user_id,
            events=session.events,
            session_id=session.id,
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Learn those of some events that are not known yet.

        Args:
            app_name: Whose app.
            user_id: Whose memory.
            events: The events.
            session_id: The episode they are turns of.
            custom_metadata: Kept with each, and returned with it.

        Raises:
            InvalidValue: a value that is refused; nothing was stored.
        """
        namespace = self._namespace(app_name, user_id)
        await self._learn_unknown(
            [
                NewMemory.of(
                    id=_memory_id(namespace, event.id),
                    content=text,
                    namespace=namespace,
                    memory_type="episodic",
                    episode=session_id,
                    position=None if session_id is None else round(event.timestamp * 1_000_000),
                    metadata={
                        "adk_id": event.id,
                        "author": event.author,
                        "role": None if event.content is None else event.content.role,
                        "timestamp": datetime.fromtimestamp(event.timestamp, UTC).isoformat(),
                        "custom_metadata": dict(custom_metadata or {}),
                    },
                )
                for event in events
                if (text := _text(event.content)).strip()
            ]
        )

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Learn memories as they are; one whose id is known is left as it is.

        Raises:
            InvalidValue: one without text, or a value that is refused; nothing was stored.
        """
        namespace = self._namespace(app_name, user_id)
        await self._learn_unknown(
            [
                NewMemory.of(
                    id=None if entry.id is None else _memory_id(namespace, entry.id),
                    content=_text(entry.content),
                    namespace=namespace,
                    metadata={
                        "adk_id": entry.id,
                        "author": entry.author,
                        "role": entry.content.role,
                        "timestamp": entry.timestamp,
                        "custom_metadata": dict(custom_metadata or {}) | entry.custom_metadata,
                    },
                )
                for entry in memories
            ]
        )

    async def search_memory(
        self, *, app_name: str, user_id: str, query: str
    ) -> SearchMemoryResponse:
        """Return the memories of a user that answer a query, best first."""
        namespace = self._namespace(app_name, user_id)
        if not query.strip():
            return SearchMemoryResponse()
        found = await self._anywhere.arun(
            lambda: self._memory.recall(query, self._k, namespace=namespace)
        )
        return SearchMemoryResponse(memories=[_entry(memory) for memory in found])

    async def delete_memory(
        self, *, app_name: str, user_id: str, memory_id: str | None = None
    ) -> None:
        """Forget a memory of a user by the id that a search returned; no other is touched."""
        namespace = self._namespace(app_name, user_id)
        for one in (_memory_id(namespace, memory_id), memory_id) if memory_id else ():
            await self._anywhere.arun(lambda one=one: self._forget(namespace, one))

    async def _forget(self, namespace: str, memory_id: str) -> None:
        found = await self._memory.get(memory_id)
        if found is not None and found.namespace == namespace:
            await self._memory.forget(memory_id)

    async def _learn_unknown(self, new: Sequence[NewMemory]) -> None:
        await self._anywhere.arun(lambda: self._learn(new))

    async def _learn(self, new: Sequence[NewMemory]) -> None:
        storage = self._memory.storage
        # Forgotten ones are known: learning them would bring them back.
        known = await asyncio.to_thread(
            storage.read,
            lambda session: {
                memory.id
                for memory in new
                if memory.id is not None and session.load(memory.id) is not None
            },
        )
        await self._memory.learn_many(memory for memory in new if memory.id not in known)

    def _namespace(self, app_name: str, user_id: str) -> str:
        names = [name.replace("%", "%25").replace("/", "%2F") for name in (app_name, user_id)]
        return "/".join([self._root, *names])


def _memory_id(namespace: str, name: str) -> str:
    return f"adk-{codec.digest(codec.pack([namespace, name])).hex()}"


def _text(content: Content | None) -> str:
    parts = (content.parts if content is not None else None) or []
    return " ".join(part.text for part in parts if part.text)


def _entry(memory: MemoryDocument) -> MemoryEntry:
    known: dict[str, Any] = memory.metadata
    return MemoryEntry(
        id=known.get("adk_id", memory.id),
        content=Content(role=known.get("role"), parts=[Part(text=memory.content)]),
        author=known.get("author"),
        timestamp=known.get("timestamp"),
        custom_metadata=known.get("custom_metadata", {}),
    )
