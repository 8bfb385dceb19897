"""Random commands for Claude's memory tool, and what a file system's answer looks like from inside.

``python -m tests.anthropic_commands 10000`` runs that many, and counts the differences.
"""

import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anthropic.lib.tools._beta_builtin_memory_tool import (
    BetaAsyncLocalFilesystemMemoryTool,
    BetaLocalFilesystemMemoryTool,
    _format_file_size,
)

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.anthropic import AsyncChrysalisMemoryTool, ChrysalisMemoryTool
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.integrations.files import Files

Command = dict[str, Any]
Run = Callable[[Command], Any]
Tree = dict[str, str | None]

_NAMES = (
    "a", "b", "a.md", "notes", "notes.txt", "Notes", "a!", "a b", "日記", "naïve.txt", "🦋",
    "%", "a_b", "a%b", "[x]*?", "'\"", "\\", "tab\there", "line\nbreak", "...", "~", ".hidden",
    "x" * 255, "é" * 127, " ", "-rf", "e\u0301", "é", "memories",
)  # fmt: skip
# What pathlib makes of these differs between versions of Python, but for viewing and creating.
_LONG_NAMES = ("x" * 256, "é" * 128)
_LINES = (
    "", "", " ", "\t", "tea", "tea", "tea at four", "aaa", "日本語", "🦋 é", "(empty)", "\r", "x\r",
    "w" * 3000, "The user prefers Python", "\x0b", "\u2028", "\x85",
)  # fmt: skip
_STRAY = (
    "/etc/passwd", "", "/", "memories/a", "/memories/..", "/memories/../a", "/memories/a/../../b",
    "/memories/../../memories/a", "/memories/../memories/a", "/memories/../memories", "/memoriesx",
    "/memories../a", "/memories/./a", "/memories//a/", "/memories/", "/memories", "//memories/a",
    "/memories/a/../b", "/memories/a\0b", "/Memories/a", "/memories/../memoriesx/a",
)  # fmt: skip
_KINDS = ("view",) * 5 + ("create",) * 5 + ("str_replace", "insert") * 3 + ("rename",) * 4
_KINDS += ("delete",) * 2


class Outcome(NamedTuple):
    """What a command comes to: what it returns, or which error with which text."""

    kind: str
    text: str


class Author:
    """Writes commands, mostly about files and directories that are there.

    Args:
        rng: Decides.
        root: The folder of the files, as it lies on the disk.
    """

    def __init__(self, rng: random.Random, root: Path) -> None:
        self._rng = rng
        self._root = root

    def command(self) -> Command:
        kind = self._rng.choice(_KINDS)
        return {"command": kind, **getattr(self, f"_{kind}")()}

    def _view(self) -> Command:
        ranges = [None, None, [], [1, -1], [2, 3], [0, 2], [-3, 5], [2, 1], [9, 99], [1, -2], [4]]
        asked = self._rng.choice(ranges)
        return {"path": self._path(may_be_long=True)} | (
            {} if asked is None else {"view_range": asked}
        )

    def _create(self) -> Command:
        return {"path": self._path(may_be_long=True), "file_text": self._text()}

    def _str_replace(self) -> Command:
        path = self._path(file=True)
        text = self._content(path)
        start = self._rng.randrange(len(text) + 1)
        part = text[start : start + self._rng.choice([0, 1, 3, 8, 40])]
        old = self._rng.choice([part, part, part, "tea", "aa", "\n", "nowhere"])
        return {"path": path, "old_str": old, "new_str": self._text()}

    def _insert(self) -> Command:
        path = self._path(file=True)
        lines = self._content(path).count("\n") + 1
        line = self._rng.randint(-1, lines + 1)
        return {"path": path, "insert_line": line, "insert_text": self._text()}

    def _delete(self) -> Command:
        return {"path": self._path()}

    def _rename(self) -> Command:
        old, new = self._path(), self._path()
        place = self._root / old.removeprefix("/memories").lstrip("/")
        deepest = max((len(str(one)) for one in place.rglob("*")), default=0) - len(str(place))
        # A namespace has up to 512 characters, a path of a file system more.
        return {"old_path": old, "new_path": new if deepest + len(new) < 480 else "/memories/a"}

    def _path(self, *, file: bool = False, may_be_long: bool = False) -> str:
        there = [found for found in self._root.rglob("*") if found.is_file() or not file]
        if self._rng.random() < 0.04:
            return self._rng.choice(_STRAY)
        if there and self._rng.random() < (0.9 if file else 0.5):
            return self._spelled(self._rng.choice(sorted(there)))
        folders = [self._root, *(found for found in there if found.is_dir())]
        base = self._rng.choice(
            sorted(folders if file or self._rng.random() < 0.8 else [*folders, *there])
        )
        for _ in range(self._rng.choice([1, 1, 1, 1, 2, 2, 3])):
            base /= self._name(base)
        if may_be_long and self._rng.random() < 0.03:
            base /= self._rng.choice(_LONG_NAMES)
        return self._spelled(base)

    def _name(self, base: Path) -> str:
        name = self._rng.choice(_NAMES)
        return name if len(str(base / name)) < len(str(self._root)) + 480 else "a"

    def _spelled(self, path: Path) -> str:
        plain = "/".join(("/memories", *path.relative_to(self._root).parts))
        return plain + self._rng.choice(["", "", "", "", "", "/", "/.", "//"])

    def _text(self) -> str:
        lines = self._rng.choices(_LINES, k=self._rng.choice([0, 1, 1, 2, 3, 8, 40]))
        return "\n".join(lines) + self._rng.choice(["", "", "\n", "\n\n"])

    def _content(self, path: str) -> str:
        found = self._root / path.removeprefix("/memories").lstrip("/")
        try:
            return found.read_bytes().decode()
        except (OSError, ValueError):
            return "tea\n"


