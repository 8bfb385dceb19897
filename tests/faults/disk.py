"""A disk that is watched, and what a power cut may leave on it.

:class:`Watched` is a VFS of SQLite between the store and real files; it notes every write, truncate
and sync, every creation and deletion, and every sync of a folder, in their order. :class:`Disk`
plays such notes and knows what must be there after a cut and what may be.

What must be there is what POSIX promises: the content of a file as of its last ``fsync``, under the
name that its folder had as of the folder's last ``fsync``, and so on up for the folder's name. Of
everything later any part may be there, in any order, and a write of several sectors in parts. A
sector is written whole or not at all, and its other bytes stay (SQLite relies on this:
``SQLITE_IOCAP_POWERSAFE_OVERWRITE``).
"""

import ctypes
import os
import random
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple
from unittest.mock import patch

import apsw

SECTOR = 512
_TORN_LAST = 3
_NAME = "watched"
_BASE = "unix"
# How much of what was not synced survives: of a cache that was lost, of one that was nearly
# written out, and of all between.
_SURVIVING = (0.0, 0.1, 0.5, 0.9, 1.0)


class Note(NamedTuple):
    """Something that happened."""

    kind: Literal["create", "delete", "write", "truncate", "sync", "sync folder", "begun", "done"]
    name: str = ""
    """The path of the file or the folder, where it is a name that changes or is synced."""
    file: int = 0
    """Which file, whatever its name: a new one under an old name is another. 0 for a folder."""
    offset: int = 0
    """Where it was written, or the length it was cut to; of ``begun`` and ``done`` how many
    operations were, so far; of a sync its flags."""
    data: bytes = b""


class Watched(apsw.VFS):
    """Notes what SQLite does to the files of a folder."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._files: dict[str, int] = {}
        self._created = 0
        super().__init__(_NAME, _BASE, makedefault=True)

    def adopt(self, path: Path, data: bytes) -> None:
        """Put a file in its place, and on the disk for sure."""
        path.write_bytes(data)
        number = self._number(str(path))
        self.notes += [
            Note("create", str(path), number),
            Note("write", "", number, 0, data),
            Note("sync", "", number),
            Note("sync folder", str(path.parent)),
        ]

    def _number(self, path: str) -> int:
        self._created += 1
        self._files[path] = self._created
        return self._created

    def xOpen(self, name, flags):  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or flags[0] & apsw.SQLITE_OPEN_DELETEONCLOSE:
            return apsw.VFSFile(_BASE, name, flags)
        is_new = not Path(path).exists()
        opened = WatchedFile(self, name, flags)
        if is_new:
            opened.file = self._number(path)
            self.notes.append(Note("create", path, opened.file))
        else:
            opened.file = self._files[path]
        return opened

    def xDelete(self, filename, syncdir):  # noqa: N802
        super().xDelete(filename, syncdir)
        self.notes.append(Note("delete", filename))


class WatchedFile(apsw.VFSFile):
    """One open file. A write is noted before it is made, for a cut may come in its midst; a sync
    after it has returned, for only then it holds."""

    file: int

    def __init__(self, watched: Watched, name, flags) -> None:
        self._notes = watched.notes
        super().__init__(_BASE, name, flags)

    def xWrite(self, data, offset):  # noqa: N802
        self._notes.append(Note("write", "", self.file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize):  # noqa: N802
        self._notes.append(Note("truncate", "", self.file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags):  # noqa: N802
        super().xSync(flags)
        self._notes.append(Note("sync", "", self.file, flags))


@contextmanager
def watched() -> Generator[Watched]:
    """Have every connection that is opened meanwhile be watched, and every folder."""
    vfs = Watched()
    try:
        with _folders_of_sqlite_watched(vfs), _folders_of_python_watched(vfs.notes):
            yield vfs
    finally:
        vfs.unregister()


@contextmanager
def _folders_of_sqlite_watched(vfs: Watched) -> Generator[None]:
    """SQLite syncs a folder inside of its own VFS: its call that opens one for that is replaced."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))
    real = kind(vfs.xGetSystemCall("openDirectory"))

    @kind
    def open_folder(path: bytes, opened: object) -> int:
        vfs.notes.append(Note("sync folder", str(Path(os.fsdecode(path)).parent)))
        return real(path, opened)

    pointer = ctypes.cast(open_folder, ctypes.c_void_p).value
    assert vfs.xSetSystemCall("openDirectory", pointer), "SQLite takes no other openDirectory"
    try:
        yield
    finally:
        vfs.xSetSystemCall("openDirectory", 0)


