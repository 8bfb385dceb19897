"""The front door: an agent's memory."""

from typing import TYPE_CHECKING

from chrysalis_memory.agent.changing import Changing
from chrysalis_memory.agent.copying import Copying
from chrysalis_memory.agent.finding import Finding
from chrysalis_memory.agent.indexing import Indexing

if TYPE_CHECKING:
    from chrysalis_memory.agent.view import MemoryView

__all__ = ["AgentMemory"]


class AgentMemory(Changing, Finding, Copying, Indexing):
    """Semantic memory of one agent, in one file, offline.

    Args:
        agent_id: Any name; it decides the default file, and who writes.
        path: The database file; default: one per agent in the user's data directory.
            ``":memory:"`` is a private temporary file, ``"postgresql://..."`` a database.
        embedder: A name such as ``"minilm"`` or ``"ollama:nomic-embed-text"``, or an
            :class:`embedders.Embedder`. By default the one the file was made with, and ``"minilm"``
            for a new file.
        embedding_fn: Any function from a text to a list of floats, sync or async, in place of
            ``embedder``.
        must_exist: Whether :meth:`start` raises where there is no file yet, instead of making one.
        config: Settings; by default read from the environment.
        settings: Single settings of :class:`AgentMemoryConfig`, which win over the environment.

    Raises:
        InvalidValue: an argument that is not acceptable.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AgentMemory("ada", path=":memory:", embedder="hashing") as memory:
        ...         await memory.learn("The user prefers Python", tags=["preference"])
        ...         return [m.content for m in await memory.recall("python")]
        >>> asyncio.run(main())
        ['The user prefers Python']
    """

    @property
    def is_read_only(self) -> bool:
        """Whether every write is refused; true of some views alone."""
        return False

    def within(self, namespace: str, *, read_only: bool = False) -> "MemoryView":
        """Return a view of this memory: a namespace and all below it, and nothing else.

        It shares the store; every read and write of it is confined. See :mod:`.view`.

        Args:
            namespace: The root of the view, such as ``"user/alice"``; ``""`` for everything.
            read_only: Whether the view refuses all writes, and counts no uses.

        Raises:
            InvalidValue: no namespace.
            OutOfView: this is a view itself, and the namespace lies outside.
        """
        from chrysalis_memory.agent.view import MemoryView

        return MemoryView(self, namespace, read_only=read_only)