class Both:
    """Anthropic's own tool on a real folder and ours in a memory, given the same commands.

    Args:
        folder: Where the files of theirs lie.
        theirs: Runs a command on their tool.
        ours: Runs a command on ours.
        tree: Returns what lies in ours, in the form of :meth:`their_tree`.
    """

    def __init__(self, folder: Path, theirs: Run, ours: Run, tree: Callable[[], Tree]) -> None:
        self.root = folder / "memories"
        self._base = str(folder)
        self._theirs = theirs
        self._ours = ours
        self._tree = tree
        self.met: Counter[str] = Counter()
        """How often each kind of outcome was met."""

    def differences(self, seed: int, count: int) -> Iterator[str]:
        """Run random commands, and yield every difference in an answer or in what lies there.

        Both are emptied now and then, so that there are small trees too.
        """
        rng = random.Random(seed)
        author = Author(rng, self.root)
        for number in range(count):
            command = author.command()
            if found := self.difference(command):
                yield f"{number}: {found}"
            if number % 50 == 49 and self.their_tree() != self._tree():
                there, here = self.their_tree().items(), self._tree().items()
                yield f"{number}: theirs alone {there - here}, ours alone {here - there}"
            if rng.random() < 0.005:
                for found in sorted(self.root.iterdir()):
                    command = {"command": "delete", "path": f"/memories/{found.name}"}
                    if difference := self.difference(command):
                        yield f"{number}: {difference}"

    def difference(self, command: Command) -> str | None:
        """Run a command on both, and say how what it comes to differs, if it does."""
        theirs, ours = _outcome(self._theirs, command), _outcome(self._ours, command)
        expected = Outcome(theirs.kind, self._as_seen(theirs.text, command))
        self.met[f"{command['command']} {theirs.kind}"] += 1
        return None if expected == ours else f"{command}\n  theirs {expected}\n  ours   {ours}"

    def their_tree(self) -> Tree:
        """Return the text of every file, and ``None`` for a directory, by path."""
        return {
            one.relative_to(self.root).as_posix(): one.read_bytes().decode()
            if one.is_file()
            else None
            for one in self.root.rglob("*")
        }

    def _as_seen(self, text: str, command: Command) -> str:
        """Return a text as if the folder lay at the root of a disk whose directories take 4K."""
        if command["command"] == "view" and text.startswith("Here're the files"):
            path = command["path"]
            place = (self.root / path.removeprefix("/memories").lstrip("/")).resolve()
            for folder in [place, *(one for one in place.rglob("*") if one.is_dir())]:
                size = _format_file_size(folder.stat().st_size)
                shown = path if folder == place else f"{path}/{folder.relative_to(place)}/"
                text = f"{text}\n".replace(f"\n{size}\t{shown}\n", f"\n4K\t{shown}\n")[:-1]
        return text.replace(self._base, "")


def _outcome(run: Run, command: Command) -> Outcome:
    try:
        return Outcome("returned", run(dict(command)))
    except Exception as error:  # noqa: BLE001 - whatever it is, both are to raise it
        return Outcome(type(error).__name__, str(error))


async def tree_of(memory: AgentMemory) -> Tree:
    """Return what lies in a memory, in the form of :meth:`Both.their_tree`."""
    files = Files(memory, namespace="memories")
    return {
        "/".join(entry.place): None if entry.size_bytes is None else await files.read(entry.place)
        for entry in await files.entries(())
    }


@contextmanager
def synchronous(folder: Path, memory: AgentMemory) -> Iterator[Both]:
    """Compare the tools of the synchronous client."""
    theirs = BetaLocalFilesystemMemoryTool(str(folder))
    with ChrysalisMemoryTool(memory) as ours:
        there = Anywhere(memory)  # where the tool has started it
        yield Both(folder, theirs.call, ours.call, lambda: there.run(lambda: tree_of(memory)))


@contextmanager
def asynchronous(folder: Path, memory: AgentMemory) -> Iterator[Both]:
    """Compare the tools of the asynchronous client."""
    theirs, ours = (
        BetaAsyncLocalFilesystemMemoryTool(str(folder)), AsyncChrysalisMemoryTool(memory)
    )  # fmt: skip
    with asyncio.Runner() as runner:
        runner.run(memory.start())
        runner.run(theirs.call({"command": "view", "path": "/memories"}))  # makes the folder
        yield Both(
            folder,
            lambda command: runner.run(theirs.call(command)),
            lambda command: runner.run(ours.call(command)),
            lambda: runner.run(tree_of(memory)),
        )
        runner.run(memory.stop())


def main() -> int:
    """Run as many commands as asked, print the differences and how many there were."""
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as folder:
        memory = AgentMemory(
            "ada", path=Path(folder, "memory.db"), embedder="hashing", synchronous="NORMAL"
        )
        with synchronous(Path(folder, "files"), memory) as both:
            found = list(both.differences(seed, count))
    print(*(f"{kind}: {number:,}" for kind, number in sorted(both.met.items())), sep="\n")
    print(*found[:20], f"{count:,} commands, {len(found):,} differences", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