@contextmanager
def _folders_of_python_watched(notes: list[Note]) -> Generator[None]:
    make, sync = os.mkdir, os.fsync

    def watched_make(path: Path | str, *given: int) -> None:
        make(path, *given)
        notes.append(Note("create", str(path)))

    def watched_sync(file: int) -> None:
        sync(file)
        synced, created = os.fstat(file), [note.name for note in notes if note.kind == "create"]
        for folder in {parent for name in created for parent in Path(name).parents}:
            if os.path.samestat(folder.stat(), synced):
                notes.append(Note("sync folder", str(folder)))

    with patch.object(os, "mkdir", watched_make), patch.object(os, "fsync", watched_sync):
        yield


class Disk:
    """What is on a disk: surely, and perhaps.

    Args:
        keeps_syncs: Whether a sync of a file does what it says; a lying disk answers at once.
    """

    def __init__(self, *, keeps_syncs: bool = True) -> None:
        self._keeps_syncs = keeps_syncs
        self._sure: dict[int, bytearray] = {}
        self._perhaps: dict[int, list[Note]] = {}
        self._names: dict[str, int] = {}
        self._renamed: list[Note] = []
        self._folders: set[str] = set()

    def play(self, note: Note) -> None:
        """Go on by one note."""
        match note.kind:
            case "create" | "delete":
                self._renamed.append(note)
                if not note.file and note.kind == "create":
                    self._folders.add(note.name)
            case "write" | "truncate":
                self._perhaps.setdefault(note.file, []).append(note)
            case "sync":
                if self._keeps_syncs:
                    for change in self._perhaps.pop(note.file, ()):
                        _apply(self._sure.setdefault(note.file, bytearray()), change)
            case "sync folder":
                here = [one for one in self._renamed if str(Path(one.name).parent) == note.name]
                for change in here:
                    _rename(self._names, change)
                    self._renamed.remove(change)
            case "begun" | "done":
                pass

    def after_a_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files that a power cut leaves, by path: one of many possible outcomes."""
        surviving = chance.choice(_SURVIVING)
        names = dict(self._names)
        for change in self._renamed:
            if chance.random() < surviving:
                _rename(names, change)
        return {
            name: self._left(file, surviving, chance)
            for name, file in names.items()
            if file and self._folders.intersection(map(str, Path(name).parents)) <= names.keys()
        }

    def _left(self, file: int, surviving: float, chance: random.Random) -> bytes:
        content = bytearray(self._sure.get(file, b""))
        perhaps = self._perhaps.get(file, [])
        changes: list[Note] = []
        for left, change in enumerate(perhaps, start=-len(perhaps)):
            torn = chance.random() < (0.5 if left >= -_TORN_LAST else 0.05)
            parts = _sectors(change) if torn and change.kind == "write" else [change]
            share = 0.5 if torn and surviving == 1.0 else surviving
            changes += [part for part in parts if chance.random() < share]
        if chance.random() < 0.5:
            chance.shuffle(changes)
        for change in changes:
            _apply(content, change)
        return bytes(content)


def _rename(names: dict[str, int], change: Note) -> None:
    if change.kind == "create":
        names[change.name] = change.file
    else:
        names.pop(change.name, None)


def _apply(content: bytearray, change: Note) -> None:
    if change.kind == "truncate":
        del content[change.offset :]
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _sectors(write: Note) -> Iterable[Note]:
    """Return a write as one for each sector that it touches."""
    at, end = write.offset, write.offset + len(write.data)
    parts: list[Note] = []
    while at < end:
        upto = min(end, (at // SECTOR + 1) * SECTOR)
        data = write.data[at - write.offset : upto - write.offset]
        parts.append(write._replace(offset=at, data=data))
        at = upto
    return parts
