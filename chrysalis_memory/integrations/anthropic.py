"""Claude's memory tool, ``memory_20250818``, kept in an agent's memory (extra ``anthropic``).

What the tool answers and raises is, word for word, what the file system tool of Anthropic's SDK
does. Beneath, each file is a memory: recall finds it, and it merges with other replicas.
"""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.errors import ChrysalisError, InvalidValue
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.integrations.files import Files, Place
from embedders.errors import InvalidText, TextTooLong

try:
    from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
    from anthropic.types.beta import (
        BetaCacheControlEphemeralParam,
        BetaMemoryTool20250818CreateCommand,
        BetaMemoryTool20250818DeleteCommand,
        BetaMemoryTool20250818InsertCommand,
        BetaMemoryTool20250818RenameCommand,
        BetaMemoryTool20250818StrReplaceCommand,
        BetaMemoryTool20250818ViewCommand,
    )
except ImportError as error:
    raise ChrysalisError(
        f"Claude's memory tool needs the module {error.name or 'anthropic'!r}, which is not "
        "installed: pip install 'chrysalis-memory[anthropic]'"
    ) from error

__all__ = ["AsyncChrysalisMemoryTool", "ChrysalisMemoryTool"]

_ROOT = "/memories"
_LINES_MAX = 999_999
_NUMBER_WIDTH = 6
_NAME_BYTES_MAX = 255
_LEVELS = 2
_DIRECTORY_SIZE = "4K"  # of an empty directory on the commonest file systems


