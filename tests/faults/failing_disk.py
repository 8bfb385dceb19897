"""A disk that fails at the n-th step: a VFS that becomes the default one, so stores open on it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import apsw

NAME = "chrysalis-failing-disk"
Failure = Literal["io-error", "disk-full"]

_CODES = {
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "size": apsw.SQLITE_IOERR_FSTAT,
}
_FILLS = ("write",)
"""What a full disk refuses."""


class Plan:
    """Which step fails, and how many from there on; counts steps meanwhile."""

    def __init__(self) -> None:
        self.steps = 0
        self.failed = 0
        self._failure: Failure | None = None
        self._first = 0
        self._count = 0
        self._chance = random.Random(0)

    def arm(self, failure: Failure, *, first: int, count: int = 1, seed: int = 0) -> None:
        """Have ``count`` steps fail from the ``first``, counted from 1; 0 counts only."""
        self.steps = self.failed = 0
        self._failure, self._first, self._count = failure, first, count
        self._chance = random.Random(seed)

    def disarm(self) -> None:
        """Have everything succeed, and count no longer."""
        self._failure = None

    def step(self, kind: str) -> apsw.Error | None:
        """Count a step; return the error that it is to fail with, if it is."""
        if self._failure is None or (self._failure == "disk-full" and kind not in _FILLS):
            return None
        self.steps += 1
        if not self._first or not self._first <= self.steps < self._first + self._count:
            return None
        self.failed += 1
        if self._failure == "disk-full":
            return apsw.FullError("the disk is full, on purpose")
        error = apsw.IOError("the disk failed, on purpose")
        error.extendedresult = _CODES[kind]
        return error

    def written_share(self, size: int) -> int:
        """Return how many bytes of a write that fails reach the disk all the same."""
        return self._chance.choice((0, size // 2, size))


PLAN = Plan()


class _File(apsw.VFSFile):
    """A file whose steps may fail, as the plan says."""

    def __init__(self, base: str, filename: Any, flags: Any) -> None:
        super().__init__(base, filename, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._step("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        error = PLAN.step("write")
        if error is not None:
            super().xWrite(data[: PLAN.written_share(len(data))], offset)
            raise error
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._step("sync")
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._step("truncate")
        super().xTruncate(newsize)

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        self._step("size")
        return super().xFileSize()

    def _step(self, kind: str) -> None:
        error = PLAN.step(kind)
        if error is not None:
            raise error


class _Disk(apsw.VFS):
    def __init__(self, base: str) -> None:
        super().__init__(NAME, base)
        self._base = base

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self._base, name, flags)


@contextmanager
def failing_disk() -> Iterator[Plan]:
    """Make the failing disk the one that stores are opened on; give its plan, which is disarmed."""
    before = apsw.vfs_names()[0]
    disk = _Disk(before)
    apsw.set_default_vfs(NAME)
    try:
        yield PLAN
    finally:
        PLAN.disarm()
        apsw.set_default_vfs(before)
        disk.unregister()
