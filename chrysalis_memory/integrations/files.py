"""Files and directories kept as memories: each file is one memory, found by recall like any other.

A file's directory is the memory's namespace and its name is metadata, so that moving it is a
change of a memory, which merges with what others write to it meanwhile. A directory is there while
something lies in it; an empty one is kept by a mark, a memory without a name that is archived, and
so left out of recall.
"""

import asyncio
from typing import NamedTuple

from chrysalis_memory import codec, wire
from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue

Place = tuple[str, ...]
"""The names on the way to a file or directory; empty for the root."""

FILE_NAME = "file_name"
"""The metadata key of a file's name; it is empty in the mark of a directory."""

# A memory needs text, a file does not: white space is stored behind this word, and so is a text
# that begins with it.
_BLANK = "(empty)"


class Entry(NamedTuple):
    """What a directory holds."""

    place: Place
    size_bytes: int | None
    """Of a file's text in UTF-8; ``None`` for a directory."""


class Files:
    """A tree of text files in a memory.

    Two memories may come to lie at one place, made on two replicas; the older one is the file there
    until it is moved or removed, and the other is kept behind it.

    Args:
        memory: Where the files are kept.
        namespace: The root; files lie in it and below.

    Raises:
        InvalidValue: the root cannot be a namespace, or is empty.
    """

    def __init__(self, memory: AgentMemory, *, namespace: str) -> None:
        if not wire.check_namespace(namespace):
            raise InvalidValue("files need a namespace of their own, such as 'memories', got ''")
        self._memory = memory
        self._root = namespace

    async def read(self, place: Place) -> str | None:
        """Return a file's text; ``None`` where there is no file."""
        found = await self._file(place)
        return None if found is None else _text_of(found)

    async def is_directory(self, place: Place) -> bool:
        """Tell whether there is a directory."""
        return not place or bool(await self._below(place, limit=1))

    async def exists(self, place: Place) -> bool:
        """Tell whether there is a file or a directory."""
        return await self._file(place) is not None or await self.is_directory(place)

    async def entries(self, directory: Place) -> list[Entry]:
        """Return everything below a directory, in the order of the names on the way to it."""
        found: dict[tuple[Place, bool], Entry] = {}
        for memory in await self._below(directory):
            place = self._place_of(memory)
            name = memory.metadata[FILE_NAME]
            for depth in range(len(directory) + 1, len(place) + (not name)):
                found[place[:depth], True] = Entry(place[:depth], None)
            if name:
                size_bytes = len(_text_of(memory).encode())
                found.setdefault((place, False), Entry(place, size_bytes))
        return [found[key] for key in sorted(found)]

    async def obstacle(self, place: Place) -> Place | None:
        """Return the first file on the way to a place; ``None`` where there is none."""
        for depth in range(1, len(place)):
            if await self._file(place[:depth]) is not None:
                return place[:depth]
        return None

    async def write(self, place: Place, text: str) -> None:
        """Give a file its text, and make it where there is none.

        Raises:
            InvalidValue: a text or a place that the memory refuses; nothing was changed.
        """
        found = await self._file(place)
        if found is not None:
            await self._memory.update(found.id, content=_content_of(text))
            return
        directory, name = place[:-1], place[-1]
        await self._learn(_content_of(text), directory, name)

    async def remove(self, place: Place) -> bool:
        """Forget a file, or a directory with all in it; tell whether there was one."""
        found = await self._file(place)
        gone = await self._below(place) if found is None else [found]
        await asyncio.gather(*(self._memory.forget(memory.id) for memory in gone))
        if gone:
            await self.keep(place[:-1])
        return bool(gone)

    async def move(self, old: Place, new: Place) -> bool:
        """Move a file, or a directory with all in it; tell whether there was one.

        Raises:
            InvalidValue: something would lie too deep; nothing was moved.
        """
        file = await self._file(old)
        if file is not None:
            namespace = self._namespace(new[:-1])
            await self._memory.update(file.id, namespace=namespace, metadata={FILE_NAME: new[-1]})
            await self.keep(old[:-1])
            return True
        below = {
            memory.id: self._namespace(new + self._directory_of(memory)[len(old) :])
            for memory in await self._below(old)
        }
        await asyncio.gather(
            *(self._memory.update(one, namespace=namespace) for one, namespace in below.items())
        )
        await self.keep(old[:-1])
        return bool(below)

    async def keep(self, directory: Place) -> None:
        """Let a directory be there although nothing may lie in it."""
        if not await self.is_directory(directory):
            mark = await self._learn(f"The directory {directory[-1]}", directory, "")
            await self._memory.update(mark, archived=True)

    async def _learn(self, content: str, directory: Place, name: str) -> str:
        """Store what is new at a place, under the id that it gets there on every replica."""
        namespace, metadata = self._namespace(directory), {FILE_NAME: name}
        derived = f"file-{codec.digest(codec.pack([namespace, name])).hex()}"
        known = await self._memory.get(derived)
        # What was made here first keeps its id where it was moved to.
        here = None if known is None else (known.namespace, known.metadata.get(FILE_NAME))
        if here not in (None, (namespace, name)):
            return await self._memory.learn(
                content, namespace=namespace, metadata=metadata, unique=True
            )
        return await self._memory.learn(content, id=derived, namespace=namespace, metadata=metadata)

    async def _file(self, place: Place) -> MemoryDocument | None:
        if not place or self._is_too_deep(place[:-1]):
            return None
        found = await self._memory.find(
            namespace=self._namespace(place[:-1]),
            metadata={FILE_NAME: place[-1]},
            include_archived=True,
            limit=1,
        )
        return found[0] if found else None

    async def _below(self, directory: Place, limit: int | None = None) -> list[MemoryDocument]:
        if self._is_too_deep(directory):
            return []
        return await self._memory.find(
            namespace_prefix=self._namespace(directory),
            metadata={FILE_NAME: {"$exists": True}},
            include_archived=True,
            limit=limit,
        )

    def _is_too_deep(self, directory: Place) -> bool:
        return len("/".join((self._root, *directory))) > wire.NAME_CHARACTERS_MAX

    def _namespace(self, directory: Place) -> str:
        namespace = "/".join((self._root, *directory))
        if self._is_too_deep(directory):
            raise InvalidValue(
                f"a directory's path, from {self._root!r} on, has up to "
                f"{wire.NAME_CHARACTERS_MAX} characters, got {len(namespace):,}"
            )
        return namespace

    def _directory_of(self, memory: MemoryDocument) -> Place:
        return tuple(memory.namespace.removeprefix(self._root).split("/"))[1:]

    def _place_of(self, memory: MemoryDocument) -> Place:
        name = memory.metadata.get(FILE_NAME)
        return (*self._directory_of(memory), name) if name else self._directory_of(memory)


def _content_of(text: str) -> str:
    return _BLANK + text if not text.strip() or text.startswith(_BLANK) else text


def _text_of(memory: MemoryDocument) -> str:
    return memory.content.removeprefix(_BLANK)