class AsyncChrysalisMemoryTool(BetaAsyncAbstractMemoryTool):
    """Claude's memory tool for the asynchronous client.

    Args:
        memory: A started memory, in which the files are kept.
        namespace: Where in it; ``/memories/notes/tea.md`` lies in ``memories/notes``.
        cache_control: Where the API is to cache the prompt.

    Raises:
        InvalidValue: the namespace is refused.
    """

    def __init__(
        self,
        memory: AgentMemory,
        *,
        namespace: str = "memories",
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._files = Files(memory, namespace=namespace)
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Let one command end before the next reads, and tell the model what is refused."""
        async with self._lock:
            try:
                yield
            except (InvalidValue, InvalidText, TextTooLong) as error:
                raise ToolError(str(error)) from error

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file's numbered lines, or what a directory holds two levels down."""
        async with self._turn():
            place = _place(command.path)
            text = await self._files.read(place)
            if text is not None:
                return _numbered_file(command.path, text, command.view_range)
            if await self._files.is_directory(place):
                return await self._listing(command.path, place)
            if _is_too_long(place) and await self._files.is_directory(place[:-1]):
                raise _os_error(errno.ENAMETOOLONG, place)
            raise _missing(command.path)

    async def _listing(self, path: str, directory: Place) -> str:
        lines = [f"{_DIRECTORY_SIZE}\t{path}"]
        for entry in await self._files.entries(directory):
            below = entry.place[len(directory) :]
            if len(below) > _LEVELS or any(name.startswith(".") for name in below):
                continue
            shown = f"{path}/{'/'.join(below)}"
            if entry.size_bytes is None:
                lines.append(f"{_DIRECTORY_SIZE}\t{shown}/")
            else:
                lines.append(f"{_readable(entry.size_bytes)}\t{shown}")
        return (
            f"Here're the files and directories up to {_LEVELS} levels deep in {path}, "
            "excluding hidden items:\n" + "\n".join(lines)
        )

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Make a file where there is nothing."""
        async with self._turn():
            place = _place(command.path)
            if await self._is_blocked(place):
                raise _os_error(errno.ENOTDIR, place)
            if _is_too_long(place):
                await self._files.keep(place[:-1])
                raise _os_error(errno.ENAMETOOLONG, place)
            if await self._files.exists(place):
                raise ToolError(f"File {command.path} already exists")
            await self._files.write(place, command.file_text)
            return f"File created successfully at: {command.path}"

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that occurs once in a file."""
        async with self._turn():
            place = _place(command.path)
            text = await self._text(command.path, place)
            old, path = command.old_str, command.path
            count = text.count(old)
            if count == 0:
                raise ToolError(
                    f"No replacement was performed, old_str `{old}` did not appear verbatim "
                    f"in {path}."
                )
            if count > 1:
                lines = ", ".join(map(str, _lines_with(text, old)))
                raise ToolError(
                    f"No replacement was performed. Multiple occurrences of old_str `{old}` "
                    f"in lines: {lines}. Please ensure it is unique"
                )
            new = text.replace(old, command.new_str)
            await self._files.write(place, new)
            return (
                "The memory file has been edited. Here is the snippet showing the change "
                "(with line numbers):\n" + _around(new, text.count("\n", 0, text.index(old)))
            )

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        async with self._turn():
            place = _place(command.path)
            text = await self._text(command.path, place)
            lines = text.removesuffix("\n").split("\n") if text else []
            if not 0 <= command.insert_line <= len(lines):
                raise ToolError(
                    f"Invalid `insert_line` parameter: {command.insert_line}. "
                    f"It should be within the range [0, {len(lines)}]."
                )
            lines.insert(command.insert_line, command.insert_text.rstrip("\n"))
            new = "\n".join(lines)
            await self._files.write(place, new if new.endswith("\n") else f"{new}\n")
            return f"The file {command.path} has been edited."

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Forget a file, or a directory with all in it."""
        async with self._turn():
            place = _place(command.path)
            if not place:
                raise ToolError(f"Cannot delete the {_ROOT} directory itself")
            if not await self._files.remove(place):
                raise ToolError(f"The path {command.path} does not exist")
            return f"Successfully deleted {command.path}"

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Move a file, or a directory with all in it."""
        async with self._turn():
            old, new = _place(command.old_path), _place(command.new_path)
            if not old:
                raise ToolError(f"Cannot rename the {_ROOT} directory itself")
            if await self._files.exists(new):
                raise ToolError(f"The destination {command.new_path} already exists")
            is_blocked = await self._is_blocked(new)
            try:
                await self._move(old, new, is_blocked=is_blocked)
            except OSError as error:
                if not is_blocked:
                    await self._files.keep(new[:-1])  # made before anything could be moved
                if isinstance(error, FileNotFoundError):
                    raise ToolError(f"The path {command.old_path} does not exist") from error
                raise
            return f"Successfully renamed {command.old_path} to {command.new_path}"

    async def _move(self, old: Place, new: Place, *, is_blocked: bool) -> None:
        """Move, or fail in the order in which the system call ``rename`` looks at things."""
        files = self._files
        # What lies on the way to the new place is there by now.
        is_inside = len(new) > len(old) and new[: len(old)] == old
        is_way = new[: len(old) - 1] == old[:-1] or await files.is_directory(old[:-1])
        if await files.obstacle(old) is not None:
            code = errno.ENOTDIR
        elif not is_way:
            code = errno.ENOENT
        elif is_blocked:
            code = errno.ENOTDIR
        elif _is_too_long(old):
            code = errno.ENAMETOOLONG
        elif not is_inside and not await files.exists(old):
            code = errno.ENOENT
        elif _is_too_long(new):
            code = errno.ENAMETOOLONG
        elif is_inside:
            code = errno.EINVAL
        else:
            await files.move(old, new)
            return
        raise _os_error(code, old, new)

    async def _is_blocked(self, place: Place) -> bool:
        """Tell whether a file is where a directory would have to be.

        Raises:
            OSError: a directory above that one cannot be made either.
        """
        blocked = await self._files.obstacle(place)
        depth = len(place) if blocked is None else len(blocked) + 1
        if depth < len(place):
            raise _os_error(errno.ENOTDIR, place[:depth])
        for depth in range(1, len(place)):
            if _is_too_long(place[:depth]):
                raise _os_error(errno.ENAMETOOLONG, place[:depth])
        return blocked is not None

    async def _text(self, path: str, place: Place) -> str:
        text = await self._files.read(place)
        if text is not None:
            return text
        if await self._files.is_directory(place):
            raise ToolError(f"The path {path} is not a file.")
        raise _missing(path)

    async def clear_all_memory(self) -> str:
        """Forget every file."""
        async with self._turn():
            await self._files.remove(())
            return "All memory cleared"


class ChrysalisMemoryTool(BetaAbstractMemoryTool):
    """Claude's memory tool for the synchronous client; :meth:`close` it at the end.

    Args:
        memory: In which the files are kept; started here if it is not yet.
        namespace: As for :class:`AsyncChrysalisMemoryTool`.
        cache_control: Where the API is to cache the prompt.

    Raises:
        InvalidValue: the namespace is refused.
    """

    def __init__(
        self,
        memory: AgentMemory,
        *,
        namespace: str = "memories",
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._tool = AsyncChrysalisMemoryTool(memory, namespace=namespace)
        self._anywhere = Anywhere(memory)

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file's numbered lines, or what a directory holds two levels down."""
        return self._anywhere.run(lambda: self._tool.view(command))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Make a file where there is nothing."""
        return self._anywhere.run(lambda: self._tool.create(command))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that occurs once in a file."""
        return self._anywhere.run(lambda: self._tool.str_replace(command))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        return self._anywhere.run(lambda: self._tool.insert(command))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Forget a file, or a directory with all in it."""
        return self._anywhere.run(lambda: self._tool.delete(command))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Move a file, or a directory with all in it."""
        return self._anywhere.run(lambda: self._tool.rename(command))

    def clear_all_memory(self) -> str:
        """Forget every file."""
        return self._anywhere.run(self._tool.clear_all_memory)

    def close(self) -> None:
        """Stop the memory if it was started here; closing twice is allowed."""
        self._anywhere.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _place(path: str) -> Place:
    """Return where a path leads, which must be below the root.

    Raises:
        ToolError: it leads elsewhere.
        ValueError: it holds a NUL character.
    """
    if not path.startswith(_ROOT):
        raise ToolError(f"Path must start with {_ROOT}, got: {path}")
    if "\0" in path:
        raise ValueError("embedded null byte")
    names = [_ROOT]
    for name in path[len(_ROOT) :].split("/"):
        if name == "..":
            if not names:
                break
            names.pop()
        elif name not in ("", "."):
            names.append(name if names else f"/{name}")
    if names[:1] != [_ROOT]:
        raise ToolError(f"Path {path} would escape {_ROOT} directory")
    return tuple(names[1:])


def _is_too_long(place: Place) -> bool:
    return bool(place) and len(place[-1].encode()) > _NAME_BYTES_MAX


def _missing(path: str) -> ToolError:
    return ToolError(f"The path {path} does not exist. Please provide a valid path.")


def _os_error(code: int, place: Place, other: Place | None = None) -> OSError:
    """Return the error that an operating system would raise."""
    second = None if other is None else "/".join((_ROOT, *other))
    return OSError(code, os.strerror(code), "/".join((_ROOT, *place)), None, second)


def _numbered(lines: Sequence[str], first: int) -> str:
    return "\n".join(
        f"{number:>{_NUMBER_WIDTH}}\t{line}" for number, line in enumerate(lines, first)
    )


def _numbered_file(path: str, text: str, view_range: Sequence[int] | None) -> str:
    lines = text.split("\n")
    if len(lines) > _LINES_MAX:
        raise ToolError(f"File {path} exceeds maximum line limit of {_LINES_MAX:,} lines.")
    before, end = 0, len(lines)
    if view_range and len(view_range) == 2:
        before = max(view_range[0], 1) - 1
        end = end if view_range[1] == -1 else view_range[1]
    return f"Here's the content of {path} with line numbers:\n" + _numbered(
        lines[before:end], before + 1
    )


def _lines_with(text: str, part: str) -> list[int]:
    """Return the number of the line of each place where ``part`` begins, counted from 1."""
    found: list[int] = []
    at = text.find(part)
    while at != -1:
        found.append(text.count("\n", 0, at) + 1)
        at = text.find(part, at + 1)
    return found


def _around(text: str, line: int) -> str:
    """Return a line, counted from 0, with two lines on either side."""
    first = max(line - 2, 0)
    return _numbered(text.split("\n")[first : line + 3], first + 1)


def _readable(size_bytes: int) -> str:
    unit = min(max(size_bytes.bit_length() - 1, 0) // 10, 3)
    size = size_bytes / 1024**unit
    return f"{size:.0f}{'BKMG'[unit]}" if size == int(size) else f"{size:.1f}{'BKMG'[unit]}"
