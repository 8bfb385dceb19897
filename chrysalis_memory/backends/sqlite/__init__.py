"""SQLite with FTS5 and sqlite-vec: one file, offline."""

from chrysalis_memory.backends.sqlite.backend import SQLiteBackend

__all__ = ["SQLiteBackend"]
