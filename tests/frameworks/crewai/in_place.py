"""A pytest plugin that puts our storage in the place of CrewAI's own.

CrewAI's tests give the vectors of records and of queries themselves, and the first of them decides
the dimension; so the memory beneath takes those in place of an embedder's.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import crewai.memory.storage.lancedb_storage as theirs
from crewai.memory.types import MemoryRecord

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.crewai import ChrysalisStorage

_VECTORS: dict[Path, dict[str, list[float]]] = {}


class GivenVectors:
    """Our storage, with the signature of theirs; opened by the first vector it is given."""

    def __init__(self, path: Any = None, vector_dim: int | None = None, **_: Any) -> None:
        self._folder = Path(path or mkdtemp())
        self._vectors = _VECTORS.setdefault(self._folder, {})
        self._width = vector_dim or len(next(iter(self._vectors.values()), []))
        self._opened: ChrysalisStorage | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage(), name)

    def save(self, records: Sequence[MemoryRecord]) -> None:
        for record in records:
            if record.embedding:
                self._widen(record.embedding)
                self._vectors[record.content] = _pointing(record.embedding)
        self._storage().save(list(records))

    def update(self, record: MemoryRecord) -> None:
        self.save([record])

    def search(self, query_embedding: list[float], **conditions: Any) -> Any:
        self._widen(query_embedding)
        return self._storage().search(_pointing(query_embedding), **conditions)

    def _widen(self, vector: Sequence[float]) -> None:
        if not self._width:
            self.close()  # what is open is empty, and of no dimension
            self._width = len(vector)

    def close(self) -> None:
        """Close the memory; theirs has nothing to close, so their tests go on to read from it."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _storage(self) -> ChrysalisStorage:
        if self._opened is None:
            place = self._folder / "memory.db"
            if not self._width:  # nothing was ever stored
                place = self._folder / "empty.db"
            self._opened = ChrysalisStorage(
                AgentMemory("crew", path=place, embedding_fn=self._vector_of, synchronous="NORMAL")
            )
        return self._opened

    def _vector_of(self, text: str) -> list[float]:
        return self._vectors.get(text) or [1.0] * (self._width or 1)


def _pointing(vector: list[float]) -> list[float]:
    """Return a vector that points somewhere: nothing can be near to one of length 0."""
    return vector if any(vector) else [1.0] * len(vector)


theirs.LanceDBStorage = GivenVectors  # type: ignore[misc]
